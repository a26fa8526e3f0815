package layers

import (
	"fmt"
	"slices"

	"crema/asm"
	"crema/internal/par"
	"crema/prototxt/caffepb"
	"crema/tensor"
)

func init() {
	Register(Type{
		Name:    "Softmax",
		New:     newSoftmax,
		Bottoms: Exactly(1),
		Tops:    Exactly(1),
	})
}

// softmax computes y = exp(x) / Σ exp(x) along an axis (Caffe's
// softmax_layer.cpp), also in place. Fields of softmax_param:
//
//	axis (1)  negative counts from the end
//	engine    accepted, without effect
type softmax struct {
	base
	dims axisDims
}

func newSoftmax(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &softmax{base: newBase(p, ctx)}
	l.warnUnused("softmax_param")
	return l, nil
}

func (l *softmax) Reshape(bottom, top []*tensor.Blob) error {
	var err error
	if l.dims, err = dimsAround(bottom[0], softmaxAxis(l.p)); err != nil {
		return fmt.Errorf("softmax_param: %w", err)
	}
	top[0].ReshapeLike(bottom[0])
	return nil
}

func softmaxAxis(p *caffepb.LayerParameter) int { return int(p.GetSoftmaxParam().GetAxis()) }

func (l *softmax) Forward(bottom, top []*tensor.Blob) error {
	l.dims.softmax(bottom[0].ReadData(), top[0].Data())
	return nil
}

// Backward: dx = (dy − Σ dy·y)·y.
func (l *softmax) Backward(top []*tensor.Blob, propagateDown []bool, bottom []*tensor.Blob) error {
	if !propagateDown[0] {
		return nil
	}
	d, y, dy, dx := l.dims, top[0].ReadData(), top[0].Diff(), bottom[0].Diff()
	d.each(func(at, width int) {
		var dot [columns]float64
		for c := range d.channels {
			o := at + c*d.inner
			for k, v := range y[o : o+width] {
				dot[k] += float64(dy[o+k]) * float64(v)
			}
		}
		for c := range d.channels {
			o := at + c*d.inner
			for k, v := range y[o : o+width] {
				dx[o+k] = (dy[o+k] - float32(dot[k])) * v
			}
		}
	})
	return nil
}

// axisDims sees a blob as outer × channels × inner around one axis.
type axisDims struct{ outer, channels, inner int }

func dimsAround(b *tensor.Blob, axis int) (axisDims, error) {
	a, err := b.Axis(axis)
	if err != nil {
		return axisDims{}, err
	}
	return axisDims{b.CountRange(0, a), b.Dim(a), b.CountFrom(a + 1)}, nil
}

// columns is the most neighbouring positions that each handles together, so
// that memory is read in runs although the sums go along the axis.
const columns = 64

// each calls f, from several goroutines, for runs of up to columns positions
// next to each other; at is the offset of the run's first element in channel
// 0, and c·inner further lies channel c. A position's result never depends on
// the others of its run.
func (d axisDims) each(f func(at, width int)) {
	par.For(d.outer*d.inner, grainFor(d.channels), func(lo, hi int) {
		for lo < hi {
			i, k := lo/d.inner, lo%d.inner
			width := min(columns, d.inner-k, hi-lo)
			f(i*d.channels*d.inner+k, width)
			lo += width
		}
	})
}

// softmax computes the softmax of x into y, which may be x. The maximum is
// subtracted first so that exp cannot overflow.
func (d axisDims) softmax(x, y []float32) {
	if d.channels == 0 {
		return
	}
	if d.inner == 1 {
		par.For(d.outer, grainFor(d.channels), func(lo, hi int) {
			for i := lo; i < hi; i++ {
				softmaxRow(x[i*d.channels:][:d.channels], y[i*d.channels:][:d.channels])
			}
		})
		return
	}
	d.each(func(at, width int) {
		var top [columns]float32
		var sum [columns]float64
		copy(top[:width], x[at:])
		for c := 1; c < d.channels; c++ {
			for k, v := range x[at+c*d.inner:][:width] {
				top[k] = max(top[k], v)
			}
		}
		for c := range d.channels {
			o := at + c*d.inner
			row := y[o : o+width]
			for k, v := range x[o : o+width] {
				row[k] = v - top[k]
			}
			asm.Exp(row, row)
			for k, e := range row {
				sum[k] += float64(e)
			}
		}
		for c := range d.channels {
			row := y[at+c*d.inner:][:width]
			for k := range row {
				row[k] = float32(float64(row[k]) / sum[k])
			}
		}
	})
}

// softmaxRow is softmax of one position, whose channels lie next to each other.
func softmaxRow(x, y []float32) {
	top := slices.Max(x)
	for i, v := range x {
		y[i] = v - top
	}
	asm.Exp(y, y)
	sum := asm.Sum(y)
	for i, e := range y {
		y[i] = float32(float64(e) / sum)
	}
}
