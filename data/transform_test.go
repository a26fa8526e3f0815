package data

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"crema/prototxt"
	"crema/prototxt/caffepb"
)

func transformer(t *testing.T, text string, o TransformOptions) *Transformer {
	t.Helper()
	tr, err := newTransformer(t, text, o)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func newTransformer(t *testing.T, text string, o TransformOptions) (*Transformer, error) {
	t.Helper()
	var p caffepb.TransformationParameter
	if err := prototxt.UnmarshalText("test", []byte(text), &p); err != nil {
		t.Fatal(err)
	}
	return NewTransformer(&p, o)
}

// ramp is a picture whose sample at channel c, row y, column x is
// 100·c + 10·y + x.
func ramp(c, h, w int) *Image {
	im := &Image{}
	im.alloc(c, h, w)
	for i := range im.Pix {
		im.Pix[i] = byte(i/(h*w)*100 + i/w%h*10 + i%w)
	}
	return im
}

func writeMean(t *testing.T, b *caffepb.BlobProto) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mean.binaryproto")
	if err := prototxt.WriteBinary(path, b); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestTransform is computed by hand.
func TestTransform(t *testing.T) {
	// A mean equal to the ramp itself, one higher: (v − mean) is −1 wherever a
	// crop lies, if the mean is indexed at the uncropped pixel.
	mean := &caffepb.BlobProto{Num: proto.Int32(1), Channels: proto.Int32(2), Height: proto.Int32(4), Width: proto.Int32(5)}
	for _, v := range ramp(2, 4, 5).Pix {
		mean.Data = append(mean.Data, float32(v)+1)
	}
	shaped := &caffepb.BlobProto{Shape: &caffepb.BlobShape{Dim: []int64{1, 2, 4, 5}}}
	for _, v := range mean.Data {
		shaped.DoubleData = append(shaped.DoubleData, float64(v))
	}
	legacy, modern := writeMean(t, mean), writeMean(t, shaped)
	for _, c := range []struct {
		name, text string
		want       []float32
		shape      [3]int
	}{
		{"nothing", ``, []float32{
			0, 1, 2, 3, 4, 10, 11, 12, 13, 14, 20, 21, 22, 23, 24, 30, 31, 32, 33, 34,
			100, 101, 102, 103, 104, 110, 111, 112, 113, 114, 120, 121, 122, 123, 124, 130, 131, 132, 133, 134}, [3]int{2, 4, 5}},
		// Centre of 4×5 for 3: rows from (4−3)/2 = 0, columns from (5−3)/2 = 1.
		{"centre crop", `crop_size: 3`, []float32{1, 2, 3, 11, 12, 13, 21, 22, 23, 101, 102, 103, 111, 112, 113, 121, 122, 123}, [3]int{2, 3, 3}},
		{"scale", `crop_size: 1 scale: 0.5`, []float32{6, 56}, [3]int{2, 1, 1}},
		{"one mean value", `crop_size: 1 mean_value: 2 scale: 2`, []float32{20, 220}, [3]int{2, 1, 1}},
		{"mean values", `crop_size: 1 mean_value: 2 mean_value: 100 scale: 2`, []float32{20, 24}, [3]int{2, 1, 1}},
		{"mean file", `crop_size: 2 scale: 3 mean_file: "` + legacy + `"`, []float32{-3, -3, -3, -3, -3, -3, -3, -3}, [3]int{2, 2, 2}},
		{"mean file of doubles", `crop_size: 2 mean_file: "` + modern + `"`, []float32{-1, -1, -1, -1, -1, -1, -1, -1}, [3]int{2, 2, 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr := transformer(t, c.text, TransformOptions{Phase: caffepb.Phase_TEST})
			im := ramp(2, 4, 5)
			oc, oh, ow, err := tr.OutShape(2, 4, 5)
			if err != nil || [3]int{oc, oh, ow} != c.shape {
				t.Fatalf("shape %d×%d×%d, %v, want %v", oc, oh, ow, err, c.shape)
			}
			floats := &Image{C: 2, H: 4, W: 5}
			for _, v := range im.Pix {
				floats.Float = append(floats.Float, float32(v))
			}
			for _, im := range []*Image{im, floats} {
				got := make([]float32, oc*oh*ow)
				if err := tr.Transform(got, im, 0); err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(got, c.want) {
					t.Errorf("got %v, want %v", got, c.want)
				}
			}
		})
	}
}

// TestTransformRandom: crops are uniform over all positions in TRAIN, mirrors
// fair in both phases, rows reversed as a whole, and all of it a function of
// seed, name, phase and ordinal.
func TestTransformRandom(t *testing.T) {
	im := ramp(1, 4, 5)
	for _, phase := range []caffepb.Phase{caffepb.Phase_TRAIN, caffepb.Phase_TEST} {
		t.Run(phase.String(), func(t *testing.T) {
			o := TransformOptions{Phase: phase, Seed: 3, Name: "data"}
			tr := transformer(t, `crop_size: 2 mirror: true`, o)
			again := transformer(t, `crop_size: 2 mirror: true`, o)
			o.Name = "other"
			other := transformer(t, `crop_size: 2 mirror: true`, o)
			counts := map[string]int{}
			differ := 0
			const n = 6000
			for i := range uint64(n) {
				var a, b, c [4]float32
				for _, x := range []struct {
					tr  *Transformer
					dst []float32
				}{{tr, a[:]}, {again, b[:]}, {other, c[:]}} {
					if err := x.tr.Transform(x.dst, im, i); err != nil {
						t.Fatal(err)
					}
				}
				if a != b {
					t.Fatalf("ordinal %d: %v, and %v the second time", i, a, b)
				}
				if a != c {
					differ++
				}
				v, step := a[0], float32(1)
				if a[1] < a[0] {
					step = -1
				}
				if a[1] != v+step || a[2] != v+10 || a[3] != v+10+step {
					t.Fatalf("ordinal %d: %v is no crop", i, a)
				}
				counts[fmt.Sprint(min(a[0], a[1]), step)]++
			}
			positions := 3 * 4
			if phase == caffepb.Phase_TEST {
				positions = 1
			}
			if len(counts) != 2*positions {
				t.Fatalf("%d different results, want %d", len(counts), 2*positions)
			}
			for k, got := range counts {
				// Five standard deviations of a binomial count.
				want := float64(n) / float64(2*positions)
				if d := float64(got) - want; d*d > 25*want {
					t.Errorf("%s came %d times, want about %g", k, got, want)
				}
			}
			if differ < n/4 {
				t.Errorf("only %d of %d results depend on the layer's name", differ, n)
			}
		})
	}
}

func TestTransformErrors(t *testing.T) {
	blob := func(num, c, h, w int32, n int) string {
		return writeMean(t, &caffepb.BlobProto{Num: &num, Channels: &c, Height: &h, Width: &w, Data: make([]float32, n)})
	}
	threeAxes := writeMean(t, &caffepb.BlobProto{Shape: &caffepb.BlobShape{Dim: []int64{2, 4, 5}}, Data: make([]float32, 40)})
	for _, c := range []struct{ name, text, want string }{
		{"both forces", `force_color: true force_gray: true`, "force_gray"},
		{"both means", `mean_value: 1 mean_file: "x"`, "both mean_file and mean_value"},
		{"no mean file", `mean_file: "/nonexistent/mean"`, "/nonexistent/mean"},
		{"mean of another height", `mean_file: "` + blob(1, 2, 3, 5, 30) + `"`, "2×4×5 (channels×height×width) but mean_file"},
		{"mean with values missing", `mean_file: "` + blob(1, 2, 4, 5, 39) + `"`, "39 values for shape 1×2×4×5"},
		{"mean without a shape", `mean_file: "` + blob(0, 0, 0, 0, 0) + `"`, "bad shape"},
		{"mean of three axes", `mean_file: "` + threeAxes + `"`, "3 axes"},
		{"three values for two channels", `mean_value: [1, 2, 3]`, "3 mean_value for a picture of 2 channels"},
		{"crop too high", `crop_size: 5`, "4×5 pixels is smaller than crop_size 5"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr, err := newTransformer(t, c.text, TransformOptions{})
			if err == nil {
				err = tr.Transform(make([]float32, 40), ramp(2, 4, 5), 0)
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}
