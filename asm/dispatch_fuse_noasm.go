//go:build !amd64 || noasm

package asm

func sgdOuter(u *outerStep, n int, a, x []float32, ldx int, h, w []float32, ldw int) {
	sgdOuterGeneric(u, n, a, x, ldx, h, w, ldw)
}
