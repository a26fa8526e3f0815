//go:build !amd64 || noasm

package kerneltest

// PeakLoop returns no loop: there is none for this machine or build.
func PeakLoop(string) (loop func(n int), flops float64) { return nil, 0 }
