package layers

import (
	"crema/asm"
	"crema/internal/par"
	"crema/prototxt/caffepb"
	"crema/tensor"
)

func init() {
	Register(Type{
		Name:    "Split",
		New:     newSplit,
		Bottoms: Exactly(1),
		Tops:    AtLeast(1),
	})
}

// split gives a blob to several consumers (Caffe's split_layer.cpp): the tops
// share the values of the bottom and have gradients of their own, which
// Backward sums. The net inserts it; it has no fields.
type split struct {
	base
	pass splitPass
}

// splitPass sets or adds to a sum.
type splitPass struct {
	set     bool
	dy, sum []float32
}

// Do implements par.Job.
func (j *splitPass) Do(task int) {
	lo, hi := elemRange(len(j.sum), task)
	if j.set {
		copy(j.sum[lo:hi], j.dy[lo:hi])
	} else {
		asm.Add(j.dy[lo:hi], j.sum[lo:hi])
	}
}

func newSplit(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &split{base: newBase(p, ctx)}
	l.warnUnused()
	return l, nil
}

func (l *split) Reshape(bottom, top []*tensor.Blob) error {
	if err := refuseInPlace(bottom, top); err != nil {
		return err
	}
	for _, t := range top {
		t.ReshapeLike(bottom[0])
		t.ShareData(bottom[0])
	}
	return nil
}

// Fit implements LayoutTaker.
func (l *split) Fit(in, out tensor.Layout) Fit { return sameLayout(in, out) }

// Forward shares again: a layer may have given the bottom other storage since.
func (l *split) Forward(bottom, top []*tensor.Blob) error {
	for _, t := range top {
		t.ShareData(bottom[0])
	}
	return nil
}

func (l *split) Backward(top []*tensor.Blob, propagateDown []bool, bottom []*tensor.Blob) error {
	if !propagateDown[0] {
		return nil
	}
	dx := bottom[0].Diff()
	first := true
	for _, t := range top {
		// The gradient of a top that no consumer propagates to is zero, and
		// need not be allocated to say so.
		if !t.HasDiff() {
			continue
		}
		l.pass = splitPass{first, t.Diff(), dx}
		par.Run(0, elemTasks(len(dx)), &l.pass)
		l.pass = splitPass{}
		first = false
	}
	if first {
		clear(dx)
	}
	return nil
}
