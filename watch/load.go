package watch

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"crema/internal/infile"
	"crema/internal/summary"
)

// Runs lists the runs that left files in a folder, the latest first.
func Runs(dir string) ([]RunInfo, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var runs []RunInfo
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		path := filepath.Join(dir, e.Name(), trainCSV)
		st, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		r := RunInfo{Name: e.Name(), Modified: st.ModTime()}
		if r.Iter, err = lastIteration(path); err != nil {
			return nil, err
		}
		runs = append(runs, r)
	}
	slices.SortStableFunc(runs, func(a, b RunInfo) int { return b.Modified.Compare(a.Modified) })
	return runs, nil
}

// lastIteration returns the number in the last row of a table without reading
// the whole; -1 if it has no rows.
func lastIteration(path string) (int, error) {
	f, err := infile.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	end, err := lastLine(f, st.Size())
	if err != nil || end == 0 {
		return -1, err
	}
	begin, err := lastLine(f, end-1)
	if err != nil {
		return 0, err
	}
	b := make([]byte, min(end-begin, 24))
	if _, err := f.ReadAt(b, begin); err != nil {
		return 0, err
	}
	iter := -1
	if begin > 0 {
		if _, err := fmt.Sscanf(string(b), "%d,", &iter); err != nil {
			return 0, fmt.Errorf("%s: its last row does not begin with an iteration", path)
		}
	}
	return iter, nil
}

// LoadRun reads what a run wrote in its folder: its course, thinned as that of
// a run that goes on, and a State with what the tables tell. Its Layers have
// the RMS values only. A run that is being written may be read.
func LoadRun(dir string) (*Series, *State, error) {
	r := &Recorder{apart: 1}
	r.state = State{Run: filepath.Base(dir), Dir: dir, Status: StatusStopped, Loss: nan, Smoothed: nan, Remaining: nan}
	if err := r.load(dir); err != nil {
		return nil, nil, err
	}
	for _, c := range []struct {
		name string
		to   *string
	}{{solverFile, &r.state.Config}, {netFile, &r.state.NetConfig}} {
		b, err := os.ReadFile(filepath.Join(dir, c.name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, nil, err
		}
		*c.to = string(b)
	}
	s := r.Series(-1)
	s.Revision = 0
	return s, r.State(), nil
}

// load takes in the tables in dir.
func (r *Recorder) load(dir string) error {
	st := &r.state
	err := readTable(filepath.Join(dir, trainCSV), columns[trainCSV], func(t *tableRow) bool {
		x := row{iter: t.iter, loss: t.number(1), smoothed: t.number(2), rate: t.number(3), seconds: t.float(4, 64), images: t.number(5), waits: t.number(6)}
		r.course.add(x)
		st.Iter = t.iter + 1
		st.Loss, st.Smoothed, st.Rate = Number(x.loss), Number(x.smoothed), Number(x.rate)
		st.Elapsed, st.ImagesPerSecond, st.WaitShare = Number(x.seconds), Number(x.images), Number(x.waits)
		return true
	}, nil)
	if err != nil {
		return err
	}
	err = readTable(filepath.Join(dir, testCSV), columns[testCSV], func(t *tableRow) bool {
		net, v := int(t.number(1)), NamedNumber{Name: t.fields[2], Value: Number(t.number(3))}
		r.testCourse(net, v.Name).add(t.iter, float64(v.Value))
		i := slices.IndexFunc(st.Tests, func(o Test) bool { return o.Net == net })
		if i < 0 {
			st.Tests, i = append(st.Tests, Test{Net: net, Iter: t.iter}), len(st.Tests)
		}
		if last := &st.Tests[i]; last.Iter == t.iter {
			last.Values = append(last.Values, v)
		} else {
			*last = Test{Net: net, Iter: t.iter, Values: []NamedNumber{v}}
		}
		return true
	}, nil)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	slices.SortFunc(st.Tests, func(a, b Test) int { return cmp.Compare(a.Net, b.Net) })

	var s sample
	add := func() {
		if len(s.layers) > 0 && (len(r.samples) == 0 || sameLayers(s.layers, r.samples[0].layers)) {
			r.addSample(s)
			st.Layers, st.SampledAt = s.layers, s.iter
		}
	}
	err = readTable(filepath.Join(dir, layersCSV), columns[layersCSV], func(t *tableRow) bool {
		if t.iter != s.iter {
			add()
			s = sample{iter: t.iter}
		}
		s.layers = append(s.layers, t.layer())
		return true
	}, nil)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	add()
	return nil
}

// layer returns the layer that a row of layers.csv describes.
func (t *tableRow) layer() Layer {
	l := Layer{Name: t.fields[1], Type: t.fields[2], Ratio: Number(t.number(11)), Forward: Number(t.number(12)), Backward: Number(t.number(13))}
	if t.fields[4] != "" {
		l.Activation = &summary.Summary{Mean: t.number(3), RMS: t.number(4), Min: t.number(5), Max: t.number(6), Zero: t.number(7)}
	}
	for i, s := range []**summary.Summary{&l.Gradient, &l.Weight, &l.Update} {
		if t.fields[8+i] != "" {
			*s = &summary.Summary{RMS: t.number(8 + i)}
		}
	}
	return l
}
