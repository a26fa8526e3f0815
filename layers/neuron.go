package layers

import (
	"crema/internal/par"
	"crema/tensor"
)

// neuron is what layers have in common that compute each element of the top
// from the same element of the bottom (Caffe's neuron_layer.cpp), also in place.
type neuron struct {
	base
	// forward computes y from x, which may be the same slice.
	forward func(x, y []float32)
	// backward computes dx from dy, which may be the same slice. It reads x only
	// with keepsBottom or notInPlace, y only with readsTop. nil if there is no
	// gradient.
	backward    func(x, y, dy, dx []float32)
	keepsBottom bool // in place, x is kept
	notInPlace  bool
	readsTop    bool
	kept        *tensor.Blob
	pass        neuronPass
}

// neuronPass is one Forward, or one Backward if dy is not nil.
type neuronPass struct {
	l            *neuron
	x, y, dy, dx []float32
	kept         []float32 // where Forward copies x to, unless nil
}

// Do implements par.Job.
func (j *neuronPass) Do(task int) {
	lo, hi := elemRange(len(j.x), task)
	x, y := j.x[lo:hi], j.y[lo:hi]
	if j.dy != nil {
		j.l.backward(x, y, j.dy[lo:hi], j.dx[lo:hi])
		return
	}
	if j.kept != nil {
		copy(j.kept[lo:hi], x)
	}
	j.l.forward(x, y)
}

func (l *neuron) Reshape(bottom, top []*tensor.Blob) error {
	if l.notInPlace {
		if err := refuseInPlace(bottom, top); err != nil {
			return err
		}
	}
	top[0].ReshapeLike(bottom[0])
	if l.keepsBottom && bottom[0] == top[0] {
		if l.kept == nil {
			l.kept = tensor.New()
		}
		l.kept.ReshapeLike(bottom[0])
	}
	return nil
}

// Fit implements LayoutTaker.
func (l *neuron) Fit(in, out tensor.Layout) Fit { return sameLayout(in, out) }

// SpoiledBy implements TopReader.
func (l *neuron) SpoiledBy(string) bool { return l.readsTop }

func (l *neuron) Forward(bottom, top []*tensor.Blob) error {
	j := neuronPass{x: bottom[0].ReadData(), y: top[0].Data()}
	if l.keepsBottom && bottom[0] == top[0] {
		j.kept = l.kept.Data()
	}
	l.run(j)
	return nil
}

func (l *neuron) Backward(top []*tensor.Blob, propagateDown []bool, bottom []*tensor.Blob) error {
	if !propagateDown[0] {
		return nil
	}
	if l.backward == nil {
		return refuseGradient(propagateDown)
	}
	x := bottom[0]
	if l.keepsBottom && x == top[0] {
		x = l.kept
	}
	l.run(neuronPass{x: x.ReadData(), y: top[0].ReadData(), dy: top[0].Diff(), dx: bottom[0].Diff()})
	return nil
}

func (l *neuron) run(j neuronPass) {
	l.pass = j
	l.pass.l = l
	par.Run(0, elemTasks(len(j.x)), &l.pass)
	l.pass = neuronPass{}
}
