//go:build !amd64 || noasm

package asm

func exp(x, y []float32)     { expGeneric(x, y) }
func sigmoid(x, y []float32) { sigmoidGeneric(x, y) }
func tanh(x, y []float32)    { tanhGeneric(x, y) }
