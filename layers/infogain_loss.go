package layers

import (
	"errors"
	"fmt"
	"math"

	"crema/prototxt"
	"crema/prototxt/caffepb"
	"crema/tensor"
)

func init() {
	Register(Type{
		Name:            "InfogainLoss",
		New:             newInfogainLoss,
		Bottoms:         Between(2, 3),
		Tops:            Between(1, 2),
		AutoTops:        true,
		Loss:            true,
		NoForceBackward: []int{1, 2},
	})
}

// infogainLoss is the loss of the softmax p of its first bottom when a matrix H
// says how much each class is worth for each label (Caffe's
// infogain_loss_layer.cpp); the identity makes it SoftmaxWithLoss:
//
//	loss = −Σ Σ_k H[label, k]·log(max(p[k], 1e-20)) / normalizer
//
// The second bottom holds a label, 0 to K−1, for every position, that is for
// every element of the first bottom with the class axis taken out. H has K rows
// and K columns; it is the third bottom or comes from a file. The first top is
// the loss, a scalar; the second, if there is one, shares the probabilities, and
// no gradient comes back through it. Fields:
//
//	infogain_loss_param.axis (1)      the class axis; negative counts from the end
//	infogain_loss_param.source        a BlobProto file with H; required without a
//	                                  third bottom
//	loss_param.ignore_label (none)    positions with this label do not count
//	loss_param.normalization (VALID)  the normalizer: VALID, the positions that
//	                                  count; FULL, all positions; BATCH_SIZE, the
//	                                  size before the class axis; NONE, 1; never
//	                                  less than 1
//	loss_param.normalize              refused: use normalization
type infogainLoss struct {
	base
	softmax softmaxPass
	scale   lossScale
	prob    *tensor.Blob
	h       []float32 // from the file, or nil
	rowSums []float32 // of the matrix
	labels  []int     // of the last Forward, −1 where ignored
	parts   []float64 // loss of each position

	// While a pass runs.
	matrix, dx []float32
	w          float32
	loop       spans[*infogainLoss]
}

func newInfogainLoss(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &infogainLoss{base: newBase(p, ctx), prob: tensor.New(0)}
	l.warnUnused("infogain_loss_param", "loss_param")
	if lp := p.GetLossParam(); lp != nil && lp.Normalize != nil {
		return nil, errors.New("loss_param: this layer does not take normalize: use normalization (VALID for true, BATCH_SIZE for false)")
	}
	var err error
	if l.scale, err = newLossScale(p.GetLossParam(), caffepb.LossParameter_VALID); err != nil {
		return nil, err
	}
	return l, nil
}

// Setup reads the matrix.
func (l *infogainLoss) Setup(bottom, _ []*tensor.Blob) error {
	p := l.p.GetInfogainLossParam()
	switch {
	case len(bottom) > 2 && p.GetSource() != "":
		l.ctx.Log.Warn(fmt.Sprintf("Layer %s takes its matrix from the third bottom: source of infogain_loss_param is ignored", l.p.GetName()))
		return nil
	case len(bottom) > 2:
		return nil
	case p.GetSource() == "":
		return errors.New("infogain_loss_param: source is required, a BlobProto file with the matrix, or else a third bottom with it")
	}
	var b caffepb.BlobProto
	if err := prototxt.ReadBinary(l.ctx.Path(p.GetSource()), &b); err != nil {
		return fmt.Errorf("infogain_loss_param: source: %w", err)
	}
	if l.h = storedValues(&b); len(l.h) == 0 {
		return fmt.Errorf("infogain_loss_param: source %s holds no values", p.GetSource())
	}
	return nil
}

func (l *infogainLoss) Reshape(bottom, top []*tensor.Blob) error {
	if err := reshapeLoss(bottom, top); err != nil {
		return err
	}
	var err error
	if l.softmax.axisDims, err = dimsAround(bottom[0], int(l.p.GetInfogainLossParam().GetAxis())); err != nil {
		return fmt.Errorf("infogain_loss_param: %w", err)
	}
	d := l.softmax.axisDims
	if err := d.checkLabels(bottom); err != nil {
		return err
	}
	where, n := "source "+l.p.GetInfogainLossParam().GetSource(), len(l.h)
	if len(bottom) > 2 {
		where, n = "the third bottom", bottom[2].Count()
	}
	if n != d.channels*d.channels {
		return fmt.Errorf("the matrix must have a row and a column for each of %d classes, %d values; %s has %d", d.channels, d.channels*d.channels, where, n)
	}
	l.prob.ReshapeLike(bottom[0])
	if len(top) > 1 {
		top[1].ReshapeLike(bottom[0])
		top[1].ShareData(l.prob)
	}
	l.rowSums = make([]float32, d.channels)
	l.labels, l.parts = make([]int, d.outer*d.inner), make([]float64, d.outer*d.inner)
	return nil
}

