package layers

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"crema/internal/pylayer"
	"crema/prototxt/caffepb"
	"crema/tensor"
)

func init() {
	Register(Type{
		Name:    "Python",
		New:     newPython,
		Bottoms: AtLeast(0),
		Tops:    AtLeast(0),
	})
}

// python is a layer that the user has written in Python, a class with the methods
// setup, reshape, forward and backward (Caffe's python_layer.hpp). It runs in the
// net's Python process: see package pylayer. What the methods see are the blobs
// themselves. As in Caffe, reshape is called before every forward, and forward may
// reshape tops, too; a loss needs its loss_weight in the prototxt. Fields of
// python_param:
//
//	module             the module, without .py: of a folder in PYTHONPATH, or
//	                   beside the prototxt, or in the working folder
//	layer              the class in it
//	param_str ("")     what the layer has as self.param_str
//	share_in_parallel (false)  accepted, without effect
type python struct {
	base
	own      *pylayer.Process // nil if the net has one
	layer    *pylayer.Layer
	shaped   int  // how often Reshape was called
	fresh    bool // Reshape was called since the last Forward
	forwards uint64
	waited   time.Duration // in Forward, if the layer gives data
}

// NewPython returns a process for the Python layers of a net, for
// Context.Python. It is not started before the first of them is set up.
func NewPython(ctx *Context) *pylayer.Process {
	o := pylayer.Options{Seed: ctx.Seed, Types: Types(), Log: ctx.Log}
	if ctx.Dir != "" {
		o.Dirs = append(o.Dirs, ctx.Dir)
	}
	o.Dirs = append(o.Dirs, ".")
	return pylayer.New(o)
}

func newPython(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &python{base: newBase(p, ctx)}
	l.warnUnused("python_param")
	return l, nil
}

// Setup makes the layer and calls its setup, which may add parameters.
func (l *python) Setup(bottom, top []*tensor.Blob) error {
	p := l.p.GetPythonParam()
	switch {
	case p.GetModule() == "":
		return errors.New("python_param: module is not set")
	case p.GetLayer() == "":
		return errors.New("python_param: layer is not set: give the name of the class in the module")
	}
	process := l.ctx.Python
	if process == nil {
		l.own = NewPython(l.ctx)
		process = l.own
	}
	given, err := l.givenParams()
	if err != nil {
		return err
	}
	l.layer, err = process.Load(pylayer.Spec{
		Name: l.p.GetName(), Module: p.GetModule(), Class: p.GetLayer(), ParamStr: p.GetParamStr(),
		Phase: int(l.ctx.Phase), Params: given,
	}, bottom, top)
	if err != nil {
		return err
	}
	l.params = l.layer.Params()
	return nil
}

// givenParams returns the parameters that the definition of the layer holds. The
// layer finds them in setup, as in Caffe, and adds none then.
func (l *python) givenParams() ([]*tensor.Blob, error) {
	var params []*tensor.Blob
	for i, g := range l.p.GetBlobs() {
		shape := []int{int(g.GetNum()), int(g.GetChannels()), int(g.GetHeight()), int(g.GetWidth())}
		if g.Shape != nil {
			var err error
			if shape, err = shapeOf(g.Shape); err != nil {
				return nil, fmt.Errorf("parameter %d: %w", i, err)
			}
		}
		b := tensor.New()
		if err := reshape(b, shape...); err != nil {
			return nil, fmt.Errorf("parameter %d: %w", i, err)
		}
		if err := copyBlob(b, g); err != nil {
			return nil, fmt.Errorf("parameter %d: %w", i, err)
		}
		params = append(params, b)
	}
	return params, nil
}

// Reshape calls the layer's reshape.
func (l *python) Reshape(bottom, top []*tensor.Blob) error {
	// Data layers load their next batch in reshape: it must be called as often
	// as in Caffe, once when the net is built and once for each forward.
	l.shaped++
	l.fresh = l.shaped > 1
	return l.layer.Reshape(bottom, top)
}

// Forward calls the layer's forward, after reshape unless that was just called.
func (l *python) Forward(bottom, top []*tensor.Blob) error {
	reshape := !l.fresh
	l.fresh = false
	l.forwards++
	if l.givesData() {
		defer func(began time.Time) { l.waited += time.Since(began) }(time.Now())
	}
	return l.layer.Forward(reshape, bottom, top)
}

// givesData reports whether the layer takes the part of a data layer.
func (l *python) givesData() bool { return len(l.p.GetBottom()) == 0 }

// Waited implements Waiter: the net waits while a layer that gives data makes it.
func (l *python) Waited() float64 { return l.waited.Seconds() }

// Backward calls the layer's backward.
func (l *python) Backward(top []*tensor.Blob, propagateDown []bool, bottom []*tensor.Blob) error {
	return l.layer.Backward(top, propagateDown, bottom)
}

// Cursor implements Stateful.
func (l *python) Cursor() *caffepb.LayerCursor {
	return &caffepb.LayerCursor{Name: proto.String(l.p.GetName()), Forwards: proto.Uint64(l.forwards)}
}

// SetCursor implements Stateful, as far as it can: where the layer itself stands
// is known to nobody.
func (l *python) SetCursor(c *caffepb.LayerCursor) error {
	if l.givesData() && c.GetForwards() != l.forwards {
		l.ctx.Log.Warn(fmt.Sprintf("Layer %s of type Python cannot be put where it stood after %d batches: it goes on with what comes next for it", l.p.GetName(), c.GetForwards()))
	}
	l.forwards = c.GetForwards()
	return nil
}

// Close ends the layer's process if the net has none.
func (l *python) Close() error {
	if l.own == nil {
		return nil
	}
	return l.own.Close()
}
