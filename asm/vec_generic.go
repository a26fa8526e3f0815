package asm

import "math"

// The portable vector kernels. A conversion float32(a*b) keeps the compiler
// from fusing the product with an addition on architectures that could, which
// would change bits.

func axpyGeneric(alpha float32, x, y []float32) {
	y = y[:len(x)]
	for i, v := range x {
		y[i] += float32(alpha * v)
	}
}

func addGeneric(x, y []float32) {
	y = y[:len(x)]
	for i, v := range x {
		y[i] += v
	}
}

func scalGeneric(alpha float32, x []float32) {
	for i := range x {
		x[i] *= alpha
	}
}

func addScalarGeneric(alpha float32, x []float32) {
	for i := range x {
		x[i] += alpha
	}
}

func reluGeneric(slope float32, x, y []float32) {
	y = y[:len(x)]
	for i, v := range x {
		hi, lo := v, v
		if v < 0 {
			hi = 0
		} else if v > 0 {
			lo = 0
		}
		y[i] = hi + float32(slope*lo)
	}
}

func reluBackwardGeneric(slope float32, x, dy, dx []float32) {
	dy, dx = dy[:len(x)], dx[:len(x)]
	for i, v := range x {
		f := slope
		if v > 0 {
			f = 1
		}
		dx[i] = f * dy[i]
	}
}

func sgdGeneric(lr, decay, momentum float32, g, h, w []float32) {
	h, w = h[:len(g)], w[:len(g)]
	for i, v := range g {
		step := float32(momentum*h[i]) + float32(lr*(v+float32(decay*w[i])))
		h[i] = step
		w[i] -= step
	}
}

func dotGeneric(x, y []float32, s *[lanes]float32) {
	for len(x) >= lanes && len(y) >= lanes {
		a, b := (*[lanes]float32)(x), (*[lanes]float32)(y)
		for i := range s {
			s[i] += float32(a[i] * b[i])
		}
		x, y = x[lanes:], y[lanes:]
	}
}

func sumsqGeneric(x []float32, s *[lanes]float32) {
	for len(x) >= lanes {
		a := (*[lanes]float32)(x)
		for i := range s {
			s[i] += float32(a[i] * a[i])
		}
		x = x[lanes:]
	}
}

func sumGeneric(x []float32, s *[lanes]float32) {
	for len(x) >= lanes {
		a := (*[lanes]float32)(x)
		for i := range s {
			s[i] += a[i]
		}
		x = x[lanes:]
	}
}

func asumGeneric(x []float32, s *[lanes]float32) {
	for len(x) >= lanes {
		a := (*[lanes]float32)(x)
		for i := range s {
			s[i] += abs(a[i])
		}
		x = x[lanes:]
	}
}

func abs(v float32) float32 { return math.Float32frombits(math.Float32bits(v) &^ (1 << 31)) }
