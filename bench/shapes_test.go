package bench

import "testing"

// VGG-16 has thirteen convolutions, 15.3 billion multiply-adds in them and
// 138 million weights (the paper's table 2, "138").
func TestVGG16(t *testing.T) {
	layers, weights, flops := 0, 0, 0.0
	for _, c := range Convs(1) {
		layers += c.Layers
		weights += c.Layers * 9 * c.C * c.K
		flops += float64(c.Layers) * c.Flops()
		for _, d := range Directions {
			if g := c.GEMM(d); g.Flops() != c.Flops() {
				t.Errorf("%v: %g operations, want %g", g, g.Flops(), c.Flops())
			}
		}
	}
	for _, f := range FCs(6) {
		weights += f.In * f.Out
		for _, d := range Directions {
			if g := f.GEMM(d); g.Flops() != 2*6*float64(f.In*f.Out) {
				t.Errorf("%v: %g operations", g, g.Flops())
			}
		}
	}
	if layers != 13 || weights/1e6 != 138 || flops != 30693261312 {
		t.Errorf("%d convolutions, %d weights, %g operations", layers, weights, flops)
	}
}

func TestTranspositions(t *testing.T) {
	want := []string{"NN", "NT", "TN", "TT"}
	for i, g := range Squares()[0].Transpositions() {
		if g.Transposition() != want[i] {
			t.Errorf("%d: %s, want %s", i, g.Transposition(), want[i])
		}
	}
}
