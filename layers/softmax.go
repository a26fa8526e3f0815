package layers

import (
	"fmt"
	"slices"

	"crema/asm"
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
	pass softmaxPass
}

func newSoftmax(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &softmax{base: newBase(p, ctx)}
	l.warnUnused("softmax_param")
	return l, nil
}

func (l *softmax) Reshape(bottom, top []*tensor.Blob) error {
	var err error
	if l.pass.axisDims, err = dimsAround(bottom[0], softmaxAxis(l.p)); err != nil {
		return fmt.Errorf("softmax_param: %w", err)
	}
	top[0].ReshapeLike(bottom[0])
	return nil
}

func softmaxAxis(p *caffepb.LayerParameter) int { return int(p.GetSoftmaxParam().GetAxis()) }

func (l *softmax) Forward(bottom, top []*tensor.Blob) error {
	l.pass.forward(bottom[0].ReadData(), top[0].Data())
	return nil
}

// SpoiledBy implements TopReader.
func (l *softmax) SpoiledBy(string) bool { return true }

func (l *softmax) Backward(top []*tensor.Blob, propagateDown []bool, bottom []*tensor.Blob) error {
	if propagateDown[0] {
		l.pass.backward(top[0].ReadData(), top[0].Diff(), bottom[0].Diff())
	}
	return nil
}

// columns is the most neighbouring positions that are handled together, so that
// memory is read in runs although the sums go along the axis.
const columns = 64

// run returns the first run of neighbouring positions among lo to hi, of up to
// columns: width positions, and the offset at of the first one's element in
// channel 0; c·inner further lies channel c.
func (d axisDims) run(lo, hi int) (at, width int) {
	i, k := lo/d.inner, lo%d.inner
	return i*d.channels*d.inner + k, min(columns, d.inner-k, hi-lo)
}

// softmaxPass computes softmaxes around an axis. A position's result never
// depends on others.
type softmaxPass struct {
	axisDims
	x, y, dy, dx []float32
	loop         spans[*softmaxPass]
}

// forward computes the softmax of x into y, which may be x.
func (s *softmaxPass) forward(x, y []float32) {
	s.x, s.y = x, y
	switch {
	case s.channels == 0:
	case s.inner == 1:
		s.loop.run(s, s.outer, grainFor(s.channels), (*softmaxPass).forwardRows)
	default:
		s.loop.run(s, s.outer*s.inner, grainFor(s.channels), (*softmaxPass).forwardColumns)
	}
	s.x, s.y = nil, nil
}

// forwardColumns subtracts the maximum first, so that exp cannot overflow.
func (s *softmaxPass) forwardColumns(lo, hi int) {
	for lo < hi {
		at, width := s.run(lo, hi)
		lo += width
		var top [columns]float32
		var sum [columns]float64
		copy(top[:width], s.x[at:])
		for c := 1; c < s.channels; c++ {
			for k, v := range s.x[at+c*s.inner:][:width] {
				top[k] = max(top[k], v)
			}
		}
		for c := range s.channels {
			o := at + c*s.inner
			row := s.y[o : o+width]
			for k, v := range s.x[o : o+width] {
				row[k] = v - top[k]
			}
			asm.Exp(row, row)
			for k, e := range row {
				sum[k] += float64(e)
			}
		}
		for c := range s.channels {
			row := s.y[at+c*s.inner:][:width]
			for k := range row {
				row[k] = float32(float64(row[k]) / sum[k])
			}
		}
	}
}

// forwardRows is forwardColumns where a position's channels lie next to each
// other.
func (s *softmaxPass) forwardRows(lo, hi int) {
	for i := lo; i < hi; i++ {
		softmaxRow(s.x[i*s.channels:][:s.channels], s.y[i*s.channels:][:s.channels])
	}
}

// backward computes dx = (dy − Σ dy·y)·y.
func (s *softmaxPass) backward(y, dy, dx []float32) {
	s.y, s.dy, s.dx = y, dy, dx
	s.loop.run(s, s.outer*s.inner, grainFor(s.channels), (*softmaxPass).backwardColumns)
	s.y, s.dy, s.dx = nil, nil, nil
}

func (s *softmaxPass) backwardColumns(lo, hi int) {
	for lo < hi {
		at, width := s.run(lo, hi)
		lo += width
		var dot [columns]float64
		for c := range s.channels {
			o := at + c*s.inner
			for k, v := range s.y[o : o+width] {
				dot[k] += float64(s.dy[o+k]) * float64(v)
			}
		}
		for c := range s.channels {
			o := at + c*s.inner
			for k, v := range s.y[o : o+width] {
				s.dx[o+k] = (s.dy[o+k] - float32(dot[k])) * v
			}
		}
	}
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
