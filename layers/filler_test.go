package layers

import (
	"math"
	"testing"

	"google.golang.org/protobuf/encoding/prototext"

	"crema/prototxt/caffepb"
	"crema/tensor"
)

func parseFiller(t *testing.T, text string) *caffepb.FillerParameter {
	t.Helper()
	p := &caffepb.FillerParameter{}
	if err := prototext.Unmarshal([]byte(text), p); err != nil {
		t.Fatal(err)
	}
	return p
}

func filled(t *testing.T, text string, key uint64, shape ...int) []float32 {
	t.Helper()
	b := tensor.New(shape...)
	if err := fill(b, parseFiller(t, text), key); err != nil {
		t.Fatalf("filler %q: %v", text, err)
	}
	return b.Data()
}

// moments returns mean, standard deviation, least and greatest value.
func moments(v []float32) (mean, std, lo, hi float64) {
	lo, hi = math.Inf(1), math.Inf(-1)
	for _, x := range v {
		mean += float64(x) / float64(len(v))
		lo, hi = min(lo, float64(x)), max(hi, float64(x))
	}
	for _, x := range v {
		std += (float64(x) - mean) * (float64(x) - mean) / float64(len(v))
	}
	return mean, math.Sqrt(std), lo, hi
}

func TestFillerDistributions(t *testing.T) {
	inf := math.Inf(1)
	// 64×50×5×8: fan-in 2000, fan-out 2560, average 2280; 128,000 elements.
	for _, c := range []struct {
		text      string
		mean, std float64
		lo, hi    float64 // bounds that all values keep
		reach     bool    // and nearly touch
	}{
		{`type: "uniform"`, 0.5, 1 / math.Sqrt(12), 0, 1, true},
		{`type: "uniform" min: -3 max: 1`, -1, 4 / math.Sqrt(12), -3, 1, true},
		{`type: "gaussian"`, 0, 1, -inf, inf, false},
		{`type: "gaussian" mean: 2 std: 0.1`, 2, 0.1, -inf, inf, false},
		{`type: "gaussian" std: 3 sparse: 16`, 0, 3 * math.Sqrt(0.25), -inf, inf, false},
		{`type: "xavier"`, 0, math.Sqrt(1. / 2000), -math.Sqrt(3. / 2000), math.Sqrt(3. / 2000), true},
		{`type: "xavier" std: 0.01`, 0, math.Sqrt(1. / 2000), -math.Sqrt(3. / 2000), math.Sqrt(3. / 2000), true},
		{`type: "xavier" variance_norm: FAN_OUT`, 0, math.Sqrt(1. / 2560), -math.Sqrt(3. / 2560), math.Sqrt(3. / 2560), true},
		{`type: "xavier" variance_norm: AVERAGE`, 0, math.Sqrt(1. / 2280), -math.Sqrt(3. / 2280), math.Sqrt(3. / 2280), true},
		{`type: "msra"`, 0, math.Sqrt(2. / 2000), -inf, inf, false},
		{`type: "msra" variance_norm: FAN_OUT`, 0, math.Sqrt(2. / 2560), -inf, inf, false},
		{`type: "msra" variance_norm: AVERAGE`, 0, math.Sqrt(2. / 2280), -inf, inf, false},
	} {
		t.Run(c.text, func(t *testing.T) {
			mean, std, lo, hi := moments(filled(t, c.text, 7, 64, 50, 5, 8))
			// Five standard errors for the mean, two per cent for the spread:
			// enough to tell FAN_IN, AVERAGE and FAN_OUT apart.
			if math.Abs(mean-c.mean) > 5*c.std/math.Sqrt(128000) || math.Abs(std/c.std-1) > 0.02 {
				t.Errorf("mean %g, std %g, want %g and %g", mean, std, c.mean, c.std)
			}
			if slack := 1e-6 * (c.hi - c.lo); lo < c.lo-slack || hi > c.hi+slack {
				t.Errorf("values from %g to %g, want %g to %g", lo, hi, c.lo, c.hi)
			}
			if slack := 1e-3 * (c.hi - c.lo); c.reach && (lo > c.lo+slack || hi < c.hi-slack) {
				t.Errorf("values only from %g to %g, want %g to %g", lo, hi, c.lo, c.hi)
			}
		})
	}
}

func TestFillerSparse(t *testing.T) {
	kept := 0
	v := filled(t, `type: "gaussian" sparse: 8`, 3, 32, 1000)
	for _, x := range v {
		if x != 0 {
			kept++
		}
	}
	if got := float64(kept) / float64(len(v)); math.Abs(got-0.25) > 0.015 {
		t.Errorf("%g of the weights are kept, want 8/32", got)
	}
}

