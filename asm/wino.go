package asm

import "crema/internal/race"

// The Winograd transforms of F(4×4,3×3) with the points 0, ±5/8, ±3/2 and ∞
// (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016;
// Vincent et al., "On Improving the Numerical Stability of Winograd
// Convolutions", 2017, for why not 0, ±1, ±2). With p = 5/8, q = 3/2:
//
//	Bᵀ = p²q²     0   −p²−q²      0   1  0    Aᵀ = 1  1   1   1   1  0
//	        0  −pq²      −q²      p   1  0         0  p  −p   q  −q  0
//	        0   pq²      −q²     −p   1  0         0  p²  p²  q²  q² 0
//	        0  −p²q      −p²      q   1  0         0  p³ −p³  q³ −q³ 1
//	        0   p²q      −p²     −q   1  0
//	        0  p²q²        0 −p²−q²   0  1
//
// and G has the row (1, t, t²)/∏(t−s) for each finite point t (the product is
// over the other finite points s), and (0, 0, 1).
//
// A transform works on n lanes at once: element (i, j) of lane l of the source
// is src[i·s1 + j·s2 + l], of the destination dst[i·d1 + j·d2 + l]. It reads
// and writes nothing else. Source and destination must not overlap. The
// functions panic if a slice is too short. Lanes that do not fill a vector may
// round differently from those that do, depending on n only.
const (
	winoP = 0.625
	winoQ = 1.5

	winoN1 = 1 / (2 * winoP * winoP * (winoP*winoP - winoQ*winoQ))
	winoN2 = 1 / (2 * winoQ * winoQ * (winoQ*winoQ - winoP*winoP))
)

// Places in winoTable, in the order the generator knows.
const (
	wp2 = iota
	wq2
	wp
	wq
	wpq2
	wp2q
	wp2q2
	wsum
	wp3
	wq3
	winv
	wn1
	wn2
	wn1p
	wn2q
	wn1p2
	wn2q2
	numWino
)

var winoValues = [numWino]float32{
	wp2: winoP * winoP, wq2: winoQ * winoQ, wp: winoP, wq: winoQ,
	wpq2: winoP * winoQ * winoQ, wp2q: winoP * winoP * winoQ, wp2q2: winoP * winoP * winoQ * winoQ,
	wsum: winoP*winoP + winoQ*winoQ, wp3: winoP * winoP * winoP, wq3: winoQ * winoQ * winoQ,
	winv: 1 / (winoP * winoP * winoQ * winoQ),
	wn1:  winoN1, wn2: winoN2, wn1p: winoN1 * winoP, wn2q: winoN2 * winoQ,
	wn1p2: winoN1 * winoP * winoP, wn2q2: winoN2 * winoQ * winoQ,
}

// winoTable has each value eight times: AVX2 uses them from memory.
var winoTable = func() (t [8 * numWino]float32) {
	for i, v := range winoValues {
		for j := range 8 {
			t[8*i+j] = v
		}
	}
	return t
}()

// A transform is one of the five.
type transform int

const (
	winoInput transform = iota
	winoOutput
	winoGradient
	winoFilter
	winoFilterGradient
)

// winoShape has the side of the source and of the destination.
var winoShape = [...]struct{ in, out int }{{6, 6}, {6, 4}, {4, 6}, {3, 6}, {6, 3}}

// WinoInput computes Bᵀ·d·B, 36 elements from 36, where columns 4 and 5 of the
// source are not stored but are the lanes after those of columns 0 and 1:
// element (i, j+4) of lane l is element (i, j) of lane l+1, as it is when lane
// l is the l-th tile of a row of pixels whose every fourth is in one column.
func WinoInput(n int, src []float32, s1, s2 int, dst []float32, d1, d2 int) {
	wino(winoInput, n, src, s1, s2, dst, d1, d2)
}

// WinoOutput computes Aᵀ·m·A, 16 elements from 36: a tile of the output.
func WinoOutput(n int, src []float32, s1, s2 int, dst []float32, d1, d2 int) {
	wino(winoOutput, n, src, s1, s2, dst, d1, d2)
}

// WinoGradient computes A·y·Aᵀ, 36 elements from 16: what the gradient of a
// tile of the output contributes before it meets the input's transform.
func WinoGradient(n int, src []float32, s1, s2 int, dst []float32, d1, d2 int) {
	wino(winoGradient, n, src, s1, s2, dst, d1, d2)
}

