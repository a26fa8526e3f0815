package watch

import (
	"fmt"
	"os"
	"sync"
)

// maxUnwritten is how much a file may lag behind when the disk does not keep
// up; what comes beyond it is lost.
const maxUnwritten = 16 << 20

// A file is a file that records are added to. Adding only appends to memory;
// another goroutine writes it out, so that a slow disk does not slow training.
// After a failed write the file ends with the last record that is whole, and
// nothing more is added.
type file struct {
	path string
	f    *os.File

	mu   sync.Mutex // guards what follows
	next []byte     // whole records to be written
	err  error

	writing sync.Mutex // held while writing; guards what follows
	free    []byte
	size    int64 // of what is written
}

// openFile opens the file at path to add to; it is made if it does not exist.
func openFile(path string) (*file, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &file{path: path, f: f, size: st.Size()}, nil
}

// add appends the record, or records, that appendTo appends to a slice.
func (f *file) add(appendTo func(b []byte) []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil && len(f.next) < maxUnwritten {
		f.next = appendTo(f.next)
	}
}

// flush writes what was added. It returns the error of a write that failed, and
// that only once.
func (f *file) flush() error {
	f.writing.Lock()
	defer f.writing.Unlock()
	f.mu.Lock()
	b := f.next
	f.next, f.free = f.free[:0], nil
	f.mu.Unlock()
	defer func() { f.free = b }()
	if len(b) == 0 {
		return nil
	}
	if _, err := f.f.WriteAt(b, f.size); err != nil {
		err = fmt.Errorf("%s ends here: %w", f.path, err)
		if terr := f.f.Truncate(f.size); terr != nil {
			err = fmt.Errorf("%w (and it may end with half a record: %w)", err, terr)
		}
		f.mu.Lock()
		f.err, f.next = err, nil
		f.mu.Unlock()
		return err
	}
	f.size += int64(len(b))
	return nil
}

// truncate drops what is behind offset, which must be where a record ends. All
// must have been flushed.
func (f *file) truncate(offset int64) error {
	f.writing.Lock()
	defer f.writing.Unlock()
	if err := f.f.Truncate(offset); err != nil {
		return err
	}
	f.size = offset
	return nil
}
