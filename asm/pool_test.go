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

// TestMaxPool2Lanes compares with MaxPool2 of each channel by itself, on the
// same kinds of values.
func TestMaxPool2Lanes(t *testing.T) {
	const l = 16
	kerneltest.EachISA(t, func(t *testing.T) {
		for _, atEnd := range []bool{true, false} {
			for _, n := range []int{0, 1, 2, 3, 14, 112} {
				x0, x1 := kerneltest.Guarded(t, 2*n*l, atEnd), kerneltest.Guarded(t, 2*n*l, atEnd)
				for r, x := range [][]float32{x0, x1} {
					kerneltest.Integers(uint64(1+r), x)
					for i := range x {
						if i%5 == 0 {
							x[i] = special[(i/5+r)%len(special)]
						}
						if i%l == 3 { // windows without a maximum
							x[i] = []float32{kerneltest.NaN, float32(math.Inf(-1))}[i/l%2]
						}
					}
				}
				y, dy := kerneltest.Guarded(t, n*l, atEnd), kerneltest.Guarded(t, n*l, atEnd)
				kerneltest.Normals(3, dy)
				half := kerneltest.Guarded(t, 2*n, atEnd)
				chosen := unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(half))), 4*n)
				dx0, dx1 := kerneltest.Guarded(t, 2*n*l, atEnd), kerneltest.Guarded(t, 2*n*l, atEnd)
				kerneltest.Fill(dx0, 77)
				kerneltest.Fill(dx1, 77)
				asm.MaxPool2Lanes(x0, x1, y, chosen)
				asm.MaxPool2LanesBackward(dy, chosen, dx0, dx1)
				channel := func(x []float32, c int) []float32 {
					s := make([]float32, len(x)/l)
					for i := range s {
						s[i] = x[i*l+c]
					}
					return s
				}
				for c := range l {
					what := fmt.Sprintf("n=%d channel %d", n, c)
					want, mask := make([]float32, n), make([]int32, n)
					asm.MaxPool2(0, 2*n, channel(x0, c), channel(x1, c), want, mask)
					kerneltest.Same(t, what, channel(y, c), want)
					want0, want1 := make([]float32, 2*n), make([]float32, 2*n)
					asm.MaxPool2Backward(0, 2*n, channel(dy, c), mask, want0, want1)
					kerneltest.Same(t, what+" gradient, upper row", channel(dx0, c), want0)
					kerneltest.Same(t, what+" gradient, lower row", channel(dx1, c), want1)
				}
				if n := testing.AllocsPerRun(5, func() {
					asm.MaxPool2Lanes(x0, x1, y, chosen)
					asm.MaxPool2LanesBackward(dy, chosen, dx0, dx1)
				}); n != 0 {
					t.Errorf("%v allocations", n)
				}
			}
		}
	})
}

// TestPoolWindows compares with a scan of each window, channel by channel.
func TestPoolWindows(t *testing.T) {
	const l, at = 16, 100
	kerneltest.EachISA(t, func(t *testing.T) {
		for _, atEnd := range []bool{true, false} {
			for _, c := range []struct {
				n int
				w asm.Windows
			}{
				{0, asm.Windows{Rows: 1, Cols: 1, Step: 1, Width: 1}},
				{1, asm.Windows{Rows: 1, Cols: 1, Step: 1, Width: 1}},
				{5, asm.Windows{Rows: 3, Cols: 3, Step: 2, Width: 13}},
				{4, asm.Windows{Rows: 2, Cols: 5, Step: 1, Width: 8}},
				{300, asm.Windows{Rows: 3, Cols: 3, Step: 1, Width: 302}},
				{3, asm.Windows{Rows: 40, Cols: 40, Step: 7, Width: 61}},
				{2, asm.Windows{Rows: 70, Cols: 60, Step: 1, Width: 61}}, // too much for one call
			} {
				w := c.w
				size := 0
				if c.n > 0 {
					size = (c.n-1)*w.Step + (w.Rows-1)*w.Width + w.Cols
				}
				x := kerneltest.Guarded(t, size*l, atEnd)
				kerneltest.Integers(4, x)
				for i := range x {
					if i%l == 5 && i/l%2 == 0 {
						x[i] = []float32{kerneltest.NaN, float32(math.Inf(-1)), float32(math.Inf(1))}[i/l/2%3]
					}
					if i%l == 7 {
						x[i] = kerneltest.NaN
					}
				}
				y, mean, places := kerneltest.Guarded(t, c.n*l, atEnd), kerneltest.Guarded(t, c.n*l, atEnd), places(t, c.n*l, atEnd)
				what := fmt.Sprintf("%d windows, %+v", c.n, w)
				asm.MaxPoolWindows(w, at, x, y, places)
				only := kerneltest.Guarded(t, c.n*l, atEnd)
				asm.MaxPoolWindows(w, at, x, only, nil)
				kerneltest.Same(t, what+" without places", only, y)
				asm.MeanPoolWindows(w, 3, x, mean)
				for i := range y {
					best, place, sum := float32(-math.MaxFloat32), -1, float32(0)
					for r := range w.Rows {
						for q := range w.Cols {
							p := i/l*w.Step + r*w.Width + q
							v := x[p*l+i%l]
							if v > best {
								best, place = v, at+p
							}
							sum += v
						}
					}
					if y[i] != best || int(places[i]) != place {
						t.Fatalf("%s: element %d is %v from %d, not %v from %d", what, i, y[i], places[i], best, place)
					}
					if m := sum / 3; mean[i] != m && (mean[i] == mean[i] || m == m) {
						t.Fatalf("%s: the mean of element %d is %v, not %v", what, i, mean[i], m)
					}
				}
				if n := testing.AllocsPerRun(5, func() {
					asm.MaxPoolWindows(w, at, x, y, places)
					asm.MeanPoolWindows(w, 3, x, mean)
				}); n != 0 {
					t.Errorf("%v allocations", n)
				}
			}
		}
	})
}

// BenchmarkMaxPool2Lanes has 64 channels of the images of VGG-16's pooling
// layers; GB/s are of what is read and written.
func BenchmarkMaxPool2Lanes(b *testing.B) {
	const l = 16
	for _, c := range []struct {
		name string
		size int
	}{{"pool1", 224}, {"pool3", 56}, {"pool5", 14}} {
		rows := 64 / l * c.size
		x, dx := make([]float32, rows*c.size*l), make([]float32, rows*c.size*l)
		kerneltest.Normals(1, x)
		row, half := c.size*l, c.size/2*l
		y, chosen := make([]float32, rows/2*half), make([]uint16, rows/2*half/4)
		b.Run("forward/shape="+c.name, func(b *testing.B) {
			b.SetBytes(int64(4*(len(x)+len(y)) + 2*len(chosen)))
			for b.Loop() {
				for i := range rows / 2 {
					asm.MaxPool2Lanes(x[2*i*row:], x[(2*i+1)*row:], y[i*half:][:half], chosen[i*half/4:][:half/4])
				}
			}
		})
		b.Run("backward/shape="+c.name, func(b *testing.B) {
			b.SetBytes(int64(4*(len(x)+len(y)) + 2*len(chosen)))
			for b.Loop() {
				for i := range rows / 2 {
					asm.MaxPool2LanesBackward(y[i*half:][:half], chosen[i*half/4:][:half/4], dx[2*i*row:], dx[(2*i+1)*row:])
				}
			}
		})
	}
}
