package atomicfile

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// Clean removes the temporary files of killed writers whose paths begin with
// prefix, and returns how many. A file that a living Write still writes, in this
// or another process, is left alone; so are all where the system cannot tell.
func Clean(prefix string) (n int, err error) {
	dir := filepath.Dir(prefix)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	var errs []error
	for _, e := range entries {
		name := e.Name()
		rest, ok := strings.CutPrefix(name, "."+filepath.Base(prefix))
		if !ok || !strings.Contains(rest, temporary) || !e.Type().IsRegular() {
			continue
		}
		path := filepath.Join(dir, name)
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			continue // gone, or not ours
		}
		if lock(f) {
			if err := os.Remove(path); err != nil {
				errs = append(errs, err)
			} else {
				n++
			}
		}
		f.Close()
	}
	return n, errors.Join(errs...)
}
