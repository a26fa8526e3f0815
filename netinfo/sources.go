package netinfo

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"crema/data"
	"crema/graph"
	"crema/hdf5"
	"crema/internal/infile"
	"crema/prototxt/caffepb"
	"crema/tensor"

	"google.golang.org/protobuf/proto"
)

// SourceOptions say where shapes of inputs come from.
type SourceOptions struct {
	// Shapes are those of blobs that layers without bottoms make, by the blob's
	// name; they go before what the files say.
	Shapes map[string][]int
	// ResolvePath maps paths of the prototxt to paths that can be opened; nil
	// leaves them as they are.
	ResolvePath func(string) string
	// Dir is the folder of the prototxt, as in graph.Options.
	Dir string
}

// Sources returns np with the layers that read data replaced by Input layers
// that make blobs of the same shapes, so that the net can be built where the
// data are not. Only layers of the state np.State count. The shape is that of
// the first record; where there is none to be read, it is told from crop_size,
// the mean and the number of channels that the layer asks for. What was assumed
// so is said in notes.
//
// An error about a layer is a *graph.LayerError.
func Sources(np *caffepb.NetParameter, o SourceOptions) (replaced *caffepb.NetParameter, notes []string, err error) {
	replaced, _, notes, err = withInputs(np, o)
	return replaced, notes, err
}

// withInputs is Sources; it also returns the types of the layers it replaced, by
// name.
func withInputs(np *caffepb.NetParameter, o SourceOptions) (replaced *caffepb.NetParameter, types map[string]string, notes []string, err error) {
	kept, index, err := graph.Select(np)
	if err != nil {
		return nil, nil, nil, err
	}
	if o.ResolvePath == nil {
		o.ResolvePath = func(p string) string { return p }
	}
	replaced, types = proto.CloneOf(np), map[string]string{}
	unused := maps.Clone(o.Shapes)
	for i, l := range kept {
		if len(l.Bottom) > 0 {
			continue
		}
		shapes, note, err := sourceShapes(l, &o)
		if err != nil {
			return nil, nil, nil, &graph.LayerError{Index: index[i], Layer: l.GetName(), Type: l.GetType(), Err: err}
		}
		given := false
		for j, top := range l.Top {
			if s, ok := o.Shapes[top]; ok {
				delete(unused, top)
				for len(shapes) <= j {
					shapes = append(shapes, nil)
				}
				shapes[j], given = s, true
			}
		}
		if shapes == nil || l.GetType() == "Input" && !given {
			continue
		}
		if note != "" {
			notes = append(notes, fmt.Sprintf("layer %q: %s", l.GetName(), note))
		}
		replaced.Layer[index[i]] = inputLayer(l, shapes)
		types[l.GetName()] = l.GetType()
	}
	if len(unused) > 0 {
		name := slices.Min(slices.Collect(maps.Keys(unused)))
		return nil, nil, nil, fmt.Errorf("a shape is given for blob %q, which no layer without bottoms makes", name)
	}
	return replaced, types, notes, nil
}

// inputLayer returns an Input layer in place of l.
func inputLayer(l *caffepb.LayerParameter, shapes [][]int) *caffepb.LayerParameter {
	in := &caffepb.LayerParameter{Name: l.Name, Type: proto.String("Input"), Top: l.Top, Include: l.Include, Exclude: l.Exclude, Phase: l.Phase,
		InputParam: &caffepb.InputParameter{}}
	for _, s := range shapes {
		b := &caffepb.BlobShape{}
		for _, d := range s {
			b.Dim = append(b.Dim, int64(d))
		}
		in.InputParam.Shape = append(in.InputParam.Shape, b)
	}
	return in
}

// sourceShapes returns the shapes of the tops of a layer without bottoms; none
// for a layer that needs no replacement.
func sourceShapes(l *caffepb.LayerParameter, o *SourceOptions) (shapes [][]int, note string, err error) {
	allGiven := len(l.Top) > 0
	for _, t := range l.Top {
		allGiven = allGiven && o.Shapes[t] != nil
	}
	if allGiven {
		return make([][]int, len(l.Top)), "", nil
	}
	switch l.GetType() {
	case "Input":
		for i := range l.Top {
			var dims []int
			if s := l.GetInputParam().GetShape(); len(s) > 0 {
				for _, d := range s[min(i, len(s)-1)].GetDim() {
					dims = append(dims, int(d))
				}
			}
			shapes = append(shapes, dims)
		}
		return shapes, "", nil
	case "Data", "ImageData", "WindowData":
		s, note, err := pictureShape(l, o)
		if err != nil {
			return nil, "", err
		}
		// What is behind the picture are labels, one for each.
		return [][]int{s, s[:1]}[:min(2, len(l.Top))], note, nil
	case "HDF5Data":
		shapes, err := hdf5Shapes(l, o.ResolvePath)
		if err != nil {
			return nil, "", errNotHere(l, l.GetHdf5DataParam().GetBatchSize(), err)
		}
		return shapes, "", nil
	}
	return nil, "", nil
}

