package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"google.golang.org/protobuf/proto"

	"crema/graph"
	"crema/layers"
	"crema/netinfo"
	"crema/prototxt/caffepb"
)

// inferShapes works out the shapes of the net's blobs, as far as the files and
// the data sources tell. Each layer is built alone, without values, behind
// inputs of the shapes that its bottoms have, so every registered type is known
// by itself. What the layer refuses is kept for the rule net-refused.
func (c *Case) inferShapes(n *Net) {
	for _, l := range n.layers {
		l.params, l.refused, l.unread = nil, nil, nil
		shapes := c.shapes(l)
		for i, t := range l.tops {
			t.shape = nil
			if i < len(shapes) {
				t.shape = shapes[i]
			}
		}
	}
}

// shapes returns the shapes of l's tops, fewer if they are not known.
func (c *Case) shapes(l *layer) [][]int {
	if graph.IsSource(l.LayerParameter) {
		if s, ok := c.sourceShapes(l); ok {
			return s
		}
	}
	if !buildable(l) {
		return nil
	}
	in := make([][]int, len(l.bottoms))
	known := true
	for i, b := range l.bottoms {
		if in[i] = b.shape; in[i] == nil {
			return outputsOf(l)
		}
		known = known && !slices.Contains(in[i], 0)
	}
	if !known {
		return c.guessed(l, in)
	}
	b := c.build(l, in)
	l.params, l.refused = b.params, b.err
	return b.tops
}

// buildable reports whether building a layer does nothing but build it: it
// neither runs a user's program nor writes a file.
func buildable(l *layer) bool {
	if t := l.GetType(); t == "Python" || t == "HDF5Output" {
		return false
	}
	_, err := layers.Lookup(l.GetType())
	return err == nil
}

// outputsOf returns what is known of a layer's tops whatever comes in: the
// channels of a layer with weights.
func outputsOf(l *layer) [][]int {
	p, ok := weightsOf(l)
	if !ok {
		return nil
	}
	out := []int{0, p.outputs, 0, 0}
	if l.GetType() == "InnerProduct" {
		out = out[:2]
	}
	return [][]int{out}
}

// guesses are two extents for each axis of a blob that is not known. What comes
// out the same with both does not depend on it. They have many divisors, for
// layers that divide.
var guesses = [2][]int{{2, 12, 192, 192, 192}, {4, 24, 240, 240, 240}}

// guessed returns what is known of l's tops if some extents of its bottoms are
// not.
func (c *Case) guessed(l *layer, in [][]int) [][]int {
	var made [2]built
	for i, g := range guesses {
		full := make([][]int, len(in))
		for j, s := range in {
			full[j] = slices.Clone(s)
			for a, d := range s {
				if d == 0 {
					full[j][a] = g[min(a, len(g)-1)]
				}
			}
		}
		if made[i] = c.build(l, full); made[i].err != nil {
			return outputsOf(l)
		}
	}
	both := func(a, b [][]int) [][]int {
		out := make([][]int, len(a))
		for i, s := range a {
			if i >= len(b) || len(s) != len(b[i]) {
				continue
			}
			out[i] = slices.Clone(s)
			for k, d := range b[i] {
				if d != s[k] {
					out[i][k] = 0
				}
			}
		}
		return out
	}
	l.params = both(made[0].params, made[1].params)
	return both(made[0].tops, made[1].tops)
}

// A built layer is what building one alone has shown: the shapes of its tops and
// of its parameters, or why it cannot be built.
type built struct {
	tops, params [][]int
	err          error
}

// build builds a layer behind inputs of the given shapes.
func (c *Case) build(l *layer, in [][]int) built {
	np := &caffepb.NetParameter{State: l.net.Param.State}
	p := proto.CloneOf(l.net.Param.Layer[l.index])
	p.Name, p.Include, p.Exclude, p.Bottom, p.Top = proto.String("layer"), nil, nil, nil, nil
	names := map[*blob]string{}
	for i, b := range l.bottoms {
		name := names[b]
		if name == "" {
			name = fmt.Sprintf("bottom%d", i)
			names[b] = name
			np.Layer = append(np.Layer, &caffepb.LayerParameter{Name: &name, Type: proto.String("Input"), Top: []string{name},
				InputParam: &caffepb.InputParameter{Shape: []*caffepb.BlobShape{blobShape(in[i])}}})
		}
		p.Bottom = append(p.Bottom, name)
	}
	for i := range l.tops {
		name := fmt.Sprintf("top%d", i)
		if i < len(l.bottoms) && l.Top[i] == l.Bottom[i] { // in place
			name = names[l.bottoms[i]]
		}
		p.Top = append(p.Top, name)
	}
	np.Layer = append(np.Layer, p)
	text, err := proto.MarshalOptions{Deterministic: true}.Marshal(np)
	if err != nil {
		return built{err: err}
	}
	key := string(text)
	b, ok := c.built[key]
	if !ok {
		b = c.buildNet(np, l.net)
		c.built[key] = b
	}
	return b
}

