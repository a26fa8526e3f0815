//go:build !amd64 || noasm

package asm

func (k *DirectKernel) pixels(r *DirectRow, filters int, x []float32, off []int, w, y []float32, ldy int) {
	k.pixelsGeneric(r, filters, x, off, w, y, ldy)
}

func (k *DirectKernel) lanes(r *DirectBand, blocks int, x []float32, off []int, w, y []float32) {
	k.lanesGeneric(r, blocks, x, off, w, y)
}

func (k *DirectKernel) weightsPixels(r *DirectRows, dy, x []float32, off []int, dw []float32) {
	k.weightsPixelsGeneric(r, dy, x, off, dw)
}

func (k *DirectKernel) weightsLanes(r *DirectRows, dy, x []float32, off []int, dw []float32) {
	k.weightsLanesGeneric(r, dy, x, off, dw)
}

func (k *DirectKernel) plane(r *DirectRow, rows int, x []float32, off []int, ldx int, w, y []float32, ldy int) {
	k.planeGeneric(r, rows, x, off, ldx, w, y, ldy)
}
