package graph

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"crema/hdf5"
	"crema/internal/glog"
	"crema/internal/seal"
	"crema/prototxt"
	"crema/prototxt/caffepb"
	"crema/tensor"
)

// LoadOptions say how the parameters of a weights file find their layers. The
// zero value goes by the layers' names alone, as Caffe does.
type LoadOptions struct {
	// Any accepts files of which no layer has parameters for the net.
	Any bool
	// From names for layers of the net the layers of the file that they take
	// their parameters from instead of those of their own name; "" is none. A
	// parameter's shape may then differ if it has as many outputs and as many
	// values, as those of a fully connected layer and of a convolution that does
	// its work have.
	From map[string]string
}

// LoadFiles copies the parameters of .caffemodel files, one after the other,
// into the layers of the same names (Net::CopyTrainedLayersFrom) or as the
// options say. Values are read to their place, so no second copy is made in
// memory. Layers that the net lacks are skipped. A different number or shape of
// parameters is an error that names the layer and both shapes, and then nothing
// of that file was copied; so is a file that has nothing at all for a net that
// wants something. The log says what was loaded, what of the net got nothing and
// what of the files was left over. Paths are opened as they are.
func (n *Net) LoadFiles(paths []string, o LoadOptions) error {
	l := n.newLoading(o)
	for _, path := range paths {
		if err := l.file(path); err != nil {
			return err
		}
	}
	return l.finish()
}

// LoadWeights is LoadFiles of one file, by the layers' names.
func (n *Net) LoadWeights(path string) error { return n.LoadFiles([]string{path}, LoadOptions{}) }

// CopyWeights is LoadWeights of a net in memory.
func (n *Net) CopyWeights(np *caffepb.NetParameter) error {
	l := n.newLoading(LoadOptions{})
	if err := l.take(messageSource(np)); err != nil {
		return err
	}
	return l.finish()
}

// Finetune is LoadFiles of a comma-separated list of files, each mapped by
// Options.ResolvePath, as the solver field weights means it.
func (n *Net) Finetune(list string, o LoadOptions) error {
	var paths []string
	for f := range strings.SplitSeq(list, ",") {
		f = strings.TrimSpace(f)
		glog.Infof(n.log, "Finetuning from %s", f)
		paths = append(paths, n.ctx.Path(f))
	}
	return n.LoadFiles(paths, o)
}

// A weightsSource is what parameters are copied from: a file, or a net in memory
// without a path.
type weightsSource struct {
	path   string
	layers []sourceLayer
	close  func() error // of a file
}

// wrap names the file that an error is about.
func (s *weightsSource) wrap(err error) error {
	if err == nil || s.path == "" {
		return err
	}
	return fmt.Errorf("%q: %w", s.path, err)
}

// A sourceLayer is a layer of a weightsSource. If it is sparse, parameters that
// the layer shares with one before it may have no values.
type sourceLayer struct {
	name, typ string
	blobs     []sourceBlob
	sparse    bool
}

// A sourceBlob is a parameter. Its shape is of four numbers that may begin with
// padding if it is legacy. read fills a slice of count values; it is nil where
// there are none.
type sourceBlob struct {
	shape  []int
	legacy bool
	count  int
	read   func(dst []float32) error
	bad    error // why it cannot be used
}

// file takes the parameters of a file.
func (l *loading) file(path string) error {
	src, err := openSource(path)
	if err != nil {
		return err
	}
	defer src.close()
	return l.take(src)
}

