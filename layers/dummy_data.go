package layers

import (
	"fmt"

	"crema/internal/rng"
	"crema/prototxt/caffepb"
	"crema/tensor"
)

func init() {
	Register(Type{
		Name:       "DummyData",
		New:        newDummyData,
		Bottoms:    Exactly(0),
		Tops:       AtLeast(1),
		NoBackward: true,
	})
}

// dummyData makes data with fillers (Caffe's dummy_data_layer.cpp). Constant
// tops are filled once, the others anew by every Forward, from streams keyed
// by the seed, the layer's name, the top and the number of the Forward. Fields
// of dummy_data_param:
//
//	data_filler (constant 0)      once, or once per top
//	shape (none)                  once, or once per top
//	num, channels, height, width  the older way to give a shape: each once or
//	                              once per top, and then no shape
type dummyData struct {
	base
	fillers  []*caffepb.FillerParameter // one per top
	random   bool                       // at least one filler is not constant
	forwards uint64
}

func newDummyData(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &dummyData{base: newBase(p, ctx)}
	l.warnUnused("dummy_data_param")
	return l, nil
}

// Setup shapes the tops and fills the constant ones.
func (l *dummyData) Setup(_, top []*tensor.Blob) error {
	p := l.p.GetDummyDataParam()
	if n := len(p.GetDataFiller()); n > 1 && n != len(top) {
		return fmt.Errorf("dummy_data_param: data_filler must be given once, once per top, or not at all: %d tops, %d fillers", len(top), n)
	}
	shapes, err := dummyShapes(p, len(top))
	if err != nil {
		return err
	}
	if err := reshapeEach("dummy_data_param", shapes, top); err != nil {
		return err
	}
	l.fillers = make([]*caffepb.FillerParameter, len(top))
	l.random = false
	for i, t := range top {
		var f *caffepb.FillerParameter
		if n := len(p.GetDataFiller()); n > 0 {
			f = p.GetDataFiller()[min(i, n-1)]
		}
		if err := checkFiller(f); err != nil {
			return fmt.Errorf("dummy_data_param: %w", err)
		}
		l.fillers[i] = f
		if f.GetType() != "constant" {
			l.random = true
		} else if err := fill(t, f, 0); err != nil {
			return fmt.Errorf("dummy_data_param: %w", err)
		}
	}
	return nil
}

// dummyShapes returns the one shape of all tops or the shape of each.
func dummyShapes(p *caffepb.DummyDataParameter, tops int) ([]*caffepb.BlobShape, error) {
	legacy := []struct {
		name string
		dims []uint32
	}{{"num", p.GetNum()}, {"channels", p.GetChannels()}, {"height", p.GetHeight()}, {"width", p.GetWidth()}}
	isLegacy := false
	for _, f := range legacy {
		isLegacy = isLegacy || len(f.dims) > 0
	}
	if !isLegacy {
		if n := len(p.GetShape()); n != 1 && n != tops {
			return nil, fmt.Errorf("dummy_data_param: shape must be given once or once per top: %d tops, %d shapes", tops, n)
		}
		return p.GetShape(), nil
	}
	if len(p.GetShape()) > 0 {
		return nil, fmt.Errorf("dummy_data_param: give either shape or num, channels, height and width, not both")
	}
	shapes := make([]*caffepb.BlobShape, tops)
	for i := range shapes {
		shapes[i] = &caffepb.BlobShape{}
	}
	for _, f := range legacy {
		if n := len(f.dims); n != 1 && n != tops {
			return nil, fmt.Errorf("dummy_data_param: %s must be given once or once per top: %d tops, %d values", f.name, tops, n)
		}
		for i, s := range shapes {
			s.Dim = append(s.Dim, int64(f.dims[min(i, len(f.dims)-1)]))
		}
	}
	return shapes, nil
}

func (l *dummyData) Reshape(_, _ []*tensor.Blob) error { return nil }

func (l *dummyData) Forward(_, top []*tensor.Blob) error {
	if !l.random {
		return nil
	}
	for i, t := range top {
		if f := l.fillers[i]; f.GetType() != "constant" {
			if err := fill(t, f, rng.Key(l.ctx.Seed, l.p.GetName(), uint64(i), l.forwards)); err != nil {
				return fmt.Errorf("dummy_data_param: %w", err)
			}
		}
	}
	l.forwards++
	return nil
}

func (l *dummyData) Backward(_ []*tensor.Blob, _ []bool, _ []*tensor.Blob) error { return nil }

// Cursor implements Stateful.
func (l *dummyData) Cursor() *caffepb.LayerCursor { return forwardsCursor(l.p, l.forwards) }

// SetCursor implements Stateful.
func (l *dummyData) SetCursor(c *caffepb.LayerCursor) error {
	l.forwards = c.GetForwards()
	return nil
}

// forwardsCursor is the position of a layer that only counts forward passes.
func forwardsCursor(p *caffepb.LayerParameter, forwards uint64) *caffepb.LayerCursor {
	name := p.GetName()
	return &caffepb.LayerCursor{Name: &name, Forwards: &forwards}
}
