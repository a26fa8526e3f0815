package layers

import (
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"

	"crema/tensor"
)

// naiveLRN returns the layer's output, computed with float64 from its definition.
func naiveLRN(x *tensor.Blob, size int, alpha, beta, k float64, within bool) []float32 {
	y := make([]float32, 0, x.Count())
	for n := range x.Dim(0) {
		for c := range x.Dim(1) {
			for h := range x.Dim(2) {
				for w := range x.Dim(3) {
					var sum float64
					add := func(c, h, w int) {
						if c >= 0 && c < x.Dim(1) && h >= 0 && h < x.Dim(2) && w >= 0 && w < x.Dim(3) {
							sum += math.Pow(float64(x.At(n, c, h, w)), 2)
						}
					}
					window := float64(size)
					if within {
						window *= window
					}
					for i := -(size / 2); i <= size/2; i++ {
						if !within {
							add(c+i, h, w)
							continue
						}
						for j := -(size / 2); j <= size/2; j++ {
							add(c, h+i, w+j)
						}
					}
					y = append(y, float32(float64(x.At(n, c, h, w))/math.Pow(k+alpha/window*sum, beta)))
				}
			}
		}
	}
	return y
}

func TestLRN(t *testing.T) {
	for _, c := range []struct {
		size           uint32
		alpha, beta, k float64
	}{{5, 1, 0.75, 1}, {3, 2, 0.5, 2}, {1, 1, 1, 0.5}, {7, 0.5, 1.25, 1}, {101, 1, 0.75, 1}, {4294967295, 1, 0.75, 1}} {
		for _, s := range [][]int{{2, 7, 5, 4}, {1, 1, 1, 1}, {2, 96, 13, 13}, {4, 48, 15, 15}, {1, 3, 17, 19}, {1, 2, 3, 150}, {0, 2, 3, 3}, {2, 3, 0, 3}} {
			for _, within := range []bool{false, true} {
				param := fmt.Sprintf("local_size: %d alpha: %v beta: %v", c.size, c.alpha, c.beta)
				k, reach := c.k, int(min(c.size, 101))
				if within {
					param += " norm_region: WITHIN_CHANNEL"
					k = 1
				} else {
					param += fmt.Sprintf(" k: %v", k)
				}
				x := randomBlob(1, s...)
				if c.size > 100 && x.Count() > 300 {
					continue // the definition takes too long
				}
				l, top := newLayer(t, testContext(train), `type: "LRN" lrn_param { `+param+` }`, blobs(x), 1)
				forward(t, l, blobs(x), top)
				alpha := c.alpha * float64(reach) / float64(c.size)
				if within {
					alpha *= float64(reach) / float64(c.size)
				}
				nearMax(t, param+" of "+tensor.FormatShape(s), 2e-6, top[0].Data(), naiveLRN(x, reach, alpha, c.beta, k, within))
			}
		}
	}
}

func TestLRNDefaults(t *testing.T) {
	x := randomBlob(1, 2, 7, 3, 3)
	for _, text := range []string{``, `lrn_param { }`, `lrn_param { engine: CUDNN }`} {
		l, top := newLayer(t, testContext(train), `type: "LRN" `+text, blobs(x), 1)
		forward(t, l, blobs(x), top)
		nearMax(t, text, 1e-6, top[0].Data(), naiveLRN(x, 5, 1, 0.75, 1, false))
	}
}

var lrnParams = []string{
	`local_size: 3 alpha: 2`,
	`local_size: 5 alpha: 1 beta: 1.5 k: 2`,
	`local_size: 1 beta: 0.5`,
	`local_size: 3 alpha: 2 norm_region: WITHIN_CHANNEL`,
	`local_size: 5 alpha: 3 beta: 1 norm_region: WITHIN_CHANNEL`,
}

func TestLRNGradient(t *testing.T) {
	for _, param := range lrnParams {
		checkGradient(t, gradCheck{}, `type: "LRN" lrn_param { `+param+` }`, blobs(randomBlob(1, 2, 4, 3, 3)), 1)
		checkGradient(t, gradCheck{}, `type: "LRN" lrn_param { `+param+` }`, blobs(randomBlob(1, 1, 2, 4, 7)), 1)
	}
}

func TestLRNInPlace(t *testing.T) {
	for _, param := range lrnParams {
		checkInPlace(t, `type: "LRN" lrn_param { `+param+` }`, blobs(randomBlob(1, 2, 20, 9, 8)), true)
	}
}

func TestLRNBlocked(t *testing.T) {
	for _, param := range lrnParams {
		for _, s := range [][]int{{2, 48, 9, 7}, {1, 16, 1, 1}, {2, 32, 41, 37}} {
			checkBlocked(t, `type: "LRN" lrn_param { `+param+` }`, blobs(randomBlob(1, s...)), 1)
		}
	}
}

func TestLRNPasses(t *testing.T) {
	for _, param := range lrnParams {
		checkPasses(t, `type: "LRN" lrn_param { `+param+` }`, blobs(randomBlob(1, 3, 24, 40, 37)), 1)
	}
}

// A large value must leave nothing behind in the windows that follow.
func TestLRNRange(t *testing.T) {
	for _, param := range []string{`local_size: 3 alpha: 3`, `local_size: 3 alpha: 9 norm_region: WITHIN_CHANNEL`} {
		x := tensor.New(1, 40, 1, 40)
		for i := range x.Data() {
			x.Data()[i] = 1e-3
		}
		x.Set(1e6, 0, 3, 0, 3)
		l, top := newLayer(t, testContext(train), `type: "LRN" lrn_param { `+param+` }`, blobs(x), 1)
		forward(t, l, blobs(x), top)
		near(t, param, 1e-8, []float32{top[0].At(0, 30, 0, 30)}, 1e-3)
	}
}

func TestLRNErrors(t *testing.T) {
	x := blobs(randomBlob(1, 2, 3, 4, 4))
	for _, size := range []string{"0", "4"} {
		wantError(t, train, `type: "LRN" lrn_param { local_size: `+size+` }`, x, 1, "lrn_param: local_size must be odd, not "+size)
	}
	wantError(t, train, `type: "LRN"`, blobs(randomBlob(1, 2, 3, 4)), 1, "the bottom must have 4 axes, N×C×H×W, not the shape 2×3×4")
	// Caffe runs this one, without a word.
	var log strings.Builder
	ctx := testContext(train)
	ctx.Log = slog.New(slog.NewTextHandler(&log, nil))
	newLayer(t, ctx, `name: "n" type: "LRN" lrn_param { k: 2 norm_region: WITHIN_CHANNEL }`, x, 1)
	if !strings.Contains(log.String(), "Layer n: k has no effect WITHIN_CHANNEL") {
		t.Errorf("log: %q", log.String())
	}
}
