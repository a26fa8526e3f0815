//go:build !amd64 || noasm

package asm

func (k *WinoKernel) rows(blocks, mr, groups int, a []float32, lda int, b, c []float32, ldc int, acc bool) {
	winoRowsGeneric(blocks*mr, groups, a, lda, b, c, ldc, acc)
}

func (k *WinoKernel) cols(blocks, mr, kc int, a, b, c []float32, ldc int, acc bool) {
	winoColsGeneric(blocks*mr, kc, a, b, c, ldc, acc)
}

func (k *WinoKernel) input(n int, src []float32, lds int, dst []float32, ldt, ldp int, _ bool) {
	winoExpand(&winoBT, 6, n, src, 0, lds, WinoLanes, 4*WinoLanes, dst, ldt, ldp)
}

func (k *WinoKernel) gradient(n int, src []float32, lds int, dst []float32, ldt, ldp int, _ bool) {
	winoExpand(&winoA, 4, n, src, 0, lds, WinoLanes, 4*WinoLanes, dst, ldt, ldp)
}

func (k *WinoKernel) filter(n int, src []float32, off, ldc, next int, dst []float32, ldt, ldp int) {
	winoExpand(&winoG, 3, n, src, off, 3*ldc, ldc, next, dst, ldt, ldp)
}

func (k *WinoKernel) output(n int, src []float32, ldt, ldp int, bias *[WinoLanes]float32, low float32, dst []float32, ldd int, _ bool) {
	winoReduce(&winoA, 4, n, src, ldt, ldp, bias, low, dst, ldd, 4*WinoLanes)
}

func (k *WinoKernel) weights(n int, src []float32, ldt, ldp int, dst []float32) {
	winoReduce(&winoG, 3, n, src, ldt, ldp, nil, negInf, dst, 3*WinoLanes, 9*WinoLanes)
}

func (k *WinoKernel) sums(n int, src []float32, dst *[WinoLanes]float32) {
	winoSumsGeneric(n, src, dst)
}

func (k *WinoKernel) prefetch([]float32) {}
