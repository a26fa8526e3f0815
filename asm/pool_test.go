package asm_test

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"unsafe"

	"crema/asm"
	"crema/internal/kerneltest"
)

// places makes a guarded slice of places.
func places(t *testing.T, n int, atEnd bool) []int32 {
	f := kerneltest.Shared(t, n, atEnd)
	return unsafe.Slice((*int32)(unsafe.Pointer(unsafe.SliceData(f))), n)
}

// TestMaxPool2 compares with a plain scan of each window, on values with many
// equals, infinities and NaN, and the gradient with a scatter.
func TestMaxPool2(t *testing.T) {
	kerneltest.EachISA(t, func(t *testing.T) {
		for _, atEnd := range []bool{true, false} {
			for _, n := range []int{0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 56, 112} {
				const at, gap = 1000, 3
				width := 2*n + gap
				x := kerneltest.Guarded(t, width+2*n, atEnd)
				kerneltest.Integers(1, x)
				for i := range x {
					if i%5 == 0 {
						x[i] = special[i/5%len(special)]
					}
				}
				if n > 2 { // windows without a maximum
					for i, v := range []float32{kerneltest.NaN, float32(math.Inf(-1))} {
						for _, j := range []int{2 * i, 2*i + 1, width + 2*i, width + 2*i + 1} {
							x[j] = v
						}
					}
				}
				y, dy := kerneltest.Guarded(t, n, atEnd), make([]float32, n)
				kerneltest.Normals(2, dy)
				mask := places(t, n, atEnd)
				want, wantMask := make([]float32, n), make([]int32, n)
				dx := kerneltest.Guarded(t, len(x), atEnd)
				wantDX := make([]float32, len(x))
				for i := range dx {
					dx[i] = 77
				}
				for i := range gap {
					wantDX[2*n+i] = 77
				}
				for i := range n {
					want[i], wantMask[i] = -math.MaxFloat32, -1
					for _, j := range []int{2 * i, 2*i + 1, width + 2*i, width + 2*i + 1} {
						if x[j] > want[i] {
							want[i], wantMask[i] = x[j], int32(at+j)
						}
					}
					if wantMask[i] >= 0 {
						wantDX[wantMask[i]-at] = dy[i]
					}
				}
				what := fmt.Sprintf("n=%d", n)
				asm.MaxPool2(at, width, x, x[width:], y, mask)
				kerneltest.Same(t, what, y, want)
				if !slices.Equal(mask, wantMask) {
					t.Fatalf("%s: places %v, not %v", what, mask, wantMask)
				}
				asm.MaxPool2Backward(at, width, dy, mask, dx, dx[width:])
				kerneltest.Same(t, what+" gradient", dx, wantDX)
			}
		}
	})
}
