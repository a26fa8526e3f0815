//go:build !amd64 || noasm

package asm

func (k *WinoKernel) rows(blocks, mr, groups int, a []float32, lda int, b, c []float32, ldc int, acc bool) {
	winoRowsGeneric(blocks*mr, groups, a, lda, b, c, ldc, acc)
}

func (k *WinoKernel) cols(blocks, mr, kc int, a, _, b, c []float32, ldc int, acc bool) {
	winoColsGeneric(blocks*mr, kc, a, b, c, ldc, acc)
}

func (k *WinoKernel) input(n int, x *WinoPixels, dst []float32, ldt, ldp int, _ bool) {
	winoPixelsGeneric(&winoBT, 6, n, x, dst, ldt, ldp, nil)
}

func (k *WinoKernel) gradient(n int, x *WinoPixels, dst []float32, ldt, ldp int, sums *[WinoLanes]float32, _ bool) {
	winoPixelsGeneric(&winoA, 4, n, x, dst, ldt, ldp, sums)
}

func (k *WinoKernel) filter(n int, src []float32, off, ldc, next int, dst []float32, ldt, ldp int) {
	winoFilterGeneric(n, src, off, ldc, next, dst, ldt, ldp)
}

func (k *WinoKernel) output(n int, src []float32, ldt, ldp int, bias *[WinoLanes]float32, low float32, y *WinoPixels, _ bool) {
	winoOutputGeneric(n, src, ldt, ldp, bias, low, y)
}

func (k *WinoKernel) weights(n int, src []float32, ldt, ldp int, dst []float32) {
	winoWeightsGeneric(n, src, ldt, ldp, dst)
}

func (k *WinoKernel) prefetch([]float32) {}