func TestFillerFanOfVector(t *testing.T) {
	// A vector of n has fan-in 1 and fan-out n.
	for text, want := range map[string]float64{
		`type: "xavier"`:                        math.Sqrt(3),
		`type: "xavier" variance_norm: FAN_OUT`: math.Sqrt(3. / 1000),
	} {
		if _, _, lo, hi := moments(filled(t, text, 1, 1000)); math.Abs(hi/want-1) > 0.02 || math.Abs(lo/want+1) > 0.02 {
			t.Errorf("%s: values from %g to %g, want ±%g", text, lo, hi, want)
		}
	}
}

func TestFillerExact(t *testing.T) {
	equal(t, "default", filled(t, ``, 1, 3), 0, 0, 0)
	equal(t, "constant", filled(t, `value: 2.5`, 1, 2, 2), 2.5, 2.5, 2.5, 2.5)
	// f = 2, c = 3/4: 1 − |i/2 − 3/4| = ¼, ¾, ¾, ¼ along each axis.
	row := []float32{1, 3, 3, 1}
	var want []float32
	for range 2 {
		for _, y := range row {
			for _, x := range row {
				want = append(want, x*y/16)
			}
		}
	}
	equal(t, "bilinear 4", filled(t, `type: "bilinear"`, 1, 2, 1, 4, 4), want...)
	// f = 2, c = ½: ½, 1, ½.
	equal(t, "bilinear 3", filled(t, `type: "bilinear"`, 1, 1, 1, 3, 3), .25, .5, .25, .5, 1, .5, .25, .5, .25)
}

func TestFillerUnitball(t *testing.T) {
	v := filled(t, `type: "positive_unitball"`, 1, 40, 30, 20)
	for i := range 40 {
		var sum float64
		for _, x := range v[i*600 : (i+1)*600] {
			if sum += float64(x); x < 0 {
				t.Fatalf("negative value %g", x)
			}
		}
		if math.Abs(sum-1) > 1e-5 {
			t.Errorf("slice %d sums to %g", i, sum)
		}
	}
}

func TestFillerErrors(t *testing.T) {
	for _, c := range []struct {
		text, want string
		shape      []int
	}{
		{`type: "glorot"`, `unknown filler type "glorot" (known: bilinear, constant, gaussian, msra, positive_unitball, uniform, xavier)`, shape(2)},
		{`type: "xavier" sparse: 3`, "xavier filler: sparse is only for gaussian", shape(2)},
		{`type: "gaussian" sparse: -2`, "gaussian filler: sparse must be -1 or more, not -2", shape(2)},
		{`type: "gaussian" sparse: 3`, "gaussian filler: sparse is 3 but the blob of shape 2 has only 2 outputs", shape(2)},
		{`type: "gaussian" std: 0`, "gaussian filler: std must be positive, not 0", shape(2)},
		{`type: "gaussian" std: nan`, "gaussian filler: std must be positive, not NaN", shape(2)},
		{`type: "uniform" min: 2`, "uniform filler: min 2 is greater than max 1", shape(2)},
		{`type: "xavier"`, "xavier filler: a blob of shape 0×2 has no elements", shape(0, 2)},
		{`type: "msra"`, "msra filler: needs a blob with at least one axis", nil},
		{`type: "positive_unitball"`, "positive_unitball filler: needs a blob with at least one axis", nil},
		{`type: "bilinear"`, "bilinear filler: needs a 4-D blob with a square kernel, not shape 1×1×2×3", shape(1, 1, 2, 3)},
	} {
		err := fill(tensor.New(c.shape...), parseFiller(t, c.text), 1)
		if err == nil || err.Error() != c.want {
			t.Errorf("%s: error %v, want %q", c.text, err, c.want)
		}
	}
}

func TestFillerStreams(t *testing.T) {
	for _, text := range []string{`type: "uniform"`, `type: "gaussian"`, `type: "gaussian" sparse: 1`, `type: "positive_unitball"`, `type: "msra"`} {
		t.Run(text, func(t *testing.T) {
			// Not a multiple of the chunk.
			const n = 5*fillChunk + 77
			sameForThreads(t, func() [][]float32 { return [][]float32{filled(t, text, 5, 2, n)} })
			a, b := filled(t, text, 5, 2, n), filled(t, text, 6, 2, n)
			same := 0
			for i := range a {
				if a[i] == b[i] && a[i] != 0 {
					same++
				}
			}
			if same > n/100 {
				t.Errorf("%d values are the same under another key", same)
			}
			if text == `type: "uniform"` && a[0] == a[fillChunk] && a[1] == a[fillChunk+1] {
				t.Error("two chunks have the same stream")
			}
		})
	}
}