// buildNet builds a net for the shapes of its last layer.
func (c *Case) buildNet(np *caffepb.NetParameter, n *Net) built {
	net, err := graph.New(np, graph.Options{ResolvePath: c.in.ResolvePath, Dir: n.dir(), NoFill: true, NoLayout: true, NoFuse: true})
	if err != nil {
		var le *graph.LayerError
		if errors.As(err, &le) {
			err = le.Err
		}
		return built{err: err}
	}
	nodes := net.Layers()
	last := nodes[len(nodes)-1]
	var b built
	for _, t := range last.Tops {
		b.tops = append(b.tops, t.Shape())
	}
	for _, p := range last.Layer.Params() {
		b.params = append(b.params, p.Shape())
	}
	b.err = net.Close()
	return b
}

func blobShape(dims []int) *caffepb.BlobShape {
	s := &caffepb.BlobShape{}
	for _, d := range dims {
		s.Dim = append(s.Dim, int64(d))
	}
	return s
}

// sourceShapes returns the shapes that a layer makes that reads data; ok is false
// for types that can be built without reading any.
func (c *Case) sourceShapes(l *layer) (shapes [][]int, ok bool) {
	switch l.GetType() {
	case "Data", "ImageData":
		return c.dataShape(l), true
	case "WindowData":
		if _, err := os.Stat(c.in.ResolvePath(l.GetWindowDataParam().GetSource())); err != nil {
			l.unread = err
		}
		n, crop := int(l.GetWindowDataParam().GetBatchSize()), int(l.GetTransformParam().GetCropSize())
		return [][]int{{n, 3, crop, crop}, {n}}, true
	case "HDF5Data":
		return c.listedShapes(l), true
	case "DummyData":
		return dummyShapes(l), true // building it fills it
	}
	return nil, false
}

// listedShapes returns the shapes of the batches that an HDF5Data layer reads
// from the first file of its list.
func (c *Case) listedShapes(l *layer) [][]int {
	np := &caffepb.NetParameter{Layer: []*caffepb.LayerParameter{proto.CloneOf(l.net.Param.Layer[l.index])}}
	np.Layer[0].Include, np.Layer[0].Exclude = nil, nil
	with, _, err := netinfo.Sources(np, netinfo.SourceOptions{ResolvePath: c.in.ResolvePath, Dir: l.net.dir()})
	if err != nil {
		var path *fs.PathError
		if errors.As(err, &path) {
			err = path // what is around it is about another command
		}
		l.unread = err
		return nil
	}
	var shapes [][]int
	for _, s := range with.Layer[0].GetInputParam().GetShape() {
		shapes = append(shapes, ints(s.GetDim()))
	}
	return shapes
}

// axis counts a negative axis from the end, and keeps it in range.
func axis(a, n int) int {
	if a < 0 {
		a += n
	}
	return max(0, min(a, n-1))
}

func ints(v []int64) []int {
	out := make([]int, len(v))
	for i, x := range v {
		out[i] = int(x)
	}
	return out
}

// product multiplies extents; 0 if one is not known.
func product(v []int) int {
	p := 1
	for _, x := range v {
		p *= x
	}
	return p
}

// dataShape returns what a layer of pictures hands out: of the size of its
// records or, if they are not there, of what the crop and the mean tell.
func (c *Case) dataShape(l *layer) [][]int {
	t := l.GetTransformParam()
	batch, ch, h, w := int(l.GetDataParam().GetBatchSize()), 0, 0, 0
	if l.GetType() == "ImageData" {
		p := l.GetImageDataParam()
		batch, h, w = int(p.GetBatchSize()), int(p.GetNewHeight()), int(p.GetNewWidth())
		if ch = 1; p.GetIsColor() {
			ch = 3
		}
	}
	if m := c.means[t.GetMeanFile()]; m != nil && m.err == nil {
		ch, h, w = m.c, m.h, m.w
	}
	if n := len(t.MeanValue); n > 1 {
		ch = n
	}
	if r := c.source(l); r != nil && r.c > 0 {
		ch, h, w = r.c, r.h, r.w
	}
	if s := int(t.GetCropSize()); s > 0 {
		h, w = s, s
	}
	if ch == 0 && t.GetMeanFile() != "" {
		ch = 3 // a guess: photographs
	}
	return [][]int{{batch, ch, h, w}, {batch}}
}

func dummyShapes(l *layer) (out [][]int) {
	p := l.GetDummyDataParam()
	at := func(v []uint32, i int) int {
		if len(v) == 0 {
			return 0
		}
		return int(v[min(i, len(v)-1)])
	}
	for i := range l.Top {
		if s := p.GetShape(); len(s) > 0 {
			out = append(out, ints(s[min(i, len(s)-1)].GetDim()))
		} else {
			out = append(out, []int{at(p.Num, i), at(p.Channels, i), at(p.Height, i), at(p.Width, i)})
		}
	}
	return out
}
