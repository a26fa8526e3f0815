package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"crema/graph"
	"crema/internal/summary"
	"crema/solver"
)

// newSolver builds the case's solver.
func newSolver(t *testing.T, c *Case) *solver.Solver {
	t.Helper()
	sp := c.Solver
	sv, err := solver.New(sp, solver.Options{File: c.in.Solver})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sv.Close() })
	return sv
}

// TestTry gives a net that cannot learn for its fillers, and checks that the
// cure is found, ranked first and handed out, that what is equal is said to be,
// and that nothing stays behind.
func TestTry(t *testing.T) {
	drawn(t, 200, 20)
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	c := caseOf(t, netSpec{depth: 9, filler: `type: "gaussian" std: 0.03`, bias: `type: "constant" value: 0.01`, transform: scaled, batch: 16}, smallSolver,
		"random_seed=5")
	var lines []string
	r, err := c.Try(context.Background(), TryOptions{Budget: 20 * time.Minute, Images: 32, Args: []string{"--set", "random_seed=5"},
		Variants: []Variant{
			{Name: "same", Set: []string{"layer.c1.convolution_param.weight_filler.mean=0"}},
			{Name: "broken", Set: []string{"layer.c1.convolution_param.kernel_size=99"}},
		},
		Progress: func(s string) { lines = append(lines, s) }})
	if err != nil {
		t.Fatal(err)
	}
	if t.Failed() || testing.Verbose() {
		var b strings.Builder
		r.WriteText(&b)
		t.Log("\n" + strings.Join(lines, "\n") + "\n" + b.String())
	}
	byName := map[string]*Trial{}
	for _, tr := range r.Trials {
		byName[tr.Name] = tr
	}
	if best := byName[r.Best]; best == nil || !(strings.HasPrefix(r.Best, "msra") || strings.HasPrefix(r.Best, "unit variance")) || !best.Learns || best.Rank != 1 {
		t.Fatalf("best is %q", r.Best)
	}
	control := byName["as is"]
	if !control.Dead || control.Learns || control.Rank <= 1 {
		t.Errorf("as is: %+v", control)
	}
	if tr := byName["rate × 255"]; tr.Rank != 0 && tr.Rank <= byName[r.Best].Rank {
		t.Errorf("rate × 255 has rank %d", tr.Rank)
	}
	if tr := byName["same"]; tr.EqualTo != "as is" || len(tr.Runs) > 0 {
		t.Errorf("equal variant: %q, %d runs", tr.EqualTo, len(tr.Runs))
	}
	if tr := byName["scale before mean"]; tr.EqualTo != "as is" || !strings.Contains(tr.Verdict, "by algebra") || len(tr.Runs) > 0 {
		t.Errorf("order of scale and mean: %+v", tr)
	}
	if tr := byName["broken"]; !strings.Contains(tr.Verdict, "cannot be built") {
		t.Errorf("a net that cannot be built: %q", tr.Verdict)
	}
	if len(byName[r.Best].Runs) != 2 {
		t.Errorf("the best has %d runs", len(byName[r.Best].Runs))
	}
	last := r.Commands[len(r.Commands)-1]
	if !strings.HasPrefix(last, "crema train --solver solver.prototxt --set random_seed=5") || !strings.Contains(last, "base_lr=") && !strings.Contains(last, "msra") && !strings.Contains(last, "--weights") {
		t.Errorf("command %q", last)
	}
	if r.Images != 32 || r.Labels != 10 || math.Abs(r.Chance-math.Log(10)) > 0.02 {
		t.Errorf("%d images, %d labels, chance %g", r.Images, r.Labels, r.Chance)
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
	if _, err := os.Stat("s_iter_30.solverstate"); err == nil {
		t.Error("a snapshot was written beside the solver")
	}
	if _, err := json.Marshal(r); err != nil {
		t.Error(err)
	}
	if len(r.Chart().Series) == 0 || len(lines) < 5 {
		t.Errorf("%d lines in the chart, %d of progress", len(r.Chart().Series), len(lines))
	}
}

// TestTryInterrupted ends an experiment early.
func TestTryInterrupted(t *testing.T) {
	drawn(t, 40, 20)
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	ctx, cancel := context.WithCancel(context.Background())
	c := caseOf(t, netSpec{depth: 2, filler: `type: "msra"`, transform: scaled}, smallSolver)
	r, err := c.Try(ctx, TryOptions{Images: 20, Progress: func(s string) {
		if strings.Contains(s, "an iteration takes") {
			cancel()
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(r.Notes, func(s string) bool { return strings.Contains(s, "interrupted") }) {
		t.Errorf("notes: %q", r.Notes)
	}
	if left, _ := os.ReadDir(tmp); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestParseVariant(t *testing.T) {
	v, err := ParseVariant("small rate: --set base_lr=0.1 --set=layer.c1.convolution_param.bias_term=false")
	if err != nil || v.Name != "small rate" || len(v.Set) != 2 || v.Set[0] != "base_lr=0.1" || v.Set[1] != "layer.c1.convolution_param.bias_term=false" {
		t.Errorf("%+v, %v", v, err)
	}
	for text, want := range map[string]string{
		"no colon":          "no name",
		": --set a=b":       "no name",
		"a:":                "changes nothing",
		"a: base_lr=1":      "is no flag",
		"a: --set":          "is not --set",
		"a: --weights=x":    "is not --set",
		"a: --set base_l=1": "did you mean base_lr",
	} {
		if _, err := ParseVariant(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want …%s", text, err, want)
		}
	}
}

// TestUnitVariance checks the two properties that give it its name, on the
// batch it was made with, through the file.
func TestUnitVariance(t *testing.T) {
	drawn(t, 40, 20)
	c := caseOf(t, netSpec{depth: 6, filler: `type: "xavier"`, transform: scaled, batch: 20}, smallSolver)
	if err := c.UnitVariance("unit.caffemodel", nil); err != nil {
		t.Fatal(err)
	}
	net, err := graph.New(trainState(c.Train.Param), graph.Options{Seed: 9, NoFuse: true, NoLayout: true})
	if err != nil {
		t.Fatal(err)
	}
	defer net.Close()
	if err := net.LoadWeights("unit.caffemodel"); err != nil {
		t.Fatal(err)
	}
	layers := 0
	for k, n := range net.Layers() {
		if _, err := net.ForwardLayer(k); err != nil {
			t.Fatal(err)
		}
		if !weighted(n) {
			continue
		}
		layers++
		if s := summary.Of(n.Tops[0].Values(), 0); math.Abs(s.Std()-1) > 0.02 {
			t.Errorf("%s: standard deviation %.4f", n.Name, s.Std())
		}
		// Orthogonal rows of one length.
		w := n.Layer.Params()[0]
		rows, cols := w.Dim(0), w.CountFrom(1)
		for i := range min(rows, cols) {
			a := w.Data()[i*cols : (i+1)*cols]
			for j := range i {
				if d := dot(a, w.Data()[j*cols:(j+1)*cols]) / dot(a, a); math.Abs(d) > 1e-4 {
					t.Fatalf("%s: rows %d and %d have the product %g", n.Name, i, j, d)
				}
			}
		}
	}
	if layers != 7 {
		t.Errorf("looked at %d layers", layers)
	}
}

func TestOrthonormal(t *testing.T) {
	for _, s := range []struct{ rows, cols int }{{1, 1}, {3, 7}, {70, 100}, {64, 64}, {100, 33}, {1100, 1200}} {
		w := make([]float32, s.rows*s.cols)
		orthonormal(w, s.rows, s.cols, 1, "x")
		at := func(i int) []float32 { return w[i*s.cols : (i+1)*s.cols] }
		n := min(s.rows, orthoRows)
		if s.rows > s.cols { // columns instead
			at = func(j int) []float32 {
				var c []float32
				for i := range s.rows {
					c = append(c, w[i*s.cols+j])
				}
				return c
			}
			n = s.cols
		}
		step := max(1, n/20)
		for i := 0; i < n; i += step {
			for j := 0; j <= i; j += step {
				want := 0.0
				if i == j {
					want = 1
				}
				if d := dot(at(i), at(j)); math.Abs(d-want) > 1e-5 {
					t.Fatalf("%d×%d: product of %d and %d is %g", s.rows, s.cols, i, j, d)
				}
			}
		}
	}
}

// TestUnitVarianceImpossible has an input that is constant.
func TestUnitVarianceImpossible(t *testing.T) {
	drawn(t, 20, 20)
	c := caseOf(t, netSpec{depth: 2, filler: `type: "xavier"`, transform: "scale: 0"}, smallSolver)
	if err := c.UnitVariance("unit.caffemodel", nil); err == nil || !strings.Contains(err.Error(), `layer "c1"`) {
		t.Errorf("error %v", err)
	}
}

// TestFindRate uses a problem whose limits are known: least squares by plain
// gradient descent diverges from 2 over the largest eigenvalue of the inputs'
// second moments on.
func TestFindRate(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "net.prototxt", `name: "plane"
layer { name: "x" type: "DummyData" top: "x" top: "y" dummy_data_param { shape { dim: 32 dim: 4 } shape { dim: 32 dim: 1 } data_filler { type: "constant" value: 1 } data_filler { type: "gaussian" mean: 2 std: 0.5 } } }
layer { name: "fit" type: "InnerProduct" bottom: "x" top: "fit" inner_product_param { num_output: 1 weight_filler { type: "constant" } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "fit" bottom: "y" top: "loss" }`)
	write(t, "solver.prototxt", `net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 10`)
	c, err := Open(Inputs{Solver: "solver.prototxt"})
	if err != nil {
		t.Fatal(err)
	}
	// With x = (1,1,1,1) and a bias the Hessian's only eigenvalue is 5: a bias of
	// rate 1 and four weights. So training is stable below 0.4.
	r, err := c.FindRate(context.Background(), RateOptions{From: 1e-5, To: 1000, Iterations: 160})
	if err != nil {
		t.Fatal(err)
	}
	if d := float64(r.Diverges); d < 0.4 || d > 40 {
		t.Errorf("diverges at %g; the limit is 0.4", d)
	}
	if s := float64(r.Suggested); s < 0.004 || s > 0.4 {
		t.Errorf("suggests %g; %s", s, r.Verdict)
	}
	if len(r.Losses) != len(r.Rates) || len(r.Losses) >= 160 {
		t.Errorf("%d losses at %d rates", len(r.Losses), len(r.Rates))
	}
	var b strings.Builder
	if err := r.WriteText(&b); err != nil || !strings.Contains(b.String(), "begin with") {
		t.Errorf("text %q (%v)", b.String(), err)
	}
	if c := r.Chart(); len(c.Series) != 3 || !c.LogX {
		t.Errorf("chart of %d lines", len(c.Series))
	}
}

// TestJudge covers what a range test can show.
func TestJudge(t *testing.T) {
	series := func(f func(i int) float64) *RateRange {
		r := &RateRange{}
		for i := range 60 {
			v := Number(f(i))
			r.Rates = append(r.Rates, Number(1e-5*math.Pow(10, float64(i)/10)))
			r.Losses, r.Smoothed = append(r.Losses, v), append(r.Smoothed, v)
		}
		r.judge()
		return r
	}
	flat := series(func(int) float64 { return 2.3 })
	if flat.Suggested != 0 || !strings.Contains(flat.Verdict, "not what is wrong") {
		t.Errorf("flat: %+v", flat.Verdict)
	}
	falls := series(func(i int) float64 { return 2.3 - 1/(1+math.Exp(-float64(i-30)/2)) })
	if d := float64(falls.Descends); d < 0.005 || d > 0.04 { // 10^-2 is iteration 30
		t.Errorf("falls: descends at %g", d)
	}
	for _, v := range []float64{0.0123, 9.87e-7, 123456, 0} {
		if got := twoDigits(v); math.Abs(got-v) > 0.05*v {
			t.Errorf("twoDigits(%g) = %g", v, got)
		}
	}
}

func TestPick(t *testing.T) {
	s := &fixedSet{labels: map[int]int{}}
	got := s.pick([]int{5, 5, 5, 2, 2, 9}, 5)
	if fmt.Sprint(got) != "[3 0 5 4 1]" || s.images != 5 || s.labels[5] != 2 || s.labels[9] != 1 {
		t.Errorf("picked %v, %v", got, s.labels)
	}
}

// TestMsraSets names all layers of a type at once only if all are meant.
func TestMsraSets(t *testing.T) {
	drawn(t, 20, 20)
	text := netSpec{depth: 3, filler: `type: "xavier"`, transform: scaled}.text()
	write(t, "net.prototxt", text)
	write(t, "solver.prototxt", smallSolver)
	sets := func() string {
		c, err := Open(Inputs{Solver: "solver.prototxt"})
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(c.fillers("type", "msra", notMsra), " ")
	}
	if got, want := sets(), "layer.*@Convolution.convolution_param.weight_filler.type=msra layer.class.inner_product_param.weight_filler.type=msra"; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	write(t, "net.prototxt", strings.Replace(text, "xavier", "msra", 1))
	if got := sets(); !strings.HasPrefix(got, "layer.c2.convolution_param.weight_filler.type=msra layer.c3.") {
		t.Errorf("%s", got)
	}
}

// TestSpecialWeights: weights that are as they should be are left alone by
// experiments.
func TestSpecialWeights(t *testing.T) {
	c := segmentation.patient(t).caseWith(t)
	if got := strings.Join(c.fillers("type", "msra", notMsra), " "); strings.Contains(got, "layer.up.") || strings.Contains(got, "@Deconvolution") {
		t.Errorf("interpolation would be drawn anew: %s", got)
	}
	for _, h := range []struct {
		net  healthyNet
		kept string
	}{{language, "lstm"}, {language, "embed"}, {residual, "a1_scale"}} {
		c := h.net.patient(t).caseWith(t)
		net := func(weights string) *graph.Net {
			n, err := graph.New(trainState(c.Train.Param), graph.Options{Seed: 1})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { n.Close() })
			if weights != "" {
				if err := n.LoadWeights(weights); err != nil {
					t.Fatal(err)
				}
			}
			return n
		}
		file := filepath.Join(t.TempDir(), "unit.caffemodel")
		if err := c.UnitVariance(file, nil); err != nil {
			t.Fatal(err)
		}
		before, after := net(""), net(file)
		for i, p := range before.Params() {
			q := after.Params()[i]
			if same := slices.Equal(p.Blob.ReadData(), q.Blob.ReadData()); p.Layer == h.kept && !same {
				t.Errorf("%s of %q changed", p.Name, p.Layer)
			} else if p.Layer == "class" && p.Index == 0 && same {
				t.Errorf("the weights of %q did not", p.Layer)
			}
		}
	}
}

// TestPixelEntropy: where each pixel has a label, chance is that of pixels that
// count.
func TestPixelEntropy(t *testing.T) {
	p := segmentation.patient(t)
	if err := os.RemoveAll(p.path("labels_train_lmdb")); err != nil {
		t.Fatal(err)
	}
	p.areas(t, "labels_train_lmdb", 100, func(_, y, x int) byte {
		switch {
		case y == 0:
			return 255
		case x < 8:
			return 2
		}
		return 1
	})
	s, err := p.caseWith(t).newFixedSet(t.TempDir(), 10)
	if err != nil {
		t.Fatal(err)
	}
	if want := -0.25*math.Log(0.25) - 0.75*math.Log(0.75); math.Abs(s.entropy-want) > 1e-9 || s.images != 10 || len(s.labels) != 2 {
		t.Errorf("entropy %g, want %g; %d images, %d labels", s.entropy, want, s.images, len(s.labels))
	}
}
