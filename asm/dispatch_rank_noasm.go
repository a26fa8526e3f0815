//go:build !amd64 || noasm

package asm

// rank8 reports whether it did the work.
func rank8(m, n int, a, b []float32, ldb int, next, c []float32, ldc int) bool { return false }
