package graph

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"crema/hdf5"
	"crema/internal/atomicfile"
	"crema/internal/glog"
	"crema/tensor"
)

// isHDF5Name reports whether a path is of those whose files are HDF5 when they
// are written; what is read is told by its first bytes.
func isHDF5Name(path string) bool { return strings.HasSuffix(path, ".h5") }

// hdf5Path returns the names of the groups, below data and diff, that a layer's
// parameters are in: HDF5 takes a '/' in a layer's name for the end of a group's.
func hdf5Path(layer string) ([]string, error) {
	path := strings.Split(layer, "/")
	for _, name := range path {
		if name == "" || name == "." || strings.Contains(name, "\x00") {
			return nil, fmt.Errorf("layer %q: a file in the HDF5 format cannot have this name; rename the layer or use the binary format (snapshot_format: BINARYPROTO)", layer)
		}
	}
	return path, nil
}

// CheckHDF5 reports whether the net's weights can be written as HDF5, and what
// a user should know of the result, if anything.
func (n *Net) CheckHDF5() (warning string, err error) {
	seen := map[string]*Node{}
	for _, l := range n.nodes {
		if l.added {
			continue
		}
		if _, err := hdf5Path(l.Name); err != nil {
			return "", err
		}
		if seen[l.Name] != nil {
			return "", fmt.Errorf("two layers have the name %q: a file in the HDF5 format cannot hold both; rename one or use the binary format (snapshot_format: BINARYPROTO)", l.Name)
		}
		seen[l.Name] = l
	}
	var within []string
	for _, l := range n.nodes {
		if l.added {
			continue
		}
		for i, c := range l.Name {
			if c != '/' {
				continue
			}
			above := seen[l.Name[:i]]
			if above == nil {
				continue
			}
			if number, err := strconv.Atoi(l.Name[i+1:]); err == nil && number >= 0 && number < len(above.Layer.Params()) {
				return "", fmt.Errorf("layers %q and %q: in the HDF5 format the second is where a parameter of the first is; rename one or use the binary format (snapshot_format: BINARYPROTO)", above.Name, l.Name)
			}
			within = append(within, fmt.Sprintf("%q and %q", above.Name, l.Name))
		}
	}
	if len(within) > 0 {
		warning = fmt.Sprintf("Caffe cannot load the HDF5 snapshots of this net, crema can: HDF5 puts a layer into the group of another whose name it begins with (%s; %d such pairs)", within[0], len(within))
	}
	return warning, nil
}

// saveHDF5 writes all layers to a .caffemodel.h5 file (Net::ToHDF5): a group
// for each in data, with the parameters that it owns, and with withDiff one in
// diff, with the gradients of all.
func (n *Net) saveHDF5(path string, withDiff bool) error {
	var b hdf5.Builder
	b.Group("data")
	if withDiff {
		b.Group("diff")
	}
	for _, l := range n.nodes {
		if l.added {
			continue
		}
		if err := n.addHDF5(&b, "data", l); err != nil {
			return err
		}
		if withDiff {
			if err := n.addHDF5(&b, "diff", l); err != nil {
				return err
			}
		}
	}
	return atomicfile.Write(path, func(w io.Writer) error {
		_, err := b.WriteTo(w)
		return err
	})
}

// addHDF5 adds the group of a layer in data or diff.
func (n *Net) addHDF5(b *hdf5.Builder, in string, l *Node) error {
	names, err := hdf5Path(l.Name)
	if err != nil {
		return err
	}
	group := append([]string{in}, names...)
	b.Group(group...)
	for i, p := range l.Layer.Params() {
		at := append(slices.Clone(group), strconv.Itoa(i))
		switch {
		case in == "diff":
			b.Floats(p.Shape(), p.Gradients(), at...)
		case n.owns(l, i):
			b.Floats(p.Shape(), p.Values(), at...)
		}
	}
	if len(names) > 1 {
		// Caffe's reader looks up what it finds in data among its layers.
		b.HardLink(group, in, l.Name)
	}
	return nil
}

