package asm

import "math"

// The portable kernels of norm.go. A conversion float32(a*b) keeps the compiler
// from fusing the product with an addition, which would change bits.

func affineGeneric(a, b *LaneVector, x, y []float32) {
	y = y[:len(x)]
	for i, v := range x {
		l := i % Lanes
		y[i] = float32(a[l]*v) + b[l]
	}
}

func standardizeGeneric(mean, inverse *LaneVector, x, y, keep []float32) {
	y, keep = y[:len(x)], keep[:len(x)]
	for i, v := range x {
		l := i % Lanes
		v = (v - mean[l]) * inverse[l]
		y[i], keep[i] = v, v
	}
}

func standardizeBackwardGeneric(mean, dot, inverse *LaneVector, y, dy, dx []float32) {
	y, dx = y[:len(dy)], dx[:len(dy)]
	for i, g := range dy {
		l := i % Lanes
		dx[i] = (g - mean[l] - float32(y[i]*dot[l])) * inverse[l]
	}
}

func laneReLUGeneric(slope *LaneVector, x, y []float32) {
	y = y[:len(x)]
	for i, v := range x {
		hi, lo := v, v
		if v < 0 {
			hi = 0
		} else if v > 0 {
			lo = 0
		}
		y[i] = hi + float32(slope[i%Lanes]*lo)
	}
}

func laneReLUBackwardGeneric(slope *LaneVector, x, dy, dx []float32) {
	dy, dx = dy[:len(x)], dx[:len(x)]
	for i, v := range x {
		f := slope[i%Lanes]
		if v > 0 {
			f = 1
		}
		dx[i] = f * dy[i]
	}
}

func laneSumsGeneric(x, y []float32, sum, dot *[Lanes]float64) {
	y = y[:len(x)]
	for i, v := range x {
		l := i % Lanes
		sum[l] += float64(v)
		dot[l] += float64(v) * float64(y[i])
	}
}

func productGeneric(x, y, z []float32) {
	y, z = y[:len(x)], z[:len(x)]
	for i, v := range x {
		z[i] = v * y[i]
	}
}

func power34Generic(x, y []float32) {
	y = y[:len(x)]
	for i, v := range x {
		r := float32(math.Sqrt(float64(v)))
		y[i] = 1 / (r * float32(math.Sqrt(float64(r))))
	}
}

func lrnRatiosGeneric(p, x, scale, dy, dx, r []float32) {
	p, x, scale, dx, r = p[:len(dy)], x[:len(dy)], scale[:len(dy)], dx[:len(dy)], r[:len(dy)]
	for i, g := range dy {
		g *= p[i]
		dx[i] = g
		r[i] = g * x[i] / scale[i]
	}
}

func subtractProductGeneric(alpha *LaneVector, x, r, dx []float32) {
	r, dx = r[:len(x)], dx[:len(x)]
	for i, v := range x {
		dx[i] -= float32(alpha[i%Lanes] * v * r[i])
	}
}
