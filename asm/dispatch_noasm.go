//go:build !amd64 || noasm

package asm

// haveAsm says whether this build has assembly kernels.
const haveAsm = false

func (k *Kernel) tile(mr, nr, kc int, alpha float32, a, b, c []float32, ldc int, acc bool) {
	sgemmGeneric(mr, nr, kc, alpha, a, b, c, ldc, acc)
}

func (k *Kernel) tilePackA(mr, kc int, alpha float32, a []float32, lda int, ap, b, c []float32, ldc int, acc bool) bool {
	return false
}

func (k *Kernel) tilePackB(mr, kc int, alpha float32, a, b []float32, ldb int, bp, c []float32, ldc int, acc bool) bool {
	return false
}

// tileRows is not called: no kernel has a lowest tile.
func (k *Kernel) tileRows(mr, nr, kc int, alpha float32, a, next []float32, lda int, b, c []float32, ldc int, acc bool) {
}

func packRows(n, width, lo, hi int, src []float32, off, lds int, dst []float32, ldd int) {
	packRowsGeneric(n, width, lo, hi, src, off, lds, dst, ldd)
}

func transpose(rows, cols int, src []float32, lds int, dst []float32, ldd int) {
	transposeGeneric(rows, cols, src, lds, dst, ldd)
}

func axpy(alpha float32, x, y []float32)              { axpyGeneric(alpha, x, y) }
func add(x, y []float32)                              { addGeneric(x, y) }
func scal(alpha float32, x []float32)                 { scalGeneric(alpha, x) }
func addScalar(alpha float32, x []float32)            { addScalarGeneric(alpha, x) }
func relu(slope float32, x, y []float32)              { reluGeneric(slope, x, y) }
func reluBackward(slope float32, x, dy, dx []float32) { reluBackwardGeneric(slope, x, dy, dx) }
func dot(x, y []float32, s *[lanes]float32)           { dotGeneric(x, y, s) }
func sumsq(x []float32, s *[lanes]float32)            { sumsqGeneric(x, s) }
func sum(x []float32, s *[lanes]float32)              { sumGeneric(x, s) }
func asum(x []float32, s *[lanes]float32)             { asumGeneric(x, s) }

func sgd(lr, decay, momentum float32, g, h, w []float32) {
	sgdGeneric(lr, decay, momentum, g, h, w)
}

func dotRows(m, k int, x []float32, step int, w []float32, ldw int, _ []float32, out *[4 * MaxDotRows]float32) {
	dotRowsGeneric(m, k, x, step, w, ldw, out)
}

func rank4(m, n int, a, b []float32, ldb int, _, c []float32, ldc int) {
	rank4Generic(m, n, a, b, ldb, c, ldc)
}
