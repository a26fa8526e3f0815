package layers

import (
	"math"
	"testing"
)

// TestSquash compares with float64, over small and large numbers of both signs.
func TestSquash(t *testing.T) {
	x := []float32{0, float32(math.Copysign(0, -1)), float32(math.Inf(1)), float32(math.Inf(-1)), math.MaxFloat32, -math.MaxFloat32, 1e-38, -1e-20}
	for v := float32(1e-6); v < 200; v *= 1.003 {
		x = append(x, v, -v)
	}
	s, th := make([]float32, len(x)), make([]float32, len(x))
	sigmoids(x, s)
	tanhs(x, th)
	for i, v := range x {
		if want := 1 / (1 + math.Exp(-float64(v))); math.Abs(float64(s[i])-want) > 3e-7*want+1e-38 {
			t.Errorf("sigmoid of %v is %v, want %v", v, s[i], want)
		}
		if want := math.Tanh(float64(v)); math.Abs(float64(th[i])-want) > 3e-7*math.Abs(want) {
			t.Errorf("tanh of %v is %v, want %v", v, th[i], want)
		}
	}
	for _, f := range []func(x, y []float32){sigmoids, tanhs} {
		y := []float32{float32(math.NaN()), 1}
		f(y, y)
		if y[0] == y[0] || y[1] != y[1] {
			t.Errorf("of a NaN and 1: %v", y)
		}
	}
}

func BenchmarkSquash(b *testing.B) {
	x, y := randomBlob(1, 1<<14).Data(), make([]float32, 1<<14)
	for name, f := range map[string]func(x, y []float32){"sigmoids": sigmoids, "tanhs": tanhs} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(x)))
			for b.Loop() {
				f(x, y)
			}
		})
	}
}
