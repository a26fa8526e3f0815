package layers

import (
	"fmt"
	"math"

	"crema/internal/par"
	"crema/internal/rng"
	"crema/prototxt/caffepb"
	"crema/tensor"
)

func init() {
	Register(Type{
		Name:    "Dropout",
		New:     newDropout,
		Bottoms: Exactly(1),
		Tops:    Exactly(1),
	})
}

const (
	// A mask word holds the bits of 64 elements.
	maskBits = 64
	// dropoutChunk is the number of mask words drawn from one random stream.
	// It is part of what a seed means: changing it changes every mask.
	dropoutChunk = 64
)

// dropout zeroes each element with probability dropout_ratio and scales the
// others by 1/(1 − dropout_ratio) in the TRAIN phase; in TEST it is the
// identity (Caffe's dropout_layer.cpp). It works in place too. Backward uses
// the mask of the last Forward, which is keyed by the seed, the layer's name
// and the number of that Forward. Fields of dropout_param:
//
//	dropout_ratio (0.5)  0 ≤ ratio < 1
type dropout struct {
	base
	scale     float32
	threshold uint64   // an element is dropped if 32 random bits are below it
	mask      []uint64 // bit i%64 of word i/64: element i is dropped
	forwards  uint64   // in the TRAIN phase
}

func newDropout(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	ratio := float64(p.GetDropoutParam().GetDropoutRatio())
	if !(ratio >= 0 && ratio < 1) {
		return nil, fmt.Errorf("dropout_param: dropout_ratio must be at least 0 and less than 1, not %g", ratio)
	}
	l := &dropout{base: newBase(p, ctx), scale: float32(1 / (1 - ratio)), threshold: uint64(ratio * (1 << 32))}
	l.warnUnused("dropout_param")
	return l, nil
}

func (l *dropout) Reshape(bottom, top []*tensor.Blob) error {
	top[0].ReshapeLike(bottom[0])
	if words := (bottom[0].Count() + maskBits - 1) / maskBits; l.ctx.Phase == caffepb.Phase_TRAIN && cap(l.mask) < words {
		l.mask = make([]uint64, words)
	} else if l.ctx.Phase == caffepb.Phase_TRAIN {
		l.mask = l.mask[:words]
	}
	return nil
}

// Fit implements LayoutTaker. In the TRAIN phase the masks are drawn for NCHW.
func (l *dropout) Fit(in, out tensor.Layout) Fit {
	if l.ctx.Phase == caffepb.Phase_TRAIN && in != tensor.NCHW {
		return Unfit
	}
	return sameLayout(in, out)
}

func (l *dropout) Forward(bottom, top []*tensor.Blob) error {
	x, y := bottom[0].ReadData(), top[0].Data()
	if l.ctx.Phase != caffepb.Phase_TRAIN {
		if bottom[0] != top[0] {
			copy(y, x)
		}
		return nil
	}
	par.For((len(l.mask)+dropoutChunk-1)/dropoutChunk, 4, func(lo, hi int) {
		for c := lo; c < hi; c++ {
			src := rng.Source(l.ctx.Seed, l.p.GetName(), l.forwards, uint64(c))
			words := l.mask[c*dropoutChunk : min((c+1)*dropoutChunk, len(l.mask))]
			for i := range words {
				var w uint64
				for j := 0; j < maskBits; j += 2 {
					r := src.Uint64()
					// The difference is negative, its top bit set, for a drop.
					w |= (r&math.MaxUint32 - l.threshold) >> 63 << j
					w |= (r>>32 - l.threshold) >> 63 << (j + 1)
				}
				words[i] = w
			}
		}
		l.apply(x, y, lo*dropoutChunk, min(hi*dropoutChunk, len(l.mask)))
	})
	l.forwards++
	return nil
}

func (l *dropout) Backward(top []*tensor.Blob, propagateDown []bool, bottom []*tensor.Blob) error {
	if !propagateDown[0] {
		return nil
	}
	dy, dx := top[0].Diff(), bottom[0].Diff()
	if l.ctx.Phase != caffepb.Phase_TRAIN {
		if bottom[0] != top[0] {
			copy(dx, dy)
		}
		return nil
	}
	par.For(len(l.mask), elemGrain/maskBits, func(lo, hi int) { l.apply(dy, dx, lo, hi) })
	return nil
}

// apply multiplies the elements of mask words lo to hi by 0 or the scale.
func (l *dropout) apply(x, y []float32, lo, hi int) {
	scale := math.Float32bits(l.scale)
	for w := lo; w < hi; w++ {
		end := min((w+1)*maskBits, len(x))
		x, y := x[w*maskBits:end], y[w*maskBits:end]
		m := l.mask[w]
		for i, v := range x {
			// All ones, and so the scale, for an element that is kept.
			keep := uint32(m&1) - 1
			m >>= 1
			y[i] = v * math.Float32frombits(scale&keep)
		}
	}
}

// Cursor implements Stateful.
func (l *dropout) Cursor() *caffepb.LayerCursor { return forwardsCursor(l.p, l.forwards) }

// SetCursor implements Stateful.
func (l *dropout) SetCursor(c *caffepb.LayerCursor) error {
	l.forwards = c.GetForwards()
	return nil
}