// useMatrix sets the matrix and the sums of its rows, for one pass: a third
// bottom may be another each time.
func (l *infogainLoss) useMatrix(bottom []*tensor.Blob) {
	if l.matrix = l.h; len(bottom) > 2 {
		l.matrix = bottom[2].ReadData()
	}
	k := len(l.rowSums)
	for i := range l.rowSums {
		var sum float64
		for _, v := range l.matrix[i*k : (i+1)*k] {
			sum += float64(v)
		}
		l.rowSums[i] = float32(sum)
	}
}

func (l *infogainLoss) Forward(bottom, top []*tensor.Blob) error {
	d, labels := l.softmax.axisDims, bottom[1].ReadData()
	valid := 0
	for pos := range l.labels {
		label, ok, err := d.label(labels, pos, l.scale.ignore)
		if err != nil {
			return err
		}
		if l.labels[pos] = label; ok {
			valid++
		} else {
			l.labels[pos] = -1
		}
	}
	if len(top) > 1 {
		top[1].ShareData(l.prob)
	}
	l.softmax.forward(bottom[0].ReadData(), l.prob.Data())
	l.useMatrix(bottom)
	l.loop.run(l, len(l.labels), grainFor(d.channels), (*infogainLoss).sum)
	l.matrix = nil
	var loss float64
	for _, s := range l.parts {
		loss += s
	}
	top[0].Data()[0] = l.scale.normalize(loss, valid, len(l.labels), d.outer)
	return nil
}

// position returns where position pos has its element of class 0, and the row
// of the matrix for its label, nil if it is ignored.
func (l *infogainLoss) position(pos int) (at int, row []float32) {
	d := l.softmax.axisDims
	at = pos/d.inner*d.channels*d.inner + pos%d.inner
	if label := l.labels[pos]; label >= 0 {
		row = l.matrix[label*d.channels:][:d.channels]
	}
	return at, row
}

func (l *infogainLoss) sum(lo, hi int) {
	prob := l.prob.ReadData()
	for pos := lo; pos < hi; pos++ {
		at, row := l.position(pos)
		var sum float64
		for k, h := range row {
			if h != 0 {
				sum -= float64(h) * math.Log(float64(max(prob[at+k*l.softmax.inner], logThreshold)))
			}
		}
		l.parts[pos] = sum
	}
}

// Backward: dx[k] = (p[k]·Σ H[label] − H[label, k])·weight/normalizer, 0 where
// ignored.
func (l *infogainLoss) Backward(top []*tensor.Blob, propagateDown []bool, bottom []*tensor.Blob) error {
	if propagateDown[1] {
		return errLabelGradient
	}
	if len(bottom) > 2 && propagateDown[2] {
		return errors.New("cannot propagate to the matrix: set propagate_down to false for it")
	}
	if !propagateDown[0] {
		return nil
	}
	l.useMatrix(bottom)
	l.dx, l.w = bottom[0].Diff(), l.scale.weight(top[0])
	l.loop.run(l, len(l.labels), grainFor(l.softmax.channels), (*infogainLoss).differ)
	l.matrix, l.dx = nil, nil
	return nil
}

func (l *infogainLoss) differ(lo, hi int) {
	prob, inner := l.prob.ReadData(), l.softmax.inner
	for pos := lo; pos < hi; pos++ {
		at, row := l.position(pos)
		if row == nil {
			for k := range l.softmax.channels {
				l.dx[at+k*inner] = 0
			}
			continue
		}
		sum := l.rowSums[l.labels[pos]]
		for k, h := range row {
			l.dx[at+k*inner] = (prob[at+k*inner]*sum - h) * l.w
		}
	}
}
