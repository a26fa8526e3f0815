package asm

import "crema/internal/race"

// chunk is how many elements are given to assembly at a time: a goroutine
// cannot be stopped for the garbage collector in between.
const chunk = 1 << 14

const errLen = "asm: slices of different lengths"

// Axpy adds alpha·x to y: y[i] += alpha·x[i]. The slices must be equally long;
// they may be the same, but not overlap otherwise.
func Axpy(alpha float32, x, y []float32) {
	if len(x) != len(y) {
		panic(errLen)
	}
	race.Read(x)
	race.Write(y)
	for len(x) > 0 {
		n := min(len(x), chunk)
		axpy(alpha, x[:n], y[:n])
		x, y = x[n:], y[n:]
	}
}

// Add adds x to y: y[i] += x[i], under the conditions of Axpy.
func Add(x, y []float32) {
	if len(x) != len(y) {
		panic(errLen)
	}
	race.Read(x)
	race.Write(y)
	for len(x) > 0 {
		n := min(len(x), chunk)
		add(x[:n], y[:n])
		x, y = x[n:], y[n:]
	}
}

// Scal multiplies x by alpha. Zero times NaN is NaN, as in BLAS.
func Scal(alpha float32, x []float32) {
	race.Write(x)
	for len(x) > 0 {
		n := min(len(x), chunk)
		scal(alpha, x[:n])
		x = x[n:]
	}
}

// AddScalar adds alpha to every element of x.
func AddScalar(alpha float32, x []float32) {
	race.Write(x)
	for len(x) > 0 {
		n := min(len(x), chunk)
		addScalar(alpha, x[:n])
		x = x[n:]
	}
}

// ReLU computes y[i] = max(x[i], 0) + slope·min(x[i], 0), Caffe's ReLU layer
// (relu_layer.cpp); a NaN stays one. x and y must be equally long and may be
// the same slice.
func ReLU(slope float32, x, y []float32) {
	if len(x) != len(y) {
		panic(errLen)
	}
	race.Read(x)
	race.Write(y)
	for len(x) > 0 {
		n := min(len(x), chunk)
		relu(slope, x[:n], y[:n])
		x, y = x[n:], y[n:]
	}
}

// ReLUBackward computes dx[i] = dy[i] where x[i] > 0 and slope·dy[i] elsewhere.
// With slope ≥ 0, x may be ReLU's input or its output. The slices must be
// equally long; dx and dy may be the same.
func ReLUBackward(slope float32, x, dy, dx []float32) {
	if len(x) != len(dy) || len(x) != len(dx) {
		panic(errLen)
	}
	race.Read(x)
	race.Read(dy)
	race.Write(dx)
	for len(x) > 0 {
		n := min(len(x), chunk)
		reluBackward(slope, x[:n], dy[:n], dx[:n])
		x, dy, dx = x[n:], dy[n:], dx[n:]
	}
}

// SGDUpdate is one step of stochastic gradient descent with momentum and L2
// decay in one pass over memory (Caffe's SGDSolver, sgd_solver.cpp):
//
//	h = lr·(g + decay·w) + momentum·h
//	w = w − h
//
// w are the parameters, g their gradient (only read), h the history, all
// equally long and distinct.
func SGDUpdate(lr, decay, momentum float32, g, h, w []float32) {
	if len(g) != len(w) || len(h) != len(w) {
		panic(errLen)
	}
	race.Read(g)
	race.Write(h)
	race.Write(w)
	for len(w) > 0 {
		n := min(len(w), chunk)
		sgd(lr, decay, momentum, g[:n], h[:n], w[:n])
		g, h, w = g[n:], h[n:], w[n:]
	}
}

// lanes is the number of partial sums of a reduction.
const lanes = 64

// Dot returns the sum of x[i]·y[i]. Blocks of 16384 elements are summed in 64
// float32 partial sums (element i into sum i mod 64), which are added to the
// result in float64, in order.
func Dot(x, y []float32) float64 {
	if len(x) != len(y) {
		panic(errLen)
	}
	race.Read(x)
	race.Read(y)
	var total float64
	for len(x) > 0 {
		n := min(len(x), chunk)
		whole := n &^ (lanes - 1)
		var s [lanes]float32
		if whole > 0 {
			dot(x[:whole], y[:whole], &s)
		}
		for i := whole; i < n; i++ {
			s[i-whole] += float32(x[i] * y[i])
		}
		total += sumLanes(&s)
		x, y = x[n:], y[n:]
	}
	return total
}

// Sumsq returns the sum of x[i]², in the order of Dot.
func Sumsq(x []float32) float64 {
	race.Read(x)
	var total float64
	for len(x) > 0 {
		n := min(len(x), chunk)
		whole := n &^ (lanes - 1)
		var s [lanes]float32
		if whole > 0 {
			sumsq(x[:whole], &s)
		}
		for i := whole; i < n; i++ {
			s[i-whole] += float32(x[i] * x[i])
		}
		total += sumLanes(&s)
		x = x[n:]
	}
	return total
}

// Sum returns the sum of x[i], in the order of Dot.
func Sum(x []float32) float64 {
	race.Read(x)
	var total float64
	for len(x) > 0 {
		n := min(len(x), chunk)
		whole := n &^ (lanes - 1)
		var s [lanes]float32
		if whole > 0 {
			sum(x[:whole], &s)
		}
		for i := whole; i < n; i++ {
			s[i-whole] += x[i]
		}
		total += sumLanes(&s)
		x = x[n:]
	}
	return total
}

// Asum returns the sum of |x[i]|, in the order of Dot.
func Asum(x []float32) float64 {
	race.Read(x)
	var total float64
	for len(x) > 0 {
		n := min(len(x), chunk)
		whole := n &^ (lanes - 1)
		var s [lanes]float32
		if whole > 0 {
			asum(x[:whole], &s)
		}
		for i := whole; i < n; i++ {
			s[i-whole] += abs(x[i])
		}
		total += sumLanes(&s)
		x = x[n:]
	}
	return total
}

func sumLanes(s *[lanes]float32) float64 {
	var t float64
	for _, v := range s {
		t += float64(v)
	}
	return t
}