// WinoFilter computes G·g·Gᵀ, 36 elements from 9.
func WinoFilter(n int, src []float32, s1, s2 int, dst []float32, d1, d2 int) {
	wino(winoFilter, n, src, s1, s2, dst, d1, d2)
}

// WinoFilterGradient computes Gᵀ·u·G, 9 elements from 36.
func WinoFilterGradient(n int, src []float32, s1, s2 int, dst []float32, d1, d2 int) {
	wino(winoFilterGradient, n, src, s1, s2, dst, d1, d2)
}

func wino(t transform, n int, src []float32, s1, s2 int, dst []float32, d1, d2 int) {
	if n <= 0 {
		return
	}
	sh := winoShape[t]
	last := (sh.in-1)*s1 + (sh.in-1)*s2 + n - 1
	if t == winoInput {
		last = 5*s1 + max(3*s2, s2+1) + n - 1
	}
	if s1 < 0 || s2 < 0 || d1 < 0 || d2 < 0 || len(src) <= last || len(dst) <= (sh.out-1)*(d1+d2)+n-1 {
		panic("asm: slice too short for transform")
	}
	if race.Enabled {
		race.Read(src[:last+1])
		race.Write(dst[:(sh.out-1)*(d1+d2)+n])
	}
	winoRun(t, n, src, s1, s2, dst, d1, d2)
}

// winoGeneric does lanes lo ≤ l < n.
func winoGeneric(t transform, lo, n int, src []float32, s1, s2 int, dst []float32, d1, d2 int) {
	sh := winoShape[t]
	for l := lo; l < n; l++ {
		var x, m, y [6][6]float32
		for i := range sh.in {
			for j := range sh.in {
				if t == winoInput && j >= 4 {
					x[i][j] = src[i*s1+(j-4)*s2+l+1]
				} else {
					x[i][j] = src[i*s1+j*s2+l]
				}
			}
		}
		for i := range sh.in {
			winoLine(t, &x[i], &m[i])
		}
		for j := range sh.out {
			var in, out [6]float32
			for i := range sh.in {
				in[i] = m[i][j]
			}
			winoLine(t, &in, &out)
			for i := range sh.out {
				y[i][j] = out[i]
			}
		}
		for i := range sh.out {
			for j := range sh.out {
				dst[i*d1+j*d2+l] = y[i][j]
			}
		}
	}
}

// winoLine is the one-dimensional transform.
func winoLine(t transform, x, y *[6]float32) {
	k := &winoValues
	switch t {
	case winoInput:
		a, b := x[4]-k[wq2]*x[2], k[wp]*x[3]-k[wpq2]*x[1]
		c, d := x[4]-k[wp2]*x[2], k[wq]*x[3]-k[wp2q]*x[1]
		*y = [6]float32{k[wp2q2]*x[0] - k[wsum]*x[2] + x[4], a + b, a - b, c + d, c - d, k[wp2q2]*x[1] - k[wsum]*x[3] + x[5]}
	case winoOutput:
		s1, d1, s2, d2 := x[1]+x[2], x[1]-x[2], x[3]+x[4], x[3]-x[4]
		*y = [6]float32{x[0] + (s1 + s2), k[wp]*d1 + k[wq]*d2, k[wp2]*s1 + k[wq2]*s2, x[5] + k[wp3]*d1 + k[wq3]*d2}
	case winoGradient:
		a, b := x[0]+k[wp2]*x[2], k[wp]*x[1]+k[wp3]*x[3]
		c, d := x[0]+k[wq2]*x[2], k[wq]*x[1]+k[wq3]*x[3]
		*y = [6]float32{x[0], a + b, a - b, c + d, c - d, x[3]}
	case winoFilter:
		a, b := k[wn1]*x[0]+k[wn1p2]*x[2], k[wn1p]*x[1]
		c, d := k[wn2]*x[0]+k[wn2q2]*x[2], k[wn2q]*x[1]
		*y = [6]float32{k[winv] * x[0], a + b, a - b, c + d, c - d, x[2]}
	case winoFilterGradient:
		s1, d1, s2, d2 := x[1]+x[2], x[1]-x[2], x[3]+x[4], x[3]-x[4]
		*y = [6]float32{k[winv]*x[0] + k[wn1]*s1 + k[wn2]*s2, k[wn1p]*d1 + k[wn2q]*d2, x[5] + k[wn1p2]*s1 + k[wn2q2]*s2}
	}
}
