package infer

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"

	"crema/data"
	"crema/graph"
	"crema/tensor"
)

// A Classifier gives the scores of classes for pictures. It is used by one
// goroutine at a time.
type Classifier struct {
	// Pre prepares the pictures. Change it before the first Classify only, and
	// call Pre.Check then.
	Pre Preprocessor
	// Output is the name of the blob that has the scores.
	Output string
	// Classes is the number of scores of a picture.
	Classes int

	net     *graph.Net
	in, out *tensor.Blob
}

// ErrNotClassifier is wrapped by errors of New about nets that have no picture
// to take or no scores to give.
var ErrNotClassifier = errors.New("not a net that classifies pictures")

// New makes a classifier of a net in the TEST phase that has one input, of N
// pictures. output names the blob of scores; "" means the net's output, or if
// there are several the last that a Softmax layer makes. The net is closed by
// who made it.
func New(net *graph.Net, output string) (*Classifier, error) {
	c := &Classifier{net: net}
	var inputs []string
	for _, l := range net.Layers() {
		if len(l.Bottoms) > 0 {
			continue
		}
		if l.Type != "Input" {
			return nil, fmt.Errorf("%w: layer %q (%s) gives data of its own", ErrNotClassifier, l.Name, l.Type)
		}
		inputs = append(inputs, l.TopNames...)
	}
	if len(inputs) != 1 {
		return nil, fmt.Errorf("%w: it has the inputs %s; one is wanted", ErrNotClassifier, list(inputs))
	}
	c.in = net.Blob(inputs[0])
	if c.in.Axes() != 4 || c.in.Count() == 0 {
		return nil, fmt.Errorf("%w: its input %q has the shape %s, not N×C×H×W", ErrNotClassifier, inputs[0], tensor.FormatShape(c.in.Shape()))
	}
	c.Pre = Preprocessor{C: c.in.Dim(1), H: c.in.Dim(2), W: c.in.Dim(3)}
	if c.Output = output; output == "" {
		var err error
		if c.Output, err = defaultOutput(net); err != nil {
			return nil, err
		}
	}
	if c.out = net.Blob(c.Output); c.out == nil {
		return nil, net.NoBlob(c.Output)
	}
	// A pooled output may keep two axes of one.
	if c.out.Axes() < 2 || c.out.CountFrom(2) != 1 || c.out.Dim(0) != c.in.Dim(0) {
		return nil, fmt.Errorf("%w: its output %q has the shape %s, not a score of each class for each of %d pictures", ErrNotClassifier, c.Output, tensor.FormatShape(c.out.Shape()), c.in.Dim(0))
	}
	c.Classes = c.out.Dim(1)
	return c, c.Pre.Check()
}

// defaultOutput returns the only output, or the last that a Softmax makes.
func defaultOutput(net *graph.Net) (string, error) {
	outs := net.Outputs()
	if len(outs) == 1 {
		return outs[0].Name, nil
	}
	for _, l := range slices.Backward(net.Layers()) {
		for _, o := range outs {
			if l.Type == "Softmax" && l.TopNames[0] == o.Name {
				return o.Name, nil
			}
		}
	}
	var names []string
	for _, o := range outs {
		names = append(names, o.Name)
	}
	return "", fmt.Errorf("the net has the outputs %s: name the one with the scores", list(names))
}

func list(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// Classify returns for each picture its scores, Classes of them, in new memory.
// Pictures must have Pre.C channels. Of several crops it returns the mean. All go
// through the net in one pass, whose memory grows with their number. Errors are
// those of the pass, and about pictures and outputs of a wrong shape.
func (c *Classifier) Classify(ims []*data.Image) ([][]float32, error) {
	crops := c.Pre.Crops()
	all, err := c.Crops(ims)
	if err != nil || crops == 1 {
		return all, err
	}
	var out [][]float32
	for i := 0; i < len(all); i += crops {
		mean := make([]float32, c.Classes)
		for k := range mean {
			var sum float64
			for _, s := range all[i : i+crops] {
				sum += float64(s[k])
			}
			mean[k] = float32(sum / float64(crops))
		}
		out = append(out, mean)
	}
	return out, nil
}

// Crops is Classify without the mean: it returns the scores of each crop of each
// picture, Pre.Crops() of the first picture, then those of the next, in the order
// that Preprocessor.Oversample tells.
func (c *Classifier) Crops(ims []*data.Image) ([][]float32, error) {
	p := &c.Pre
	crops, size := p.Crops(), p.C*p.H*p.W
	n := crops * len(ims)
	if n == 0 {
		return nil, nil
	}
	if err := tensor.CheckShape([]int{n, p.C, p.H, p.W}); err != nil {
		return nil, err
	}
	c.in.Reshape(n, p.C, p.H, p.W)
	d := c.in.Data()
	for i, im := range ims {
		if err := p.Picture(d[i*crops*size:][:crops*size], im); err != nil {
			return nil, err
		}
	}
	if _, err := c.net.Forward(); err != nil {
		return nil, err
	}
	v := c.out.Values()
	if len(v) != n*c.Classes {
		return nil, fmt.Errorf("the output %q has the shape %s for %d pictures of %d classes", c.Output, tensor.FormatShape(c.out.Shape()), n, c.Classes)
	}
	var all [][]float32
	for i := range n {
		all = append(all, slices.Clone(v[i*c.Classes:][:c.Classes]))
	}
	return all, nil
}

// Top returns the classes of the k highest scores, the best first; of equal
// ones, the lower class first. NaN counts as the least.
func Top(scores []float32, k int) []int {
	order := make([]int, len(scores))
	for i := range order {
		order[i] = i
	}
	key := func(i int) float64 {
		if v := float64(scores[i]); !math.IsNaN(v) {
			return v
		}
		return math.Inf(-1)
	}
	sort.SliceStable(order, func(a, b int) bool { return cmp.Compare(key(order[a]), key(order[b])) > 0 })
	return order[:min(k, len(order))]
}
