package layers

import (
	"crema/asm"
	"crema/internal/par"
	"crema/tensor"
)

// NewReorder returns a layer of one bottom and one top that have the same shape
// and different layouts, and copies values and gradients from one to the other.
// The net inserts it; a file cannot, so it is not in the registry.
func NewReorder(ctx *Context) Layer { return &reorder{base: base{ctx: ctx}} }

type reorder struct {
	base
	pass reorderPass
}

// reorderPass brings arrays of blocks of 16 planes into the other order.
type reorderPass struct {
	toBlocked bool
	pixels    int // of a plane
	from, to  []float32
}

// reorderPixels is the number of pixels of a block that make a task.
const reorderPixels = 1 << 10

func (j *reorderPass) parts() int { return (j.pixels + reorderPixels - 1) / reorderPixels }

// Do implements par.Job.
func (j *reorderPass) Do(task int) {
	const l = tensor.Lanes
	block := task / j.parts() * l * j.pixels
	lo := task % j.parts() * reorderPixels
	n := min(reorderPixels, j.pixels-lo)
	if j.toBlocked {
		asm.Transpose(l, n, j.from[block+lo:], j.pixels, j.to[block+lo*l:], l)
	} else {
		asm.Transpose(n, l, j.from[block+lo*l:], l, j.to[block+lo:], j.pixels)
	}
}

// run copies from into to, which has the given layout.
func (l *reorder) run(b *tensor.Blob, from, to []float32, layout tensor.Layout) {
	l.pass = reorderPass{layout == tensor.Blocked, b.CountFrom(2), from, to}
	par.Run(0, b.CountRange(0, 2)/tensor.Lanes*l.pass.parts(), &l.pass)
	l.pass = reorderPass{}
}

func (l *reorder) Reshape(bottom, top []*tensor.Blob) error {
	if err := tensor.Blocked.Check(bottom[0].Shape()); err != nil {
		return err
	}
	top[0].ReshapeLike(bottom[0])
	return nil
}

func (l *reorder) Forward(bottom, top []*tensor.Blob) error {
	l.run(bottom[0], bottom[0].ReadData(), top[0].Data(), top[0].Layout())
	return nil
}

func (l *reorder) Backward(top []*tensor.Blob, propagateDown []bool, bottom []*tensor.Blob) error {
	if propagateDown[0] {
		l.run(bottom[0], top[0].Diff(), bottom[0].Diff(), bottom[0].Layout())
	}
	return nil
}
