package layers

import (
	"fmt"

	"crema/asm"
	"crema/internal/par"
	"crema/prototxt/caffepb"
	"crema/tensor"
)

func init() {
	Register(Type{
		Name:    "Eltwise",
		New:     newEltwise,
		Bottoms: Between(2, 1<<16),
		Tops:    Exactly(1),
	})
}

// eltwise computes the sum, product or maximum of its bottoms, element by
// element (Caffe's eltwise_layer.cpp). They must have the same shape. The
// gradient of a maximum goes to the bottom that has it: of equal ones among the
// first two to the second, of others to the first. Fields of eltwise_param:
//
//	operation (SUM)          PROD, SUM or MAX
//	coeff (all 1)            SUM: what each bottom is multiplied by; none or one for each
//	stable_prod_grad (true)  accepted, without effect: the gradient of a product
//	                         is always computed without a division
type eltwise struct {
	base
	op    caffepb.EltwiseParameter_EltwiseOp
	coeff []float32
	pass  eltwisePass
}

// eltwisePass is one Forward, or one Backward if dy is not nil.
type eltwisePass struct {
	l    *eltwise
	x    [][]float32
	y    []float32
	down []bool
	dy   []float32
	dx   [][]float32
}

// Do implements par.Job.
func (j *eltwisePass) Do(task int) {
	const max, prod = caffepb.EltwiseParameter_MAX, caffepb.EltwiseParameter_PROD
	n := len(j.y)
	if j.dy != nil {
		n = len(j.dy)
	}
	lo, hi := elemRange(n, task)
	switch {
	case j.dy == nil && j.l.op == max:
		j.maximum(lo, hi)
	case j.dy == nil && j.l.op == prod:
		j.product(lo, hi)
	case j.dy == nil:
		j.sum(lo, hi)
	case j.l.op == max:
		j.maximumBackward(lo, hi)
	case j.l.op == prod:
		j.productBackward(lo, hi)
	default:
		j.sumBackward(lo, hi)
	}
}

func newEltwise(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	ep := p.GetEltwiseParam()
	l := &eltwise{base: newBase(p, ctx), op: ep.GetOperation()}
	switch l.op {
	case caffepb.EltwiseParameter_SUM:
	case caffepb.EltwiseParameter_PROD:
		if len(ep.GetCoeff()) > 0 {
			return nil, fmt.Errorf("eltwise_param: coeff is only for SUM")
		}
	case caffepb.EltwiseParameter_MAX:
		if len(ep.GetCoeff()) > 0 {
			ctx.Log.Warn(fmt.Sprintf("Layer %s: coeff is only for SUM: ignored", p.GetName()))
		}
	default:
		return nil, fmt.Errorf("eltwise_param: unknown operation %v", l.op)
	}
	l.warnUnused("eltwise_param")
	return l, nil
}

// Setup reads the coefficients.
func (l *eltwise) Setup(bottom, _ []*tensor.Blob) error {
	l.coeff = l.p.GetEltwiseParam().GetCoeff()
	if n := len(l.coeff); n != 0 && n != len(bottom) {
		return fmt.Errorf("eltwise_param: has %d coeff values for %d bottom blobs; give none or one for each", n, len(bottom))
	}
	l.pass.x, l.pass.dx = make([][]float32, len(bottom)), make([][]float32, len(bottom))
	return nil
}

func (l *eltwise) Reshape(bottom, top []*tensor.Blob) error {
	if err := refuseInPlace(bottom, top); err != nil {
		return err
	}
	for i, b := range bottom {
		if !b.SameShape(bottom[0]) {
			return fmt.Errorf("bottoms must have the same shape: bottom 0 is %s, bottom %d is %s",
				tensor.FormatShape(bottom[0].Shape()), i, tensor.FormatShape(b.Shape()))
		}
	}
	top[0].ReshapeLike(bottom[0])
	return nil
}

// Fit implements LayoutTaker.
func (l *eltwise) Fit(in, out tensor.Layout) Fit { return sameLayout(in, out) }

