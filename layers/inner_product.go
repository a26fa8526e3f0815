package layers

import (
	"fmt"

	"crema/gemm"
	"crema/internal/par"
	"crema/prototxt/caffepb"
	"crema/tensor"
)

func init() {
	Register(Type{
		Name:    "InnerProduct",
		New:     newInnerProduct,
		Bottoms: Exactly(1),
		Tops:    Exactly(1),
	})
}

// innerProduct is a fully connected layer (Caffe's inner_product_layer.cpp).
// The bottom's axes from axis on are one vector of K values, those before it
// count M vectors; the top is the M×K bottom times the weights, plus the bias.
// The parameters are weights of num_output×K (K×num_output with transpose)
// and, with bias_term, a bias of num_output. Fields of inner_product_param:
//
//	num_output (required)
//	bias_term (true)
//	weight_filler (constant 0), bias_filler (constant 0)
//	axis (1)           negative counts from the end
//	transpose (false)  how the weights are stored
type innerProduct struct {
	base
	m, n, k         int
	bias, transpose bool
	update          *Update // of the weights, for the next Backward
	updates         Update  // what update points to
}

// CanUpdate implements Updater: for the weights, and batches that leave memory
// the limit.
func (l *innerProduct) CanUpdate(i int) bool {
	return i == 0 && l.ParamPropagateDown(0) && l.m >= 1 && l.m <= gemm.MaxOuterRank
}

// SetUpdate implements Updater.
func (l *innerProduct) SetUpdate(i int, u Update) {
	if i != 0 || len(u.History) != l.params[0].Count() {
		panic("layers: not an update of an InnerProduct's weights")
	}
	l.updates = u
	l.update = &l.updates
}

func newInnerProduct(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &innerProduct{base: newBase(p, ctx)}
	l.warnUnused("inner_product_param")
	return l, nil
}

// Setup creates the parameters.
func (l *innerProduct) Setup(bottom, _ []*tensor.Blob) error {
	p := l.p.GetInnerProductParam()
	n, err := positive("num_output", p.GetNumOutput())
	if err != nil {
		return fmt.Errorf("inner_product_param: %w", err)
	}
	axis, err := l.axis(bottom[0])
	if err != nil {
		return err
	}
	l.n, l.k = n, bottom[0].CountFrom(axis)
	l.bias, l.transpose = p.GetBiasTerm(), p.GetTranspose()
	weight := []int{l.n, l.k}
	if l.transpose {
		weight = []int{l.k, l.n}
	}
	specs := []paramSpec{{"weight", weight, p.GetWeightFiller()}}
	if l.bias {
		specs = append(specs, paramSpec{"bias", []int{l.n}, p.GetBiasFiller()})
	}
	return l.makeParams(specs...)
}

func (l *innerProduct) axis(bottom *tensor.Blob) (int, error) {
	axis, err := bottom.Axis(int(l.p.GetInnerProductParam().GetAxis()))
	if err != nil {
		return 0, fmt.Errorf("inner_product_param: axis: %w", err)
	}
	return axis, nil
}

func (l *innerProduct) Reshape(bottom, top []*tensor.Blob) error {
	if err := refuseInPlace(bottom, top); err != nil {
		return err
	}
	axis, err := l.axis(bottom[0])
	if err != nil {
		return err
	}
	if k := bottom[0].CountFrom(axis); k != l.k {
		return fmt.Errorf("bottom %s has vectors of %d values but the weights are for %d", tensor.FormatShape(bottom[0].Shape()), k, l.k)
	}
	l.m = bottom[0].CountRange(0, axis)
	return reshape(top[0], append(append([]int(nil), bottom[0].Shape()[:axis]...), l.n)...)
}

func (l *innerProduct) Forward(bottom, top []*tensor.Blob) error {
	x, w, y := bottom[0].ReadData(), l.params[0].ReadData(), top[0].Data()
	if l.transpose {
		gemm.Sgemm(gemm.NoTrans, gemm.NoTrans, l.m, l.n, l.k, 1, x, l.k, w, l.n, 0, y, l.n)
	} else {
		gemm.Sgemm(gemm.NoTrans, gemm.Trans, l.m, l.n, l.k, 1, x, l.k, w, l.k, 0, y, l.n)
	}
	if !l.bias {
		return nil
	}
	b := l.params[1].ReadData()
	par.For(l.m, grainFor(l.n), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			row := y[i*l.n:][:len(b)]
			for j, v := range b {
				row[j] += v
			}
		}
	})
	return nil
}

func (l *innerProduct) Backward(top []*tensor.Blob, propagateDown []bool, bottom []*tensor.Blob) error {
	dy := top[0].Diff()
	// First, as an update below changes the weights.
	if propagateDown[0] {
		w, dx := l.params[0].ReadData(), bottom[0].Diff()
		if l.transpose {
			gemm.Sgemm(gemm.NoTrans, gemm.Trans, l.m, l.k, l.n, 1, dy, l.n, w, l.n, 0, dx, l.k)
		} else {
			gemm.Sgemm(gemm.NoTrans, gemm.NoTrans, l.m, l.k, l.n, 1, dy, l.n, w, l.k, 0, dx, l.k)
		}
	}
	if u := l.update; u != nil {
		l.update = nil
		x, w := bottom[0].ReadData(), l.params[0].Data()
		step := gemm.Step{Rate: u.Rate, Decay: u.Decay, Momentum: u.Momentum}
		if l.transpose {
			gemm.SGDOuter(step, l.k, l.n, l.m, x, l.k, dy, l.n, u.History, w)
		} else {
			gemm.SGDOuter(step, l.n, l.k, l.m, dy, l.n, x, l.k, u.History, w)
		}
		u.History = nil
	} else if l.ParamPropagateDown(0) {
		x, dw := bottom[0].ReadData(), l.params[0].Diff()
		if l.transpose {
			gemm.Sgemm(gemm.Trans, gemm.NoTrans, l.k, l.n, l.m, 1, x, l.k, dy, l.n, 1, dw, l.n)
		} else {
			gemm.Sgemm(gemm.Trans, gemm.NoTrans, l.n, l.k, l.m, 1, dy, l.n, x, l.k, 1, dw, l.k)
		}
	}
	if l.bias && l.ParamPropagateDown(1) {
		db := l.params[1].Diff()
		par.For(l.n, grainFor(l.m), func(lo, hi int) {
			db := db[lo:hi]
			for i := range l.m {
				for j, v := range dy[i*l.n+lo : i*l.n+hi] {
					db[j] += v
				}
			}
		})
	}
	return nil
}
