package watch

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"crema/internal/atomicfile"
	"crema/internal/glog"
	"crema/watch/tfevents"
)

// The configuration's files in a run's folder.
const (
	solverFile = "solver.prototxt"
	netFile    = "net.prototxt"
)

// flushEvery is how long records stay in memory at most, but for a disk that
// does not keep up.
const flushEvery = 500 * time.Millisecond

// files are the files of a run that grow, and the goroutine that writes them.
type files struct {
	log                         *slog.Logger
	train, test, layers, events *file
	all                         []*file
	quit                        chan struct{}
	done                        sync.WaitGroup
}

// openFiles opens the files of the run in dir, which is made if it does not
// exist, and writes the configuration there. A run that begins at iteration iter
// drops what was written of that and later ones; if it begins at 0, there must
// be no run yet.
func openFiles(dir string, iter int, config, net string, log *slog.Logger) (_ *files, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if iter == 0 {
		path := filepath.Join(dir, trainCSV)
		switch last, err := lastIteration(path); {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, err
		case last >= 0:
			return nil, fmt.Errorf("%s: %w: it is of an earlier run of this name; resume that one, or give this one another name", path, fs.ErrExist)
		}
	}
	for name, text := range map[string]string{solverFile: config, netFile: net} {
		if err := atomicfile.WriteBytes(filepath.Join(dir, name), []byte(text)); err != nil {
			return nil, err
		}
	}
	f := &files{log: log, quit: make(chan struct{})}
	defer func() {
		if err != nil {
			for _, x := range f.all {
				x.f.Close()
			}
		}
	}()
	for _, c := range []struct {
		name string
		to   **file
	}{{trainCSV, &f.train}, {testCSV, &f.test}, {layersCSV, &f.layers}} {
		if *c.to, err = openTable(filepath.Join(dir, c.name), iter); err != nil {
			return nil, err
		}
		f.all = append(f.all, *c.to)
	}
	now := time.Now()
	if f.events, err = openFile(filepath.Join(dir, tfevents.FileName(now))); err != nil {
		return nil, err
	}
	f.all = append(f.all, f.events)
	if f.events.size == 0 {
		f.events.add(func(b []byte) []byte { return tfevents.AppendHeader(b, now) })
	}
	if iter > 0 || f.events.size > 0 {
		f.events.add(func(b []byte) []byte { return tfevents.AppendRestart(b, now, int64(iter)) })
	}
	f.done.Go(f.write)
	return f, nil
}

// addSample adds a sample of the layers to table and event file.
func (f *files) addSample(s *sample, now time.Time) {
	f.layers.add(s.appendCSV)
	f.addLayers(s, now)
}

// names returns the files' names.
func (f *files) names() []string {
	var names []string
	for _, x := range f.all {
		names = append(names, filepath.Base(x.path))
	}
	return append(names, solverFile, netFile)
}

// write writes out what is added, until close.
func (f *files) write() {
	t := time.NewTicker(flushEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			f.flush()
		case <-f.quit:
			return
		}
	}
}

// flush writes everything out. A file that fails is named in the log, once, and
// goes on in memory only.
func (f *files) flush() {
	for _, x := range f.all {
		if err := x.flush(); err != nil {
			f.report(err)
		}
	}
}

func (f *files) report(err error) {
	glog.Errorf(f.log, "Training goes on, but a file of its record cannot be written: %v", err)
}

// cut drops what the files have of iteration iter and later.
func (f *files) cut(iter int) {
	f.flush()
	for _, x := range []*file{f.train, f.test, f.layers} {
		end, err := tableEnd(x.path, columns[filepath.Base(x.path)], iter)
		if err == nil {
			err = x.truncate(end)
		}
		if err != nil {
			f.report(err)
		}
	}
	f.events.add(func(b []byte) []byte { return tfevents.AppendRestart(b, time.Now(), int64(iter)) })
}

// close writes everything out and closes the files.
func (f *files) close() error {
	close(f.quit)
	f.done.Wait()
	f.flush()
	var errs []error
	for _, x := range f.all {
		errs = append(errs, x.f.Close())
	}
	return errors.Join(errs...)
}
