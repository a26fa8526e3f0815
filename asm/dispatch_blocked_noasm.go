//go:build !amd64 || noasm

package asm

func (k *BlockedKernel) row(r *BlockedRow, groups int, x []float32, off []int, w, y []float32) {
	k.rowGeneric(r, groups, x, off, w, y)
}

func (k *BlockedKernel) weights(r *BlockedRows, groups int, dy, x, dw []float32) {
	k.weightsGeneric(r, groups, dy, x, dw)
}
