package solver

import (
	"math"
	"testing"

	"crema/internal/glog"
	"crema/prototxt/caffepb"

	"google.golang.org/protobuf/proto"
)

// TestRules checks three updates of one weight by each rule against the same
// formulas in float64, with decay, clipping and accumulation.
func TestRules(t *testing.T) {
	u := step{rate: 0.1, clip: 0.5, norm: 0.25, l2: 0.01, momentum: 0.9, momentum2: 0.99, rmsDecay: 0.95, delta: 1e-3}
	grads := []float64{2, -1.5, 0.25}
	m, d := 0.9, 1e-3
	for name, ref := range map[string]func(n int, g float64, h, h2 *float64) float64{
		"SGD":      func(_ int, g float64, h, _ *float64) float64 { *h = 0.1*g + m**h; return *h },
		"Nesterov": func(_ int, g float64, h, _ *float64) float64 { o := *h; *h = 0.1*g + m*o; return (1+m)**h - m*o },
		"AdaGrad":  func(_ int, g float64, h, _ *float64) float64 { *h += g * g; return 0.1 * g / (math.Sqrt(*h) + d) },
		"RMSProp": func(_ int, g float64, h, _ *float64) float64 {
			*h = 0.05*g*g + 0.95**h
			return 0.1 * g / (math.Sqrt(*h) + d)
		},
		"AdaDelta": func(_ int, g float64, h, h2 *float64) float64 {
			*h = (1-m)*g*g + m**h
			v := g * math.Sqrt((*h2+d)/(*h+d))
			*h2 = (1-m)*v*v + m**h2
			return 0.1 * v
		},
		"Adam": func(n int, g float64, h, h2 *float64) float64 {
			*h = (1-m)*g + m**h
			*h2 = 0.01*g*g + 0.99**h2
			c := math.Sqrt(1-math.Pow(0.99, float64(n))) / (1 - math.Pow(m, float64(n)))
			return 0.1 * c * *h / (math.Sqrt(*h2) + d)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, h, h2 := []float32{0.7}, []float32{0}, []float32{0}
			rw, rh, rh2 := 0.7, 0.0, 0.0
			for n, g := range grads {
				v := u
				v.adam = float32(math.Sqrt(1-math.Pow(0.99, float64(n+1))) / (1 - math.Pow(m, float64(n+1))))
				diff := []float32{float32(g)}
				rules[name].update(&v, w, diff, h, h2)
				rstep := ref(n+1, g*0.5*0.25+0.01*rw, &rh, &rh2)
				rw -= rstep
				for _, c := range []struct {
					what      string
					got, want float64
				}{{"weight", float64(w[0]), rw}, {"step", float64(diff[0]), rstep}, {"history", float64(h[0]), rh}, {"second history", float64(h2[0]), rh2}} {
					if math.Abs(c.got-c.want) > 2e-6*math.Max(1, math.Abs(c.want)) {
						t.Errorf("update %d: %s %v, want %v", n, c.what, c.got, c.want)
					}
				}
			}
		})
	}
}

// TestL1 checks that L1 decay pulls towards zero by a constant and leaves
// zero alone.
func TestL1(t *testing.T) {
	u := step{clip: 1, norm: 1, l1: 0.5}
	for _, c := range []struct{ w, want float32 }{{2, 1.5}, {-2, 0.5}, {0, 1}} {
		if got := u.gradient(c.w, 1); got != c.want {
			t.Errorf("weight %v, gradient 1: %v, want %v", c.w, got, c.want)
		}
	}
}

// TestPolicies checks every policy at hand-computed points.
func TestPolicies(t *testing.T) {
	p := func(policy string) *caffepb.SolverParameter {
		return &caffepb.SolverParameter{LrPolicy: &policy, BaseLr: proto.Float32(0.5), Gamma: proto.Float32(0.1), Power: proto.Float32(2),
			Stepsize: proto.Int32(10), Stepvalue: []int32{5, 20}, MaxIter: proto.Int32(100)}
	}
	for _, c := range []struct {
		policy string
		iter   int
		want   float64
	}{
		{"fixed", 50, 0.5},
		{"step", 9, 0.5}, {"step", 10, 0.05}, {"step", 29, 0.005},
		{"exp", 3, 0.0005},
		{"inv", 10, 0.5 / 4},
		{"multistep", 4, 0.5}, {"multistep", 5, 0.05}, {"multistep", 20, 0.005},
		{"poly", 50, 0.125}, {"poly", 100, 0},
		{"sigmoid", 10, 0.25}, {"sigmoid", 20, 0.5 / (1 + math.Exp(-1))},
	} {
		s := &Solver{p: p(c.policy), log: glog.Discard}
		var got float32
		for s.iter = 0; s.iter <= c.iter; s.iter++ { // multistep moves on iteration by iteration
			got = s.learningRate()
		}
		if math.Abs(float64(got)-c.want) > 1e-7 {
			t.Errorf("%s at %d: %v, want %v", c.policy, c.iter, got, c.want)
		}
	}
}

// TestSmooth checks the window of average_loss: a growing mean, then sliding.
func TestSmooth(t *testing.T) {
	s := &Solver{p: &caffepb.SolverParameter{AverageLoss: proto.Int32(3)}}
	want := []float32{3, 4, 5, 7, 9}
	for i, l := range []float32{3, 5, 7, 9, 11} {
		s.iter = i
		s.smooth(l)
		if s.smoothed != want[i] {
			t.Errorf("after %d losses: %v, want %v", i+1, s.smoothed, want[i])
		}
	}
}
