package layers

import (
	"fmt"

	"crema/asm"
	"crema/prototxt/caffepb"
	"crema/tensor"
)

func init() {
	Register(Type{
		Name:    "Reduction",
		New:     newReduction,
		Bottoms: Exactly(1),
		Tops:    Exactly(1),
	})
}

// reduction makes one number of all elements from an axis on (Caffe's
// reduction_layer.cpp); the top has the axes before it. Fields of
// reduction_param:
//
//	operation (SUM)  SUM, ASUM (of magnitudes), SUMSQ (of squares), MEAN
//	axis (0)         the first axis that goes; negative counts from the end
//	coeff (1)        multiplies the result
type reduction struct {
	base
	op           caffepb.ReductionParameter_ReductionOp
	coeff        float64 // divided by the number of elements for MEAN
	rows, length int     // numbers of the top, elements for each
	parts        []float64

	// While a pass runs.
	x, dy, dx []float32
	loop      spans[*reduction]
}

func newReduction(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &reduction{base: newBase(p, ctx), op: p.GetReductionParam().GetOperation()}
	l.warnUnused("reduction_param")
	switch l.op {
	case caffepb.ReductionParameter_SUM, caffepb.ReductionParameter_ASUM, caffepb.ReductionParameter_SUMSQ, caffepb.ReductionParameter_MEAN:
		return l, nil
	}
	return nil, fmt.Errorf("reduction_param: unknown operation %v", l.op)
}

func (l *reduction) Reshape(bottom, top []*tensor.Blob) error {
	if err := refuseInPlace(bottom, top); err != nil {
		return err
	}
	b, p := bottom[0], l.p.GetReductionParam()
	axis, err := b.Axis(int(p.GetAxis()))
	if err != nil {
		return fmt.Errorf("reduction_param: %w", err)
	}
	l.rows, l.length = b.CountRange(0, axis), b.CountFrom(axis)
	l.coeff = float64(p.GetCoeff())
	if l.op == caffepb.ReductionParameter_MEAN {
		l.coeff /= float64(l.length)
	}
	l.parts = make([]float64, l.rows*l.chunks())
	return reshape(top[0], b.Shape()[:axis]...)
}

// chunks is the number of parts that the elements for one number are summed in.
func (l *reduction) chunks() int { return (l.length + lossChunk - 1) / lossChunk }

func (l *reduction) Forward(bottom, top []*tensor.Blob) error {
	l.x = bottom[0].ReadData()
	l.loop.run(l, len(l.parts), grainFor(min(l.length, lossChunk)), (*reduction).sum)
	l.x = nil
	y, chunks := top[0].Data(), l.chunks()
	for i := range y {
		var sum float64
		for _, s := range l.parts[i*chunks : (i+1)*chunks] {
			sum += s
		}
		y[i] = float32(sum * l.coeff)
	}
	return nil
}

// sum does parts lo to hi.
func (l *reduction) sum(lo, hi int) {
	chunks := l.chunks()
	for i := lo; i < hi; i++ {
		row, from := i/chunks*l.length, i%chunks*lossChunk
		x := l.x[row+from : row+min(from+lossChunk, l.length)]
		switch l.op {
		case caffepb.ReductionParameter_ASUM:
			l.parts[i] = asm.Asum(x)
		case caffepb.ReductionParameter_SUMSQ:
			l.parts[i] = asm.Sumsq(x)
		default:
			l.parts[i] = asm.Sum(x)
		}
	}
}

// Backward: dx is dy·coeff, times the sign of x for ASUM (0 for 0), times 2·x for
// SUMSQ, divided by the number of elements for MEAN.
func (l *reduction) Backward(top []*tensor.Blob, propagateDown []bool, bottom []*tensor.Blob) error {
	if !propagateDown[0] {
		return nil
	}
	l.x, l.dy, l.dx = bottom[0].ReadData(), top[0].Diff(), bottom[0].Diff()
	l.loop.run(l, len(l.dx), elemGrain, (*reduction).spread)
	l.x, l.dy, l.dx = nil, nil, nil
	return nil
}

func (l *reduction) spread(lo, hi int) {
	for lo < hi {
		row := lo / l.length
		end := min((row+1)*l.length, hi)
		x, dx, w := l.x[lo:end], l.dx[lo:end], float32(float64(l.dy[row])*l.coeff)
		switch l.op {
		case caffepb.ReductionParameter_ASUM:
			for i, v := range x {
				switch {
				case v > 0:
					dx[i] = w
				case v < 0:
					dx[i] = -w
				default:
					dx[i] = 0
				}
			}
		case caffepb.ReductionParameter_SUMSQ:
			for i, v := range x {
				dx[i] = 2 * w * v
			}
		default:
			for i := range dx {
				dx[i] = w
			}
		}
		lo = end
	}
}
