package layers

import (
	"errors"
	"fmt"

	"crema/asm"
	"crema/prototxt/caffepb"
	"crema/tensor"
)

func init() {
	Register(Type{
		Name:            "LSTMUnit",
		New:             newLSTMUnit,
		Bottoms:         Exactly(3),
		Tops:            Exactly(2),
		NoForceBackward: []int{2},
	})
}

// lstmUnit is one time step of an LSTM without its weights (Caffe's
// lstm_unit_layer.cpp). Bottoms are the cells c' before it (1×N×D), what the gates
// get (1×N×4D: of each stream input i, forget f, output o, and g, D of each), and
// cont (1×N); tops are the cells c and the hidden state h after it, 1×N×D:
//
//	c = cont·σ(f)·c' + σ(i)·tanh(g)
//	h = σ(o)·tanh(c)
//
// As in Caffe, the gradient of f is right where cont is 0 or 1: it is that of a
// sigmoid with the value cont·σ(f). cont has none. There are no fields.
type lstmUnit struct {
	base
	streams, size int
	act           []float32 // of the gates, N×4D
	unused        []float32 // gradients that nobody wants
	pass          lstmUnitPass
	loop          spans[*lstmUnit]
}

// lstmUnitPass has the arrays of a pass.
type lstmUnitPass struct {
	cont, before, c, h    []float32
	dc, dh, dbefore, dact []float32
}

func newLSTMUnit(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &lstmUnit{base: newBase(p, ctx)}
	l.warnUnused()
	return l, nil
}

func (l *lstmUnit) Reshape(bottom, top []*tensor.Blob) error {
	if err := refuseInPlace(bottom, top); err != nil {
		return err
	}
	c := bottom[0]
	if c.Axes() != 3 || c.Dim(0) != 1 {
		return fmt.Errorf("bottom 0, the cells, must be 1 × streams × cells, not %s", tensor.FormatShape(c.Shape()))
	}
	n, d := c.Dim(1), c.Dim(2)
	for i, want := range [][]int{{1, n, 4 * d}, {1, n}} {
		if b := bottom[i+1]; !b.HasShape(want...) {
			return fmt.Errorf("bottom %d is %s, not %s, for cells of %s", i+1, tensor.FormatShape(b.Shape()), tensor.FormatShape(want), tensor.FormatShape(c.Shape()))
		}
	}
	for _, t := range top {
		t.ReshapeLike(c)
	}
	resize(&l.act, 4*n*d)
	l.streams, l.size = n, d
	return nil
}

// SpoiledBy implements TopReader: Backward reads the cells.
func (l *lstmUnit) SpoiledBy(string) bool { return true }

func (l *lstmUnit) Forward(bottom, top []*tensor.Blob) error {
	copy(l.act, bottom[1].ReadData())
	l.run((*lstmUnit).forward, lstmUnitPass{cont: bottom[2].ReadData(), before: bottom[0].ReadData(), c: top[0].Data(), h: top[1].Data()})
	return nil
}

func (l *lstmUnit) Backward(top []*tensor.Blob, propagateDown []bool, bottom []*tensor.Blob) error {
	if propagateDown[2] {
		return errors.New("cannot propagate to cont (bottom 2): set propagate_down to false for it")
	}
	if !propagateDown[0] && !propagateDown[1] {
		return nil
	}
	// Both come at once.
	diff := func(i int) []float32 {
		if propagateDown[i] {
			return bottom[i].Diff()
		}
		resize(&l.unused, bottom[i].Count())
		return l.unused
	}
	l.run((*lstmUnit).backward, lstmUnitPass{before: bottom[0].ReadData(), c: top[0].ReadData(), dc: top[0].Diff(), dh: top[1].Diff(), dbefore: diff(0), dact: diff(1)})
	return nil
}

func (l *lstmUnit) run(do func(l *lstmUnit, lo, hi int), p lstmUnitPass) {
	l.pass = p
	l.loop.run(l, l.streams*l.size, stepGrain, do)
	l.pass = lstmUnitPass{}
}

func (l *lstmUnit) forward(lo, hi int) {
	p := &l.pass
	rowParts(lo, hi, l.size, func(n, from, to int) {
		lo, hi := n*l.size+from, n*l.size+to
		lstmGatesOf(l.act, l.size, n, from, to).forward(p.cont[n], p.before[lo:hi], p.c[lo:hi], p.h[lo:hi])
	})
}

func (l *lstmUnit) backward(lo, hi int) {
	p := &l.pass
	rowParts(lo, hi, l.size, func(n, from, to int) {
		lo, hi := n*l.size+from, n*l.size+to
		d := lstmGatesOf(p.dact, l.size, n, from, to)
		dc := p.dbefore[lo:hi]
		copy(dc, p.dc[lo:hi])
		lstmGatesOf(l.act, l.size, n, from, to).backward(d, p.before[lo:hi], p.c[lo:hi], p.dh[lo:hi], nil, 0, dc)
	})
}

// lstmGates are the gates for some elements of a stream's hidden state.
type lstmGates struct{ i, f, o, g []float32 }

// lstmGatesOf returns those of elements lo ≤ d < hi of stream n out of an array
// of the four gates of each stream, one after the other, size elements each.
func lstmGatesOf(act []float32, size, n, lo, hi int) lstmGates {
	act = act[4*n*size:][:4*size]
	return lstmGates{act[lo:hi], act[size+lo : size+hi], act[2*size+lo : 2*size+hi], act[3*size+lo : 3*size+hi]}
}

// forward computes cells and hidden state from the cells before, and makes of
// what the gates get what they let through; of f that times cont.
func (a lstmGates) forward(cont float32, before, c, h []float32) {
	asm.Sigmoid(a.i, a.i)
	asm.Sigmoid(a.f, a.f)
	asm.Sigmoid(a.o, a.o)
	asm.Tanh(a.g, a.g)
	for j := range c {
		f := cont * a.f[j]
		a.f[j] = f
		c[j] = float32(f*before[j]) + float32(a.i[j]*a.g[j])
	}
	asm.Tanh(c, h)
	for j, o := range a.o {
		h[j] *= o
	}
}

// backward computes the gradient of what the gates got, after a forward. The
// gradient of the hidden state is dh, plus cont times later unless that is nil;
// dc is that of the cells, from elsewhere than the hidden state, and becomes that
// of the cells before.
func (a lstmGates) backward(d lstmGates, before, c, dh, later []float32, cont float32, dc []float32) {
	asm.Tanh(c, d.o)
	for j, dh := range dh {
		if later != nil {
			dh += float32(cont * later[j])
		}
		i, f, o, g, tc := a.i[j], a.f[j], a.o[j], a.g[j], d.o[j]
		dc1 := dc[j] + float32(float32(dh*o)*(1-float32(tc*tc)))
		dc[j] = dc1 * f
		d.i[j] = float32(dc1*g) * float32(i*(1-i))
		d.f[j] = float32(dc1*before[j]) * float32(f*(1-f))
		d.o[j] = float32(dh*tc) * float32(o*(1-o))
		d.g[j] = float32(dc1*i) * (1 - float32(g*g))
	}
}
