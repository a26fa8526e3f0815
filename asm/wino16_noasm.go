//go:build !amd64 || noasm

package asm

func (k *WinoKernel) rows(mr, kc int, a []float32, lda int, b, c []float32, ldc int, acc bool) {
	winoTileGeneric(mr, kc, winoBlock, a, lda, 1, b, c, ldc, acc)
}

func (k *WinoKernel) cols(mr, kc int, a, b, c []float32, ldc int, acc bool) {
	winoTileGeneric(mr, kc, kc, a, 1, k.NR, b, c, ldc, acc)
}

func (k *WinoKernel) input(n int, src []float32, lds int, dst []float32, ldt, ldp int) {
	winoExpand(&winoBT, 6, n, src, 0, lds, WinoLanes, 4*WinoLanes, dst, ldt, ldp)
}

func (k *WinoKernel) gradient(n int, src []float32, lds int, dst []float32, ldt, ldp int) {
	winoExpand(&winoA, 4, n, src, 0, lds, WinoLanes, 4*WinoLanes, dst, ldt, ldp)
}

func (k *WinoKernel) filter(n int, src []float32, off, ldc, next int, dst []float32, ldt, ldp int) {
	winoExpand(&winoG, 3, n, src, off, 3*ldc, ldc, next, dst, ldt, ldp)
}

func (k *WinoKernel) output(n int, src []float32, ldt, ldp int, bias *[WinoLanes]float32, dst []float32, ldd int) {
	winoReduce(&winoA, 4, n, src, ldt, ldp, bias, dst, ldd, 4*WinoLanes)
}

func (k *WinoKernel) weights(n int, src []float32, ldt, ldp int, dst []float32) {
	winoReduce(&winoG, 3, n, src, ldt, ldp, nil, dst, 3*WinoLanes, 9*WinoLanes)
}
