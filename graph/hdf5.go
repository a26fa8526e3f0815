package graph

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"crema/hdf5"
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

// buildHDF5 makes a .caffemodel.h5 file of all layers (Net::ToHDF5): a group
// for each in data, with the parameters that it owns, and with withDiff one in
// diff, with the gradients of all.
func (n *Net) buildHDF5(withDiff bool) (*hdf5.Builder, error) {
	b := &hdf5.Builder{}
	b.Group("data")
	if withDiff {
		b.Group("diff")
	}
	for _, l := range n.nodes {
		if l.added {
			continue
		}
		if err := n.addHDF5(b, "data", l); err != nil {
			return nil, err
		}
		if withDiff {
			if err := n.addHDF5(b, "diff", l); err != nil {
				return nil, err
			}
		}
	}
	return b, nil
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
		case l.owns(i):
			b.Floats(p.Shape(), p.Values(), at...)
		}
	}
	if len(names) > 1 {
		// Caffe's reader looks up what it finds in data among its layers.
		b.HardLink(group, in, l.Name)
	}
	return nil
}

// maxParams is more parameters than any layer has.
const maxParams = 1 << 10

// hdf5Source returns the layers of an open .caffemodel.h5 file
// (Net::CopyTrainedLayersFromHDF5), which is read when the blobs are. Errors
// name the file.
func hdf5Source(f *hdf5.File) (*weightsSource, error) {
	root, err := f.Root()
	if err != nil {
		return nil, err
	}
	data, err := root.Group("data")
	if errors.Is(err, hdf5.ErrNotFound) {
		return nil, fmt.Errorf("%q: not the weights of a net (.caffemodel.h5)%s: it has no group data; %s", f.Name(), hdf5Instead(root), root.Holds())
	} else if err != nil {
		return nil, err
	}
	src := &weightsSource{}
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
		if len(stored) == 0 && groups > 0 {
			return nil // but the beginning of names
		}
		l := sourceLayer{name: name, sparse: true}
		for i, d := range stored {
			if i >= maxParams {
				return fmt.Errorf("%q: layer %q has a parameter of number %d", f.Name(), name, i)
			}
			for len(l.blobs) <= i {
				l.blobs = append(l.blobs, sourceBlob{})
			}
			l.blobs[i] = sourceBlob{shape: d.Shape(), count: d.Count(), read: d.ReadFloats}
			if !d.IsNumber() {
				l.blobs[i].bad = fmt.Errorf("%s is of type %s, not numbers", d.Path(), d.Type())
			}
		}
		src.layers = append(src.layers, l)
		return nil
	})
	return src, err
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
		return " but a solver's state (resume from it with --snapshot)"
	case root.Has("data"):
		return " but looks like input of an HDF5Data layer"
	case root.Has("model_weights"):
		return " of Caffe but a model of Keras"
	}
	return ""
}
