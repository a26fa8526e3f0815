//go:build !amd64 || noasm

package asm

func maxPool(at, width int, x0, x1, y []float32, mask []int32) {
	maxPoolGeneric(at, width, x0, x1, y, mask)
}

func maxPoolBackward(at, width int, dy []float32, mask []int32, dx0, dx1 []float32) {
	maxPoolBackwardGeneric(at, width, dy, mask, dx0, dx1)
}
