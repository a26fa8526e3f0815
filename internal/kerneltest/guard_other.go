//go:build !linux

package kerneltest

import "testing"

// Guarded returns n zeros. On Linux they lie between protected pages.
func Guarded(_ testing.TB, n int, _ bool) []float32 { return make([]float32, n) }

func guarded(n int, _ bool) (s []float32, mem []byte, err error) {
	return make([]float32, n), nil, nil
}