// hdf5Shapes returns the shapes of the batches of an HDF5Data layer: batch_size
// rows of the datasets that its tops are named after, in the first file of its
// list.
func hdf5Shapes(l *caffepb.LayerParameter, resolve func(string) string) ([][]int, error) {
	batch := l.GetHdf5DataParam().GetBatchSize()
	if batch == 0 || int64(batch) > tensor.MaxCount {
		return nil, fmt.Errorf("batch_size must be positive, not %d", batch)
	}
	list := resolve(l.GetHdf5DataParam().GetSource())
	b, err := infile.ReadFile(list)
	if err != nil {
		return nil, err
	}
	names := strings.Fields(string(b))
	if len(names) == 0 {
		return nil, fmt.Errorf("%s: the list is empty", list)
	}
	f, err := hdf5.Open(resolve(names[0]))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	root, err := f.Root()
	if err != nil {
		return nil, err
	}
	var shapes [][]int
	for _, top := range l.Top {
		d, err := root.Dataset(top)
		if err != nil {
			return nil, err
		}
		s := d.Shape()
		if len(s) == 0 {
			return nil, fmt.Errorf("%s: dataset %s has no rows", f.Name(), top)
		}
		s[0] = int(batch)
		shapes = append(shapes, s)
	}
	return shapes, nil
}

// errNotHere says how to give a shape that cannot be read.
func errNotHere(l *caffepb.LayerParameter, batch uint32, cause error) error {
	var flags []string
	for i, t := range l.Top {
		shape := fmt.Sprintf("%dx3x224x224", batch)
		if i > 0 {
			shape = fmt.Sprint(batch)
		}
		flags = append(flags, "-shape "+t+"="+shape)
	}
	return fmt.Errorf("the shape of its data is not known (%w): give it, such as %s", cause, strings.Join(flags, " "))
}

// A picture is what is known of the records of a data layer; 0 is unknown.
type picture struct{ c, h, w int }

// pictureShape returns the shape of the batches of pictures that a layer gives.
func pictureShape(l *caffepb.LayerParameter, o *SourceOptions) (shape []int, note string, err error) {
	var batch uint32
	var p picture
	t := l.GetTransformParam()
	var source string
	switch l.GetType() {
	case "Data":
		dp := l.GetDataParam()
		batch, source = dp.GetBatchSize(), dp.GetSource()
		mode := data.Native
		switch {
		case dp.GetForceEncodedColor() || t.GetForceColor():
			mode = data.Color
		case t.GetForceGray():
			mode = data.Gray
		}
		p, err = firstRecord(o.ResolvePath(source), dp.GetBackend(), mode)
	case "ImageData":
		ip := l.GetImageDataParam()
		batch, source = ip.GetBatchSize(), ip.GetSource()
		p.c = 1
		if ip.GetIsColor() {
			p.c = 3
		}
		if p.h, p.w = int(ip.GetNewHeight()), int(ip.GetNewWidth()); p.h == 0 && t.GetCropSize() == 0 {
			p.h, p.w, err = firstListed(source, ip.GetRootFolder(), o.ResolvePath)
		}
	case "WindowData":
		batch, source, p.c = l.GetWindowDataParam().GetBatchSize(), l.GetWindowDataParam().GetSource(), 3
	}
	if batch == 0 || int64(batch) > tensor.MaxCount {
		return nil, "", fmt.Errorf("batch_size must be positive, not %d", batch)
	}
	if p.h == 0 {
		// All records are as large as their mean.
		if m := meanSize(t, o); m.h > 0 {
			if p.c == 0 {
				p.c = m.c
			}
			p.h, p.w, err = m.h, m.w, nil
		}
	}
	if crop := int(t.GetCropSize()); crop > 0 {
		if p.c == 0 {
			p.c = guessChannels(t)
			note = fmt.Sprintf("assumed pictures of %d channels: its source %s cannot be read (%v)", p.c, source, infile.Cause(err))
		}
		p.h, p.w, err = crop, crop, nil
	}
	if err == nil && p.h == 0 {
		err = errors.New("no crop_size is given")
	}
	if err != nil {
		return nil, "", errNotHere(l, batch, err)
	}
	return []int{int(batch), p.c, p.h, p.w}, note, nil
}

// guessChannels returns as many channels as there are mean values, or 3.
func guessChannels(t *caffepb.TransformationParameter) int {
	if t.GetForceGray() {
		return 1
	}
	if n := len(t.GetMeanValue()); n > 1 {
		return n
	}
	return 3
}

// meanSize returns the size of the mean picture, if it can be read.
func meanSize(t *caffepb.TransformationParameter, o *SourceOptions) picture {
	if t.GetMeanFile() == "" {
		return picture{}
	}
	m, err := graph.ReadBlobFile(o.ResolvePath(t.GetMeanFile()))
	if err != nil || m.Axes() != 4 {
		return picture{}
	}
	return picture{m.Dim(1), m.Dim(2), m.Dim(3)}
}

// firstRecord returns the size of the first picture of a database.
func firstRecord(path string, backend data.Backend, mode data.ColorMode) (picture, error) {
	db, err := data.OpenDB(path, backend)
	if err != nil {
		return picture{}, err
	}
	defer db.Close()
	cur := db.Cursor()
	defer cur.Close()
	_, value, err := cur.First()
	if err != nil {
		return picture{}, fmt.Errorf("%s: no record can be read: %w", path, err)
	}
	d, err := data.InspectDatum(value, mode)
	if err != nil {
		return picture{}, fmt.Errorf("%s: %w", path, err)
	}
	return picture{d.C, d.H, d.W}, nil
}

// firstListed returns the size of the first picture of a list of files.
func firstListed(list, root string, resolve func(string) string) (h, w int, err error) {
	list = resolve(list)
	files, err := data.ReadList(list)
	if err != nil {
		return 0, 0, err
	}
	if len(files) == 0 {
		return 0, 0, fmt.Errorf("%s: the list is empty", list)
	}
	name := resolve(root + files[0].Name)
	b, err := infile.ReadFile(name)
	if err != nil {
		return 0, 0, err
	}
	var im data.Image
	if err := data.DecodeImage(b, data.Native, &im); err != nil {
		return 0, 0, fmt.Errorf("%s: %w", name, err)
	}
	return im.H, im.W, nil
}
