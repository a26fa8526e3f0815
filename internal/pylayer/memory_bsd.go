//go:build unix && !linux

package pylayer

import "os"

func sharedFile() (*os.File, error) { return unnamedFile(os.TempDir()) }

func reserve(f *os.File, offset, size int64) error { return writeZeros(f, offset, size) }

func discard(_ *os.File, _ int64, mem []float32) { clear(mem) }
