package layers

import (
	"fmt"

	"crema/internal/par"
	"crema/prototxt/caffepb"
	"crema/tensor"
)

func init() {
	Register(Type{
		Name:    "Crop",
		New:     newCrop,
		Bottoms: Exactly(2),
		Tops:    Exactly(1),
	})
}

// crop cuts a box out of its first bottom, as large as the second from an axis
// on and as the first before it (Caffe's crop_layer.cpp). Only the shape of the
// second matters: its gradient is zero. Fields of crop_param:
//
//	axis (2)    the first axis that is cut; negative counts from the end
//	offset (0)  where the box begins: one number for all these axes, or one for
//	            each
type crop struct {
	base
	box   cropPass // without the arrays
	pass  cropPass
	clear runsPass
}

// cropPass copies between a blob and a box in it. Runs of width elements are
// next to each other in both.
type cropPass struct {
	width  int
	origin int      // of the first run in the blob
	axes   [][2]int // the axes before the runs: extent in the box, stride in the blob
	back   bool     // from the box to the blob
	blob   []float32
	cut    []float32
}

// Do implements par.Job.
func (j *cropPass) Do(task int) {
	lo, hi := elemRange(len(j.cut), task)
	for row, at := lo/j.width, lo%j.width; lo < hi; row, at = row+1, 0 {
		n := min(j.width-at, hi-lo)
		in, cut := j.blob[j.offset(row)+at:][:n], j.cut[lo:lo+n]
		if j.back {
			copy(in, cut)
		} else {
			copy(cut, in)
		}
		lo += n
	}
}

// offset returns where a run of the box begins in the blob.
func (j *cropPass) offset(row int) int {
	o := j.origin
	for i := len(j.axes) - 1; i >= 0; i-- {
		extent, stride := j.axes[i][0], j.axes[i][1]
		o += row % extent * stride
		row /= extent
	}
	return o
}

func newCrop(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &crop{base: newBase(p, ctx)}
	l.warnUnused("crop_param")
	return l, nil
}

func (l *crop) Reshape(bottom, top []*tensor.Blob) error {
	if err := refuseInPlace(bottom, top); err != nil {
		return err
	}
	b := bottom[0]
	shape, offsets, err := l.cutOut(b, bottom[1])
	if err != nil {
		return fmt.Errorf("crop_param: %w", err)
	}
	if err := reshape(top[0], shape...); err != nil {
		return err
	}
	whole := b.Shape()
	if b.Layout() == tensor.Blocked {
		for _, s := range [][]int{whole, shape, offsets} {
			s[1] /= tensor.Lanes
		}
		whole, shape, offsets = append(whole, tensor.Lanes), append(shape, tensor.Lanes), append(offsets, 0)
	}
	l.box = boxIn(whole, shape, offsets)
	return nil
}

// cutOut returns shape and place of the box.
func (l *crop) cutOut(b, like *tensor.Blob) (shape, offsets []int, err error) {
	p := l.p.GetCropParam()
	axis, err := b.Axis(int(p.GetAxis()))
	if err != nil {
		return nil, nil, err
	}
	shape, offsets = b.Shape(), make([]int, b.Axes())
	if like.Axes() < len(shape) {
		return nil, nil, fmt.Errorf("the second bottom must have %d axes, as the first, not shape %s", len(shape), tensor.FormatShape(like.Shape()))
	}
	given := p.GetOffset()
	if n := len(shape) - axis; len(given) > 1 && len(given) != n {
		return nil, nil, fmt.Errorf("%d offsets for %d axes (%d to %d); give one for all, or one for each", len(given), n, axis, len(shape)-1)
	}
	for i := axis; i < len(shape); i++ {
		offset := uint32(0)
		switch {
		case len(given) == 1:
			offset = given[0]
		case len(given) > 1:
			offset = given[i-axis]
		}
		size := like.Dim(i)
		if int64(offset)+int64(size) > int64(shape[i]) {
			return nil, nil, fmt.Errorf("axis %d: a size of %d from offset %d on does not fit into the %d of bottom %s",
				i, size, offset, shape[i], tensor.FormatShape(b.Shape()))
		}
		shape[i], offsets[i] = size, int(offset)
	}
	return shape, offsets, nil
}

// boxIn describes the copies between a row-major blob and a box in it.
func boxIn(whole, box, offsets []int) cropPass {
	j := cropPass{width: 1}
	stride, runs := 1, true // whether still within a run
	for i := len(whole) - 1; i >= 0; i-- {
		j.origin += offsets[i] * stride
		if runs {
			j.width *= box[i]
		} else {
			j.axes = append([][2]int{{box[i], stride}}, j.axes...)
		}
		runs = runs && box[i] == whole[i]
		stride *= whole[i]
	}
	return j
}

// Fit implements LayoutTaker: blocks must not be cut.
func (l *crop) Fit(in, out tensor.Layout) Fit {
	p := l.p.GetCropParam()
	if in == tensor.Blocked {
		first := uint32(0) // offset of the channels
		switch given, axis := p.GetOffset(), p.GetAxis(); {
		case axis > 1 || axis == -1 || axis == -2 || len(given) == 0:
		case len(given) == 1:
			first = given[0]
		default:
			first = given[len(given)-3]
		}
		if first%tensor.Lanes != 0 {
			return Unfit
		}
	}
	return sameLayout(in, out)
}

func (l *crop) Forward(bottom, top []*tensor.Blob) error {
	j := l.box
	j.blob, j.cut = bottom[0].ReadData(), top[0].Data()
	l.run(j)
	return nil
}

func (l *crop) Backward(top []*tensor.Blob, propagateDown []bool, bottom []*tensor.Blob) error {
	if propagateDown[0] {
		dx := bottom[0].Diff()
		l.clear.clear(dx)
		j := l.box
		j.back, j.blob, j.cut = true, dx, top[0].Diff()
		l.run(j)
	}
	if propagateDown[1] {
		clearGradient(bottom[1])
	}
	return nil
}

func (l *crop) run(j cropPass) {
	l.pass = j
	par.Run(0, elemTasks(len(j.cut)), &l.pass)
	l.pass = cropPass{}
}
