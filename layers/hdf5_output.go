package layers

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"crema/hdf5"
	"crema/prototxt/caffepb"
	"crema/tensor"
)

func init() {
	Register(Type{
		Name:    "HDF5Output",
		New:     newHDF5Output,
		Bottoms: Exactly(2),
		Tops:    Exactly(0),
	})
}

// HDF5Output writes its bottoms to an HDF5 file (Caffe's hdf5_output_layer.cpp):
// the first as dataset "data", the second as "label", as many rows (first axis)
// in both, each with four axes, ones behind its own. Every pass appends its
// batch, where Caffe can make only one pass; the rows are kept in temporary files
// without names. When the net is closed the file appears, whole, in place of
// the one that was there; without a pass nothing changes. A run that is resumed
// begins a new file. Gradients of the bottoms are zero. Field of
// hdf5_output_param:
//
//	file_name  where to write
type HDF5Output struct {
	base
	path   string // claimed; "" for none
	w      *hdf5.RowWriter
	shapes [2][4]int
	failed bool
}

// outputs has the files that layers of this process are going to write: each
// must be one layer's alone.
var outputs struct {
	sync.Mutex
	layer map[string]string // by absolute path
}

func newHDF5Output(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &HDF5Output{base: newBase(p, ctx)}
	l.warnUnused("hdf5_output_param")
	return l, nil
}

// Setup checks that the file can be written, as far as can be seen.
func (l *HDF5Output) Setup(_, _ []*tensor.Blob) error {
	name := l.p.GetHdf5OutputParam().GetFileName()
	if name == "" {
		return errors.New("hdf5_output_param: file_name is not set")
	}
	path, err := filepath.Abs(l.ctx.Path(name))
	if err != nil {
		return fmt.Errorf("hdf5_output_param: file_name: %w", err)
	}
	if st, err := os.Stat(path); err == nil && st.IsDir() {
		return fmt.Errorf("hdf5_output_param: file_name: %q is a folder", name)
	}
	if st, err := os.Stat(filepath.Dir(path)); err != nil {
		return fmt.Errorf("hdf5_output_param: file_name: %q cannot be written: %w", name, err)
	} else if !st.IsDir() {
		return fmt.Errorf("hdf5_output_param: file_name: %q cannot be written: %s is not a folder", name, filepath.Dir(path))
	}
	outputs.Lock()
	defer outputs.Unlock()
	if other, taken := outputs.layer[path]; taken {
		return fmt.Errorf("hdf5_output_param: file_name: %q is already written by layer %q (of this net or of the one for the other phase): give each layer its own file, or the layer an include { phase: TEST }", name, other)
	}
	if outputs.layer == nil {
		outputs.layer = map[string]string{}
	}
	outputs.layer[path] = l.p.GetName()
	l.path = path
	l.w = hdf5.NewRowWriter(path)
	return nil
}

// Reshape checks the shapes of the bottoms.
func (l *HDF5Output) Reshape(bottom, _ []*tensor.Blob) error {
	for i, b := range bottom {
		if b.Axes() > 4 {
			return fmt.Errorf("bottom %q has shape %s: at most 4 axes can be written", l.p.Bottom[i], tensor.FormatShape(b.Shape()))
		}
		l.shapes[i] = [4]int{1, 1, 1, 1}
		copy(l.shapes[i][:], b.Shape())
	}
	if n, m := l.shapes[0][0], l.shapes[1][0]; n != m {
		return fmt.Errorf("its bottoms must have the same batch size, not %d (%q) and %d (%q)", n, l.p.Bottom[0], m, l.p.Bottom[1])
	}
	return nil
}

// Forward appends the bottoms to the file.
func (l *HDF5Output) Forward(bottom, _ []*tensor.Blob) error {
	for i, name := range [...]string{"data", "label"} {
		if err := l.w.Append(name, l.shapes[i][:], bottom[i].ReadData()); err != nil {
			l.failed = true
			return err
		}
	}
	return nil
}

// Backward sets the gradients to zero.
func (l *HDF5Output) Backward(_ []*tensor.Blob, propagateDown []bool, bottom []*tensor.Blob) error {
	for i, b := range bottom {
		if propagateDown[i] {
			clear(b.Diff())
		}
	}
	return nil
}

// Close writes the file, unless a pass failed.
func (l *HDF5Output) Close() error {
	if l.path == "" {
		return nil
	}
	defer func() {
		outputs.Lock()
		defer outputs.Unlock()
		delete(outputs.layer, l.path)
		l.path = ""
	}()
	rows := l.w.Rows("data")
	if l.failed || rows == 0 {
		return l.w.Discard()
	}
	l.ctx.Log.Info("Saving HDF5 file " + l.p.GetHdf5OutputParam().GetFileName())
	if err := l.w.Close(); err != nil {
		return fmt.Errorf("layer %q: %w", l.p.GetName(), err)
	}
	l.ctx.Log.Info(fmt.Sprintf("Successfully saved %d rows", rows))
	return nil
}
