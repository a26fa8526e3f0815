// Package atomicfile writes files that appear whole or not at all: to a
// temporary name in the same folder, synced, then renamed, and the folder
// synced, so that neither a kill nor a power cut leaves half a file under the
// final name.
package atomicfile

import (
	"bufio"
	"io"
	"os"
	"path/filepath"
)

// temporary is in the names of the files while they are written.
const temporary = ".tmp"

// Write calls f with a buffered writer and moves what it wrote to path. If f
// or any step fails, path is as it was and no temporary file stays.
func Write(path string, f func(w io.Writer) error) (err error) {
	dir := filepath.Dir(path)
	t, err := os.CreateTemp(dir, "."+filepath.Base(path)+temporary+"*")
	if err != nil {
		return err
	}
	lock(t) // for Clean; until it is closed
	defer func() {
		if err != nil {
			t.Close()
			os.Remove(t.Name())
		}
	}()
	w := bufio.NewWriterSize(t, 1<<20)
	if err = f(w); err != nil {
		return err
	}
	if err = w.Flush(); err != nil {
		return err
	}
	if err = t.Chmod(0o644); err != nil {
		return err
	}
	if err = t.Sync(); err != nil {
		return err
	}
	if err = t.Close(); err != nil {
		return err
	}
	if err = os.Rename(t.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// WriteBytes is Write of a byte slice.
func WriteBytes(path string, b []byte) error {
	return Write(path, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
}

// syncDir makes a rename in dir durable. File systems that cannot sync a
// folder (some network ones) are not an error: the rename itself is done.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return nil
	}
	d.Sync()
	return d.Close()
}