func (l *eltwise) Forward(bottom, top []*tensor.Blob) error {
	l.run(eltwisePass{y: top[0].Data()}, bottom)
	return nil
}

func (l *eltwise) Backward(top []*tensor.Blob, propagateDown []bool, bottom []*tensor.Blob) error {
	l.run(eltwisePass{dy: top[0].Diff(), down: propagateDown}, bottom)
	return nil
}

func (l *eltwise) run(j eltwisePass, bottom []*tensor.Blob) {
	j.l, j.x, j.dx = l, l.pass.x, l.pass.dx
	for i, b := range bottom {
		j.x[i] = b.ReadData()
		if j.dy != nil && j.down[i] {
			j.dx[i] = b.Diff()
		}
	}
	l.pass = j
	par.Run(0, elemTasks(bottom[0].Count()), &l.pass)
	clear(j.x)
	clear(j.dx)
	l.pass = eltwisePass{x: j.x, dx: j.dx}
}

// coefficient returns what SUM multiplies bottom i by.
func (l *eltwise) coefficient(i int) float32 {
	if len(l.coeff) == 0 {
		return 1
	}
	return l.coeff[i]
}

func (j *eltwisePass) sum(lo, hi int) {
	y := j.y[lo:hi]
	copy(y, j.x[0][lo:hi])
	if c := j.l.coefficient(0); c != 1 {
		asm.Scal(c, y)
	}
	for i, x := range j.x[1:] {
		if c := j.l.coefficient(i + 1); c != 1 {
			asm.Axpy(c, x[lo:hi], y)
		} else {
			asm.Add(x[lo:hi], y)
		}
	}
}

func (j *eltwisePass) sumBackward(lo, hi int) {
	for i, dx := range j.dx {
		if dx == nil {
			continue
		}
		copy(dx[lo:hi], j.dy[lo:hi])
		if c := j.l.coefficient(i); c != 1 {
			asm.Scal(c, dx[lo:hi])
		}
	}
}

func (j *eltwisePass) product(lo, hi int) {
	y := j.y[lo:hi]
	copy(y, j.x[0][lo:hi])
	for _, x := range j.x[1:] {
		asm.Product(x[lo:hi], y, y)
	}
}

func (j *eltwisePass) productBackward(lo, hi int) {
	for i, dx := range j.dx {
		if dx == nil {
			continue
		}
		copy(dx[lo:hi], j.dy[lo:hi])
		for k, x := range j.x {
			if k != i {
				asm.Product(x[lo:hi], dx[lo:hi], dx[lo:hi])
			}
		}
	}
}

func (j *eltwisePass) maximum(lo, hi int) {
	y := j.y[lo:hi]
	a, b := j.x[0][lo:hi][:len(y)], j.x[1][lo:hi][:len(y)]
	for i, v := range a {
		if !(v > b[i]) {
			v = b[i]
		}
		y[i] = v
	}
	for _, x := range j.x[2:] {
		x := x[lo:hi][:len(y)]
		for i, v := range x {
			if v > y[i] {
				y[i] = v
			}
		}
	}
}

// maximumBackward finds again which bottom has the maximum.
func (j *eltwisePass) maximumBackward(lo, hi int) {
	const run = 1 << 10
	var winner [run]uint16
	var most [run]float32
	for ; lo < hi; lo += run {
		n := min(run, hi-lo)
		winner, most := winner[:n], most[:n]
		a, b := j.x[0][lo:][:n], j.x[1][lo:][:n]
		for i, v := range a {
			winner[i] = 0
			if !(v > b[i]) {
				winner[i], v = 1, b[i]
			}
			most[i] = v
		}
		for k, x := range j.x[2:] {
			for i, v := range x[lo:][:n] {
				if v > most[i] {
					winner[i], most[i] = uint16(k+2), v
				}
			}
		}
		dy := j.dy[lo:][:n]
		for k, dx := range j.dx {
			if dx == nil {
				continue
			}
			dx := dx[lo:][:n]
			for i, w := range winner {
				dx[i] = 0
				if int(w) == k {
					dx[i] = dy[i]
				}
			}
		}
	}
}
