//go:build !unix

package lmdb

import (
	"errors"
	"os"
)

// Elsewhere the file is read page by page.
func mapFile(*os.File, int) ([]byte, error) { return nil, errors.ErrUnsupported }

func unmapFile([]byte) error { return nil }
