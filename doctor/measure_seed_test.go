package doctor

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"crema/data"
)

// TestMeasuredVGG measures the VGG-16 that this package began with on the
// photographs that Caffe's figures are of. The batches and the random weights
// are others, so they agree to within a fifth.
func TestMeasuredVGG(t *testing.T) {
	shared := os.Getenv("CREMA_SHARED")
	if shared == "" {
		t.Skip("CREMA_SHARED is not set")
	}
	if testing.Short() {
		t.Skip("a long test")
	}
	w := world{t.TempDir()}
	photos := filepath.Join(shared, "data", "photos")
	if _, err := data.ConvertImages(context.Background(), photos, filepath.Join(photos, "list.txt"), w.path("db"),
		data.ConvertOptions{Backend: data.LMDB, ResizeWidth: 256, ResizeHeight: 256}); err != nil {
		t.Fatal(err)
	}
	mean := w.mean(t, w.path("db"), "mean.binaryproto")
	c, err := Open(Inputs{Solver: filepath.Join(shared, "seed", "solver.prototxt"), ResolvePath: func(p string) string {
		switch {
		case strings.HasSuffix(p, "lmdb"):
			return w.path("db")
		case strings.HasSuffix(p, "mean.binaryproto"):
			return mean
		case filepath.IsAbs(p):
			return p
		}
		return filepath.Join("..", p)
	}})
	if err != nil {
		t.Fatal(err)
	}
	m, err := c.Measure(MeasureOptions{Batches: 2})
	if err != nil {
		t.Fatal(err)
	}
	near := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got/want-1) > 0.2 {
			t.Errorf("%s is %.3g, with Caffe %.3g", what, got, want)
		}
	}
	near("the RMS of the input", m.Inputs[0].After.RMS, 0.26)
	rms, update := map[string]float64{}, map[string]float64{}
	m.points(func(l, shown *Layer) {
		rms[l.Name], update[l.Name] = shown.Output.RMS, float64(l.Params[0].Update)
	})
	for layer, want := range map[string]float64{"conv1_1": 0.18, "conv3_3": 0.030, "conv5_3": 0.0068, "fc8": 0.028} {
		near("the RMS of "+layer, rms[layer], want)
	}
	near("the update of conv3_3", update["conv3_3"], 7.6e-4)
	if l := float64(m.Losses[0].Value); math.Abs(l-6.909) > 0.02 {
		t.Errorf("the loss is %.4f, with Caffe 6.909", l)
	}
	if fs := m.Findings(); !has(fs, "measured-vanishing-signal") || !has(fs, "measured-dead-signal") || !has(fs, "measured-mean-order") {
		t.Errorf("found:\n%s", text(fs))
	}
	if o := m.Inputs[0].Order; o == nil || o.Difference > 1e-6 || math.Abs(o.DividedRMS/0.49-1) > 0.1 {
		t.Errorf("order of mean and scale: %+v", o)
	}
}
