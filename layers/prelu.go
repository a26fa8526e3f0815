package layers

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"crema/asm"
	"crema/prototxt/caffepb"
	"crema/tensor"
)

func init() {
	Register(Type{
		Name:    "PReLU",
		New:     newPReLU,
		Bottoms: Exactly(1),
		Tops:    Exactly(1),
	})
}

// prelu computes y = max(x, 0) + slope·min(x, 0), where the slope is a parameter:
// one for each channel (axis 1), or a scalar with channel_shared (Caffe's
// prelu_layer.cpp), also in place. Fields of prelu_param:
//
//	filler (constant 0.25)  of the slopes
//	channel_shared (false)
type prelu struct {
	base
	shared bool
	view   channelView
	kept   *tensor.Blob // the bottom's values of the last Forward, if in place
	sum    []float64
	pass   preluPass
}

// preluPass is one Forward, or one Backward if dy is not nil.
type preluPass struct {
	l        *prelu
	slope    []float32
	x        []float32
	y, keep  []float32
	dy, dx   []float32
	gradient bool // of the slopes is wanted
}

// Do implements par.Job.
func (j *preluPass) Do(task int) {
	v := &j.l.view
	for i, end := v.each(task); i < end; i++ {
		p := v.piece(i)
		if j.dy == nil {
			if j.keep != nil {
				v.copy(p, j.x, j.keep)
			}
			j.forward(v, p)
			continue
		}
		if j.gradient {
			j.slopes(v, p)
		}
		if j.dx != nil {
			j.backward(v, p)
		}
	}
}

func newPReLU(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &prelu{base: newBase(p, ctx), shared: p.GetPreluParam().GetChannelShared(), kept: tensor.New()}
	l.warnUnused("prelu_param")
	return l, nil
}

// channels returns how many slopes a blob needs.
func (l *prelu) channels(b *tensor.Blob) (int, error) {
	if b.Axes() < 2 {
		return 0, fmt.Errorf("bottom %s has no channels (axis 1)", tensor.FormatShape(b.Shape()))
	}
	if l.shared {
		return 1, nil
	}
	return b.Dim(1), nil
}

// Setup creates the slopes.
func (l *prelu) Setup(bottom, _ []*tensor.Blob) error {
	n, err := l.channels(bottom[0])
	if err != nil {
		return err
	}
	shape := []int{n}
	if l.shared {
		shape = nil
	}
	filler := l.p.GetPreluParam().GetFiller()
	if filler == nil {
		filler = &caffepb.FillerParameter{Value: proto.Float32(0.25)}
	}
	l.sum = make([]float64, n)
	return l.makeParams(paramSpec{"slope", shape, filler})
}

func (l *prelu) Reshape(bottom, top []*tensor.Blob) error {
	b := bottom[0]
	n, err := l.channels(b)
	if err != nil {
		return err
	}
	if n != len(l.sum) {
		return fmt.Errorf("bottom %s does not have %d channels (axis 1), for which the slopes are", tensor.FormatShape(b.Shape()), len(l.sum))
	}
	top[0].ReshapeLike(b)
	l.kept.ReshapeLike(b)
	if l.shared {
		l.view.shape(1, 1, b.Count(), false)
	} else {
		l.view.shape(b.Dim(0), n, b.CountFrom(2), b.Layout() == tensor.Blocked)
	}
	l.view.makePartials()
	return nil
}

// Fit implements LayoutTaker.
func (l *prelu) Fit(in, out tensor.Layout) Fit { return sameLayout(in, out) }

func (l *prelu) Forward(bottom, top []*tensor.Blob) error {
	j := preluPass{slope: l.params[0].ReadData(), x: bottom[0].ReadData(), y: top[0].Data()}
	if bottom[0] == top[0] {
		j.keep = l.kept.Data()
	}
	l.run(j)
	return nil
}

func (l *prelu) Backward(top []*tensor.Blob, propagateDown []bool, bottom []*tensor.Blob) error {
	x := bottom[0]
	if x == top[0] {
		x = l.kept
	}
	j := preluPass{slope: l.params[0].ReadData(), x: x.ReadData(), dy: top[0].Diff(), gradient: l.ParamPropagateDown(0)}
	if propagateDown[0] {
		j.dx = bottom[0].Diff()
	}
	l.run(j)
	if j.gradient {
		l.view.sums(1, l.sum)
		d := l.params[0].Diff()
		for c, s := range l.sum {
			d[c] += float32(s)
		}
	}
	return nil
}

func (l *prelu) run(j preluPass) {
	l.pass = j
	l.pass.l = l
	l.view.run(&l.pass)
	l.pass = preluPass{}
}

func (j *preluPass) forward(v *channelView, p channelPiece) {
	if v.form != inColumns {
		slope := v.lanes(j.slope, p)
		asm.LaneReLU(&slope, j.x[p.at:p.at+p.n], j.y[p.at:p.at+p.n])
		return
	}
	slope := j.slope[p.channel:][:p.width]
	for at := p.at; at < p.at+p.n/p.width*p.stride; at += p.stride {
		x, y := j.x[at:][:len(slope)], j.y[at:][:len(slope)]
		for i, s := range slope {
			positive, negative := parts(x[i])
			y[i] = positive + float32(s*negative)
		}
	}
}

func (j *preluPass) backward(v *channelView, p channelPiece) {
	if v.form != inColumns {
		slope := v.lanes(j.slope, p)
		asm.LaneReLUBackward(&slope, j.x[p.at:p.at+p.n], j.dy[p.at:p.at+p.n], j.dx[p.at:p.at+p.n])
		return
	}
	slope := j.slope[p.channel:][:p.width]
	for at := p.at; at < p.at+p.n/p.width*p.stride; at += p.stride {
		x, dy, dx := j.x[at:][:len(slope)], j.dy[at:][:len(slope)], j.dx[at:][:len(slope)]
		for i, s := range slope {
			if x[i] > 0 {
				s = 1
			}
			dx[i] = s * dy[i]
		}
	}
}

// slopes leaves the sums of min(x, 0)·dy as reduction 1.
func (j *preluPass) slopes(v *channelView, p channelPiece) {
	if v.form != inColumns {
		const run = 1 << 10 // of whole pixels
		var buf [run]float32
		var sum, dot [tensor.Lanes]float64
		x, dy := j.x[p.at:p.at+p.n], j.dy[p.at:p.at+p.n]
		for len(x) > 0 {
			n := min(run, len(x))
			negatives := buf[:n]
			for i, x := range x[:n] {
				_, negatives[i] = parts(x)
			}
			asm.LaneSums(negatives, dy[:n], &sum, &dot)
			x, dy = x[n:], dy[n:]
		}
		v.leave(p, &sum, &dot)
		return
	}
	var buf [channelRun]float64
	sum := buf[:p.width]
	for at := p.at; at < p.at+p.n/p.width*p.stride; at += p.stride {
		x, dy := j.x[at:][:len(sum)], j.dy[at:][:len(sum)]
		for i := range sum {
			_, negative := parts(x[i])
			sum[i] += float64(negative) * float64(dy[i])
		}
	}
	copy(v.partial(1, p), sum)
}
