package layers

import (
	"fmt"
	"log/slog"
	"sort"
	"strings"

	"crema/internal/pylayer"
	"crema/prototxt/caffepb"
	"crema/tensor"
)

// A Layer computes tops from bottoms and gradients the other way. The net
// calls Setup once, Reshape before every Forward whose bottoms changed shape
// (and once after Setup), then Forward and Backward (Caffe's
// include/caffe/layer.hpp).
//
// The number of bottoms and tops is checked against the layer's Type before
// Setup.
type Layer interface {
	// Setup reads the layer's parameters and creates its parameter blobs,
	// filled. It need not shape the tops.
	Setup(bottom, top []*tensor.Blob) error
	// Reshape shapes the tops (and scratch) for the bottoms' present shapes.
	Reshape(bottom, top []*tensor.Blob) error
	// Forward computes the values of the tops.
	Forward(bottom, top []*tensor.Blob) error
	// Backward overwrites the gradients of those bottoms for which
	// propagateDown is true and adds to the gradients of the parameters for
	// which ParamPropagateDown is true.
	Backward(top []*tensor.Blob, propagateDown []bool, bottom []*tensor.Blob) error
	// Params returns the parameter blobs in Caffe's order (weights, bias).
	Params() []*tensor.Blob
	// SetParamPropagateDown says whether Backward computes the gradient of
	// parameter i; true until set.
	SetParamPropagateDown(i int, on bool)
	// ParamPropagateDown reports whether Backward computes it.
	ParamPropagateDown(i int) bool
}

// An Updater is a layer that can make a parameter's step of gradient descent
// while it computes the gradient, which then is nowhere in memory. That saves
// most of the traffic of large fully connected layers.
type Updater interface {
	Layer
	// CanUpdate reports whether Backward can do so for parameter i, given the
	// bottoms of the last Reshape.
	CanUpdate(i int) bool
	// SetUpdate makes the next Backward change parameter i by u instead of
	// adding to its gradient, after it has used the old values; Backwards after
	// that add to the gradient again. u is not kept. Call it only if CanUpdate.
	SetUpdate(i int, u Update)
}

// An Update is a step of stochastic gradient descent with momentum and L2 decay
// by the gradient g of weights w (Caffe's SGDSolver):
//
//	h = Rate·(g + Decay·w) + Momentum·h
//	w = w − h
type Update struct {
	Rate, Decay, Momentum float32
	// History has h, as long as the parameter.
	History []float32
}

// A LayoutTaker is a layer that can work on blobs that are not NCHW
// (tensor.Layout). Other layers are given only such.
type LayoutTaker interface {
	Layer
	// Fit tells how the layer works with all its bottoms in layout in and all
	// its tops in layout out, after a Reshape with bottoms and tops that were
	// NCHW. It never is Unfit for that. The layer is reshaped again after the
	// layouts of its blobs were changed, and must then work for every shape
	// that it would take in NCHW and that these layouts allow.
	Fit(in, out tensor.Layout) Fit
}

// A Fit is how a layer works with some layouts.
type Fit uint8

const (
	// Unfit is not at all.
	Unfit Fit = iota
	// Fits is as well as with NCHW.
	Fits
	// Gains is faster than if what is not NCHW were so.
	Gains
)

// sameLayout is the Fit of layers to which the order of elements makes no
// difference.
func sameLayout(in, out tensor.Layout) Fit {
	if in == out {
		return Fits
	}
	return Unfit
}

// A TopReader is a layer whose Backward may read the values of its first top: a
// layer that has changed them since, in place, spoils the gradient. The net gives
// such a layer a blob of its own.
type TopReader interface {
	Layer
	// SpoiledBy reports, after a Reshape, whether a layer of the given type
	// does.
	SpoiledBy(kind string) bool
}

// A ParamSpecifier is a layer that decides itself how its parameters are
// learned. The net puts what it says in the place of the param entries of the
// layer's definition, also in the definition that it saves.
type ParamSpecifier interface {
	Layer
	// ParamSpecs returns the entries after Setup, those of the definition at
	// the beginning.
	ParamSpecs() []*caffepb.ParamSpec
}

// A Rectifier is a layer that can replace its top y by max(y, 0), the work of a
// ReLU layer without negative_slope that follows it in place.
type Rectifier interface {
	Layer
	// CanRectify reports whether the layer can do so, after a Reshape.
	CanRectify() bool
	// SetRectify tells Forward to do so. Backward then takes the gradient of the
	// top to be that of the ReLU's output, whose values the top must still
	// have; the values may since have been scaled by positive factors or set to
	// zero where the gradient is.
	SetRectify(on bool)
}

// A Stateful layer has a position that an exact resume must restore: random
// layers count forward passes, data layers count records.
type Stateful interface {
	Layer
	// Cursor returns the position after the last Forward.
	Cursor() *caffepb.LayerCursor
	// SetCursor makes the next Forward continue from a position that Cursor
	// returned.
	SetCursor(*caffepb.LayerCursor) error
}

// A Describer is a layer that can compute in several ways.
type Describer interface {
	Layer
	// Describe says in a few words which it chose at the last Reshape.
	Describe() string
}

// A Waiter is a layer whose Forward may wait for data.
type Waiter interface {
	// Waited returns the total seconds that Forward waited since Setup.
	Waited() float64
}

