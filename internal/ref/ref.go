// Package ref holds naive reference implementations with float64 sums, against
// which the kernels are tested. They follow the definitions and nothing else.
package ref

// Gemm computes C = alpha·op(A)·op(B) + beta·C, row-major; arguments as of
// gemm.Sgemm. C is not read if beta is 0.
func Gemm(transA, transB bool, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int) {
	for i := range m {
		for j := range n {
			var s float64
			for p := range k {
				x, y := i*lda+p, p*ldb+j
				if transA {
					x = p*lda + i
				}
				if transB {
					y = j*ldb + p
				}
				s += float64(a[x]) * float64(b[y])
			}
			s *= float64(alpha)
			if beta != 0 {
				s += float64(beta) * float64(c[i*ldc+j])
			}
			c[i*ldc+j] = float32(s)
		}
	}
}

// Conv is the shape of a convolution, as conv.Shape with every field set.
type Conv struct {
	N, C, H, W           int
	K, R, S              int
	StrideH, StrideW     int
	PadH, PadW           int
	DilationH, DilationW int
	Group                int
}

// Out returns the extent of the output.
func (s Conv) Out() (h, w int) {
	return (s.H+2*s.PadH-(s.DilationH*(s.R-1)+1))/s.StrideH + 1,
		(s.W+2*s.PadW-(s.DilationW*(s.S-1)+1))/s.StrideW + 1
}

// each calls f with the indices of output, input and weight of every product
// of the convolution.
func (s Conv) each(f func(y, x, w int)) {
	oh, ow := s.Out()
	kg, cg := s.K/s.Group, s.C/s.Group
	for n := range s.N {
		for k := range s.K {
			for oy := range oh {
				for ox := range ow {
					y := ((n*s.K+k)*oh+oy)*ow + ox
					for c := range cg {
						for r := range s.R {
							for q := range s.S {
								iy := oy*s.StrideH - s.PadH + r*s.DilationH
								ix := ox*s.StrideW - s.PadW + q*s.DilationW
								if iy < 0 || iy >= s.H || ix < 0 || ix >= s.W {
									continue
								}
								f(y, ((n*s.C+k/kg*cg+c)*s.H+iy)*s.W+ix, ((k*cg+c)*s.R+r)*s.S+q)
							}
						}
					}
				}
			}
		}
	}
}

// ConvForward returns the output; bias may be nil.
func ConvForward(s Conv, x, w, bias []float32) []float64 {
	oh, ow := s.Out()
	y := make([]float64, s.N*s.K*oh*ow)
	s.each(func(iy, ix, iw int) { y[iy] += float64(x[ix]) * float64(w[iw]) })
	if bias != nil {
		for i := range y {
			y[i] += float64(bias[i/(oh*ow)%s.K])
		}
	}
	return y
}

// ConvBackwardData returns the gradient of the input.
func ConvBackwardData(s Conv, dy, w []float32) []float64 {
	dx := make([]float64, s.N*s.C*s.H*s.W)
	s.each(func(iy, ix, iw int) { dx[ix] += float64(dy[iy]) * float64(w[iw]) })
	return dx
}

// ConvBackwardWeights returns the gradient of the weights.
func ConvBackwardWeights(s Conv, x, dy []float32) []float64 {
	dw := make([]float64, s.K*(s.C/s.Group)*s.R*s.S)
	s.each(func(iy, ix, iw int) { dw[iw] += float64(dy[iy]) * float64(x[ix]) })
	return dw
}

// ConvBackwardBias returns the gradient of the biases.
func ConvBackwardBias(s Conv, dy []float32) []float64 {
	oh, ow := s.Out()
	db := make([]float64, s.K)
	for i, v := range dy[:s.N*s.K*oh*ow] {
		db[i/(oh*ow)%s.K] += float64(v)
	}
	return db
}
