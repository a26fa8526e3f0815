package data

import "math"

// Resizing as OpenCV's cv::resize does it with INTER_LINEAR on 8-bit samples
// (imgproc/src/resize.cpp): weights of 11 bits, rows first and then columns,
// intermediate products cut off as its vectorised column pass cuts them.
const (
	resizeBits = 11
	resizeOne  = 1 << resizeBits
)

// A resizeTap is the pair of source positions of one output position and
// their weights.
type resizeTap struct {
	i0, i1 int
	w0, w1 int32
}

// resizeTaps returns the taps along one axis. Output position i lies at
// (i+0.5)·from/to − 0.5 of the source. Across (columns), positions beyond the
// edge take the edge's sample with the whole weight; down (rows), both taps are
// the edge's row and the two weights stay as they are. The difference is
// OpenCV's.
func resizeTaps(from, to int, across bool) []resizeTap {
	scale := 1 / (float64(to) / float64(from))
	t := make([]resizeTap, to)
	for i := range t {
		f := float32((float64(i)+0.5)*scale - 0.5)
		s := int(math.Floor(float64(f)))
		f -= float32(s)
		if across {
			if s < 0 {
				s, f = 0, 0
			}
			if s >= from-1 {
				s, f = from-1, 0
			}
		}
		t[i] = resizeTap{
			i0: max(0, min(s, from-1)),
			i1: max(0, min(s+1, from-1)),
			w0: int32(math.RoundToEven(float64((1 - f) * resizeOne))),
			w1: int32(math.RoundToEven(float64(f * resizeOne))),
		}
	}
	return t
}

// Resize makes dst the 8-bit picture src at h×w pixels, height and width
// scaled independently. dst and src must not be the same.
func Resize(dst, src *Image, h, w int) {
	dst.alloc(src.C, h, w)
	switch {
	case h == src.H && w == src.W:
		copy(dst.Pix, src.Pix)
	case 2*h == src.H && 2*w == src.W:
		// Exactly half: OpenCV takes the mean of 2×2 samples instead.
		for c := range src.C {
			halve(dst.plane(c), src.plane(c), h, w)
		}
	default:
		xs, ys := resizeTaps(src.W, w, true), resizeTaps(src.H, h, false)
		buf := make([]int32, 2*w)
		for c := range src.C {
			resizePlane(dst.plane(c), src.plane(c), src.W, w, xs, ys, buf)
		}
	}
}

func halve(dst, src []byte, h, w int) {
	for y := range h {
		a, b := src[4*y*w:][:2*w], src[(4*y+2)*w:][:2*w]
		for x := range w {
			s := int32(a[2*x]) + int32(a[2*x+1]) + int32(b[2*x]) + int32(b[2*x+1])
			dst[y*w+x] = byte((s + 2) >> 2)
		}
	}
}

// resizePlane keeps the last two source rows it scaled across: consecutive
// output rows share them.
func resizePlane(dst, src []byte, srcW, w int, xs, ys []resizeTap, buf []int32) {
	r0, r1 := buf[:w], buf[w:]
	have0, have1 := -1, -1
	for y, t := range ys {
		if t.i0 != have0 {
			if t.i0 == have1 {
				r0, r1, have0, have1 = r1, r0, have1, have0
			} else {
				resizeRow(r0, src[t.i0*srcW:][:srcW], xs)
				have0 = t.i0
			}
		}
		if t.i1 != have1 {
			resizeRow(r1, src[t.i1*srcW:][:srcW], xs)
			have1 = t.i1
		}
		d := dst[y*w:][:w]
		for x := range d {
			d[x] = byte((t.w0*(r0[x]>>4)>>16 + t.w1*(r1[x]>>4)>>16 + 2) >> 2)
		}
	}
}

func resizeRow(dst []int32, src []byte, xs []resizeTap) {
	for x, t := range xs {
		dst[x] = int32(src[t.i0])*t.w0 + int32(src[t.i1])*t.w1
	}
}