// owns reports whether parameter i of a layer is its own, not one that it
// shares by name with a layer before it.
func (n *Net) owns(l *Node, i int) bool {
	return slices.ContainsFunc(n.params, func(p *Param) bool { return p.Owner == l && p.Index == i })
}

// loadHDF5 copies the parameters of a .caffemodel.h5 file into the layers of
// the same names (Net::CopyTrainedLayersFromHDF5), straight into their places.
// Nothing was copied if a number or shape of parameters is wrong; where values
// cannot be read some may be.
func (n *Net) loadHDF5(path string) error {
	f, err := hdf5.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	root, err := f.Root()
	if err != nil {
		return err
	}
	data, err := root.Group("data")
	if errors.Is(err, hdf5.ErrNotFound) {
		return fmt.Errorf("not the weights of a net%s: %w", hdf5Instead(root), err)
	} else if err != nil {
		return err
	}
	type copying struct {
		dst *tensor.Blob
		src *hdf5.Dataset
	}
	var todo []copying
	seen := map[string]bool{}
	err = data.Walk(func(o hdf5.Node) error {
		g, ok := o.(*hdf5.Group)
		if !ok {
			return nil
		}
		name := strings.TrimPrefix(g.Path(), data.Path()+"/")
		if seen[name] {
			return nil // the second link to a layer with a '/' in its name
		}
		seen[name] = true
		stored, groups, err := storedParams(g)
		if err != nil {
			return err
		}
		l := n.node(name)
		if l == nil {
			if len(stored) > 0 || groups == 0 { // else it is but the beginning of names
				glog.Infof(n.log, "Ignoring source layer %s", name)
			}
			return nil
		}
		params := l.Layer.Params()
		if len(stored) > len(params) {
			return fmt.Errorf("%q: layer %q has %d parameters, in the file %d", path, name, len(params), len(stored))
		}
		for i, p := range params {
			d := stored[i]
			if d == nil {
				if !n.owns(l, i) {
					continue
				}
				return fmt.Errorf("%q: layer %q has %d parameters, in the file it has %d and none of the name %q", path, name, len(params), len(stored), strconv.Itoa(i))
			}
			if !slices.Equal(d.Shape(), p.Shape()) {
				return fmt.Errorf("%q: %w", path, shapeMismatch(l, i, d.Shape()))
			}
			if !d.IsNumber() {
				return fmt.Errorf("%q: %s is of type %s, not numbers", path, d.Path(), d.Type())
			}
			todo = append(todo, copying{p, d})
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, c := range todo {
		if err := c.src.ReadFloats(c.dst.Data()); err != nil {
			return err
		}
	}
	return nil
}

// storedParams returns the parameters in a layer's group, by their numbers, and
// how many groups there are beside them: of layers whose names go on.
func storedParams(g *hdf5.Group) (params map[int]*hdf5.Dataset, groups int, err error) {
	params = map[int]*hdf5.Dataset{}
	for _, name := range g.Names() {
		o, err := g.Child(name)
		if err != nil {
			return nil, 0, err
		}
		d, ok := o.(*hdf5.Dataset)
		if !ok {
			groups++
			continue
		}
		// The decimal number and nothing else, as Caffe looks for it.
		if i, err := strconv.Atoi(name); err == nil && strconv.Itoa(i) == name {
			params[i] = d
		}
	}
	return params, groups, nil
}

// hdf5Instead says what an HDF5 file without weights is, if that can be told.
func hdf5Instead(root *hdf5.Group) string {
	switch {
	case root.Has("iter") && root.Has("history"):
		return " but a solver's state (.solverstate.h5): resume from it with --snapshot"
	case root.Has("data"):
		return " but looks like input of an HDF5Data layer"
	case root.Has("model_weights"):
		return " of Caffe but those of Keras"
	}
	return ""
}
