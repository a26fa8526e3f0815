//go:build !amd64 || noasm

package asm

func exp(x, y []float32) { expGeneric(x, y) }