// A FloorCounter is a loss of probabilities, which cannot show how small they
// are once they are below the smallest normal float32.
type FloorCounter interface {
	// Floored returns how many labels of the last Forward had no larger
	// probability than that, and how many labels there were.
	Floored() (floored, labels int)
}

// Context is what a layer knows of its surroundings.
type Context struct {
	// Phase of the net.
	Phase caffepb.Phase
	// Seed that all random streams of the run are keyed by (internal/rng).
	Seed uint64
	// NoFill says that the parameters will be replaced by another net's right
	// after Setup: leave them unfilled (and so unallocated).
	NoFill bool
	// Log receives progress lines in Caffe's words; never nil.
	Log *slog.Logger
	// ResolvePath maps a path of a prototxt to one that can be opened (for
	// --data-root); nil for none. Use Context.Path.
	ResolvePath func(string) string
	// Dir is the folder of the net's prototxt, "" if there is none.
	Dir string
	// Python runs the Python layers of the net; nil lets each have a process of
	// its own.
	Python *pylayer.Process
}

// Path maps a path of a prototxt to one that can be opened.
func (c *Context) Path(p string) string {
	if c.ResolvePath == nil {
		return p
	}
	return c.ResolvePath(p)
}

// Arity is an allowed number of blobs; Max < 0 is no limit.
type Arity struct{ Min, Max int }

// Exactly is the arity of exactly n blobs.
func Exactly(n int) Arity { return Arity{n, n} }

// AtLeast is the arity of n or more blobs.
func AtLeast(n int) Arity { return Arity{n, -1} }

// Between is the arity of min to max blobs.
func Between(min, max int) Arity { return Arity{min, max} }

func (a Arity) check(n int, what string) error {
	switch {
	case a.Min == a.Max && n != a.Min:
		return fmt.Errorf("takes exactly %d %s blob(s), not %d", a.Min, what, n)
	case n < a.Min:
		return fmt.Errorf("takes at least %d %s blob(s), not %d", a.Min, what, n)
	case a.Max >= 0 && n > a.Max:
		return fmt.Errorf("takes at most %d %s blob(s), not %d", a.Max, what, n)
	}
	return nil
}

// A Type describes a layer type to the registry.
type Type struct {
	// Name as in LayerParameter.type.
	Name string
	// New makes a layer; the parameter is complete and upgraded, and must not
	// be changed.
	New func(p *caffepb.LayerParameter, ctx *Context) (Layer, error)
	// Bottoms and Tops are the allowed numbers of blobs.
	Bottoms, Tops Arity
	// EqualBottomsTops requires as many tops as bottoms.
	EqualBottomsTops bool
	// AutoTops makes the net create unnamed tops up to Tops.Min (losses).
	AutoTops bool
	// Loss gives the first top a loss weight of 1 by default.
	Loss bool
	// NoForceBackward lists bottoms that force_backward leaves alone (labels);
	// −1 is the last.
	NoForceBackward []int
	// NoBackward marks types that cannot backpropagate to any bottom (data,
	// Accuracy): asking for it is an error.
	NoBackward bool
}

var registry = map[string]*Type{}

// Register adds a layer type; called from init functions. It panics on a
// duplicate.
func Register(t Type) {
	if _, dup := registry[t.Name]; dup {
		panic("layers: " + t.Name + " registered twice")
	}
	registry[t.Name] = &t
}

// Lookup returns the type of that name, or an error that lists the known ones.
func Lookup(name string) (*Type, error) {
	t, ok := registry[name]
	if !ok {
		return nil, fmt.Errorf("unknown layer type %q (known: %s)", name, strings.Join(Types(), ", "))
	}
	return t, nil
}

// Types returns the names of all registered layer types, sorted.
func Types() []string {
	var s []string
	for n := range registry {
		s = append(s, n)
	}
	sort.Strings(s)
	return s
}

// CheckCounts reports whether a layer of this type may have that many bottoms
// and tops.
func (t *Type) CheckCounts(bottoms, tops int) error {
	if err := t.Bottoms.check(bottoms, "bottom"); err != nil {
		return err
	}
	if err := t.Tops.check(tops, "top"); err != nil {
		return err
	}
	if t.EqualBottomsTops && bottoms != tops {
		return fmt.Errorf("takes as many top as bottom blobs, not %d bottom and %d top", bottoms, tops)
	}
	return nil
}

// base is embedded by layers: it keeps the parameter and the context, and
// answers the parts of Layer that most have in common.
type base struct {
	p          *caffepb.LayerParameter
	ctx        *Context
	params     []*tensor.Blob
	noParamBwd []bool
}

func newBase(p *caffepb.LayerParameter, ctx *Context) base { return base{p: p, ctx: ctx} }

// Setup of a layer without parameters.
func (b *base) Setup(bottom, top []*tensor.Blob) error { return nil }

// Params implements Layer.
func (b *base) Params() []*tensor.Blob { return b.params }

// SetParamPropagateDown implements Layer.
func (b *base) SetParamPropagateDown(i int, on bool) {
	for len(b.noParamBwd) <= i {
		b.noParamBwd = append(b.noParamBwd, false)
	}
	b.noParamBwd[i] = !on
}

// ParamPropagateDown implements Layer.
func (b *base) ParamPropagateDown(i int) bool {
	return i >= len(b.noParamBwd) || !b.noParamBwd[i]
}