// openSource opens a file of weights, a .caffemodel or a .caffemodel.h5, which
// are told apart by what is in them.
func openSource(path string) (*weightsSource, error) {
	is, err := hdf5.Is(path)
	if err != nil {
		return nil, err
	}
	if _, err := seal.Check(path); err != nil {
		return nil, err
	}
	if !is {
		w, err := prototxt.OpenWeights(path)
		if err != nil {
			return nil, err
		}
		src := protoSource(w)
		src.close = w.Close
		return src, nil
	}
	f, err := hdf5.Open(path)
	if err != nil {
		return nil, err
	}
	src, err := hdf5Source(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	src.path, src.close = path, f.Close
	return src, nil
}

// protoSource returns the layers of an open .caffemodel, which is read when the
// blobs are.
func protoSource(w *prototxt.WeightsFile) *weightsSource {
	src := &weightsSource{path: w.Path}
	for i := range w.Layers {
		l := &w.Layers[i]
		s := sourceLayer{name: l.Name, typ: l.Type}
		for j := range l.Blobs {
			b := &l.Blobs[j]
			shape, err := intShape(b.Shape)
			s.blobs = append(s.blobs, sourceBlob{shape, b.Legacy, int(b.Count), func(dst []float32) error { return w.ReadValues(b, dst) }, err})
		}
		src.layers = append(src.layers, s)
	}
	return src
}

// messageSource returns the layers of a net in memory.
func messageSource(np *caffepb.NetParameter) *weightsSource {
	src := &weightsSource{}
	for _, l := range np.Layer {
		s := sourceLayer{name: l.GetName(), typ: l.GetType()}
		for _, p := range l.Blobs {
			shape, legacy, err := protoShape(p)
			s.blobs = append(s.blobs, sourceBlob{shape, legacy, max(len(p.Data), len(p.DoubleData)),
				func(dst []float32) error { return copyValues(dst, p.Data, p.DoubleData, "data") }, err})
		}
		src.layers = append(src.layers, s)
	}
	return src
}

// A loading is what goes on while a net takes parameters of one or more
// sources.
type loading struct {
	net  *Net
	o    LoadOptions
	got  map[*Param]bool // parameters that were loaded
	used map[string]bool // layers of files that From names and that were found
	left []sourceLayer   // of all sources, with parameters that went nowhere
}

func (n *Net) newLoading(o LoadOptions) *loading {
	return &loading{net: n, o: o, got: map[*Param]bool{}, used: map[string]bool{}}
}

// takers returns the layers that take the parameters of a source's layer.
func (l *loading) takers(name string) []*Node {
	var to []*Node
	if _, other := l.o.From[name]; !other {
		if n := l.net.node(name); n != nil {
			to = append(to, n)
		}
	}
	for _, n := range l.net.nodes {
		if l.o.From[n.Name] == name && name != "" && !n.added {
			to = append(to, n)
			l.used[name] = true
		}
	}
	return to
}

// take copies the parameters of a source. It checks all shapes before it
// copies anything.
func (l *loading) take(src *weightsSource) error {
	type copying struct {
		dst *tensor.Blob
		src *sourceBlob
	}
	var todo []copying
	got := map[*Param]bool{}
	for i := range src.layers {
		from := &src.layers[i]
		to := l.takers(from.name)
		if len(to) == 0 {
			glog.Infof(l.net.log, "Ignoring source layer %s", from.name)
			if len(from.blobs) > 0 {
				l.left = append(l.left, *from)
			}
		}
		for _, n := range to {
			_, mapped := l.o.From[n.Name]
			if err := fits(n, from, mapped); err != nil {
				return src.wrap(err)
			}
			for j := range from.blobs {
				if from.blobs[j].read == nil {
					continue
				}
				todo = append(todo, copying{n.Layer.Params()[j], &from.blobs[j]})
				got[n.owners[j]] = true
			}
		}
	}
	if len(todo) == 0 {
		if err := l.nothing(src); err != nil {
			return src.wrap(err)
		}
	}
	for _, c := range todo {
		if err := c.src.read(c.dst.Data()); err != nil {
			return err
		}
	}
	for p := range got {
		l.got[p] = true
	}
	return nil
}

// fits reports what keeps a layer from taking the parameters of another.
// Reshaped ones will do if reshape.
func fits(n *Node, from *sourceLayer, reshape bool) error {
	params := n.Layer.Params()
	if len(from.blobs) > len(params) || len(from.blobs) < len(params) && !from.sparse {
		return countError(n, from)
	}
	for i, to := range params {
		if i >= len(from.blobs) || from.blobs[i].read == nil {
			if n.owns(i) {
				return countError(n, from)
			}
			continue
		}
		p := &from.blobs[i]
		if p.bad != nil {
			return fmt.Errorf("layer %q, parameter %d: %w", n.Name, i, p.bad)
		}
		if !shapeEquals(to, p.shape, p.legacy) && !(reshape && p.reshapes(to)) {
			err := fmt.Errorf("cannot copy parameter %d of layer %q: its shape is %s in the file, %s in the net; %s",
				i, n.Name, tensor.FormatShape(p.shape), tensor.FormatShape(to.Shape()), scratch(n))
			if p.reshapes(to) {
				err = fmt.Errorf("%w; or, as the values are as many, copy them as they are by --weights-map %s, as from a fully connected layer to a convolution", err, mapArg(n.Name, from.name))
			}
			return err
		}
		if p.count != to.Count() {
			return fmt.Errorf("layer %q, parameter %d: holds %d values, its shape %d", n.Name, i, p.count, to.Count())
		}
	}
	return nil
}

// owns reports whether the layer does not share its parameter i with a layer
// before it.
func (n *Node) owns(i int) bool { return n.owners[i].Owner == n && n.owners[i].Index == i }

// reshapes reports whether a parameter has the outputs and the number of values
// of a blob of another shape.
func (p *sourceBlob) reshapes(to *tensor.Blob) bool {
	return product(p.shape) == to.Count() && outputs(p.shape, p.legacy) == outputs(to.Shape(), false)
}

// outputs returns the first dimension, of a legacy shape the first that is no
// padding.
func outputs(shape []int, legacy bool) int {
	for i, d := range shape {
		if d != 1 || !legacy || i == len(shape)-1 {
			return d
		}
	}
	return 1
}

func product(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// countError says that a layer and its namesake have different numbers of
// parameters, and why that may be.
func countError(n *Node, from *sourceLayer) error {
	params := n.Layer.Params()
	theirs, ours := from.shapes(), []string(nil)
	why := ""
	biased := slices.Contains([]string{"Convolution", "Deconvolution", "InnerProduct", "Embed", "Scale"}, n.Type)
	switch {
	case biased && len(theirs) == 2 && len(params) == 1:
		why = "; the net's has bias_term: false, the file's a bias: set bias_term: true"
	case biased && len(theirs) == 1 && len(params) == 2:
		why = "; the net's has a bias, the file's none: set bias_term: false"
	case len(theirs) == 0:
		why = "; the file has no values for it"
	case n.Type == "BatchNorm" && len(theirs) == 5:
		why = "; NVIDIA's Caffe keeps the scale and bias of a Scale layer in it"
	}
	for _, p := range params {
		ours = append(ours, tensor.FormatShape(p.Shape()))
	}
	return fmt.Errorf("layer %q (%s) has %s%s, in the file %d%s%s; %s",
		n.Name, n.Type, countOf(len(params), "parameter"), inBrackets(ours), len(theirs), inBrackets(theirs), why, scratch(n))
}

// scratch tells how a layer comes to take nothing from a file.
func scratch(n *Node) string {
	return fmt.Sprintf("to learn this layer's parameters from scratch rather than copy them, rename the layer or give --weights-map %s", mapArg(n.Name, ""))
}

func inBrackets(words []string) string {
	if len(words) == 0 {
		return ""
	}
	return " (" + strings.Join(words, ", ") + ")"
}

// nothing returns the error for a source that has nothing for the net, nil if
// that is as it should be.
func (l *loading) nothing(src *weightsSource) error {
	wants := l.net.withParams()
	if len(wants) == 0 || l.o.Any || l.net.partner != nil {
		return nil
	}
	var has []string
	for _, s := range src.layers {
		if len(s.blobs) > 0 {
			has = append(has, s.name)
		}
	}
	const goOn = "--weights-any goes on without"
	if len(has) == 0 {
		return errors.New("no layer has parameters: it holds a net without trained weights; " + goOn)
	}
	msg := fmt.Sprintf("nothing was loaded: of its %s with parameters (%s) none has the name of one of the net's (%s)", countOf(len(has), "layer"), namesOf(has), namesOf(wants))
	if s := l.suggest(l.missing()); len(s) > 0 {
		msg += "; by their shapes, --weights-map " + strings.Join(s, ",") + " would load some"
	}
	return errors.New(msg + "; " + goOn)
}

// finish checks that all of LoadOptions.From was found and logs what was
// loaded.
func (l *loading) finish() error {
	if l.net.partner == nil { // else names are those of the other net
		if err := l.checkFrom(); err != nil {
			return err
		}
	}
	l.report()
	return nil
}

// checkFrom reports names in LoadOptions.From that the net or the files do not
// have.
func (l *loading) checkFrom() error {
	for _, to := range slices.Sorted(maps.Keys(l.o.From)) {
		from := l.o.From[to]
		switch n := l.net.node(to); {
		case n == nil || !n.wants():
			return fmt.Errorf("--weights-map %s: the net has no layer %q with parameters; those that have some: %s", mapArg(to, from), to, namesOf(l.net.withParams()))
		case from != "" && !l.used[from]:
			var left []string
			for _, s := range l.left {
				left = append(left, s.name)
			}
			return fmt.Errorf("--weights-map %s: there is no layer %q in the weights; those with parameters that went nowhere: %s", mapArg(to, from), from, namesOf(left))
		}
	}
	return nil
}

// intShape checks the dimensions of a file.
func intShape(dims []int64) ([]int, error) {
	shape := make([]int, len(dims))
	for i, d := range dims {
		if d < 0 || d > tensor.MaxCount {
			return nil, fmt.Errorf("dimension %d is out of range", d)
		}
		shape[i] = int(d)
	}
	return shape, tensor.CheckShape(shape)
}
