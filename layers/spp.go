package layers

import (
	"fmt"

	"crema/internal/par"
	"crema/prototxt/caffepb"
	"crema/tensor"

	"google.golang.org/protobuf/proto"
)

func init() {
	Register(Type{
		Name:    "SPP",
		New:     newSPP,
		Bottoms: Exactly(1),
		Tops:    Exactly(1),
	})
}

// spp pools images of any size to vectors of one length (Caffe's spp_layer.cpp;
// He, Zhang, Ren, Sun 2014). Level i of the pyramid, from 0, cuts each plane of
// the N×C×H×W bottom into 2^i × 2^i windows, all of the same size, with as much
// padding as that takes on both sides, and pools each as Pooling does. The top is
// N×(C·(4^pyramid_height − 1)/3), level after level; for one level N×C×1×1.
// Levels that are too fine for the image are refused, as in Caffe. Fields of
// spp_param:
//
//	pyramid_height (required)  number of levels
//	pool (MAX)                 MAX, AVE; STOCHASTIC, which Caffe has on GPUs only,
//	                           is refused
//	engine                     accepted, without effect
type spp struct {
	base
	height int
	method caffepb.PoolingParameter_PoolMethod
	levels []sppLevel
	joined stack

	rest []*tensor.Blob // the bottom with a gradient of its own, for all levels but the first
	add  splitPass
}

// sppLevel is one level: a pooling and its top.
type sppLevel struct {
	pool Layer
	top  []*tensor.Blob
}

func newSPP(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &spp{base: newBase(p, ctx), rest: []*tensor.Blob{tensor.New(0)}}
	l.warnUnused("spp_param")
	sp := p.GetSppParam()
	var err error
	if l.height, err = positive("pyramid_height", sp.GetPyramidHeight()); err != nil {
		return nil, fmt.Errorf("spp_param: %w", err)
	}
	switch sp.GetPool() {
	case caffepb.SPPParameter_MAX:
		l.method = caffepb.PoolingParameter_MAX
	case caffepb.SPPParameter_AVE:
		l.method = caffepb.PoolingParameter_AVE
	default:
		return nil, fmt.Errorf("spp_param: pool %v is not supported; use MAX or AVE", sp.GetPool())
	}
	return l, nil
}

func (l *spp) Reshape(bottom, top []*tensor.Blob) error {
	if err := refuseInPlace(bottom, top); err != nil {
		return err
	}
	b := bottom[0]
	if b.Axes() != 4 || b.Dim(2) == 0 || b.Dim(3) == 0 {
		return fmt.Errorf("needs a bottom of 4 axes (N×C×H×W) with pixels, not %s", tensor.FormatShape(b.Shape()))
	}
	l.levels = l.levels[:0]
	var lengths []int
	length := 0
	for i := range l.height {
		level, err := l.level(i, b)
		if err != nil {
			return fmt.Errorf("spp_param: level %d of pyramid_height %d: %w", i, l.height, err)
		}
		if err := level.pool.Reshape(bottom, level.top); err != nil {
			return fmt.Errorf("spp_param: level %d: %w", i, err)
		}
		n := level.top[0].CountFrom(1)
		l.levels, lengths, length = append(l.levels, level), append(lengths, n), length+n
	}
	l.rest[0].ReshapeLike(b)
	if l.height == 1 {
		return l.levels[0].pool.Reshape(bottom, top)
	}
	if err := reshape(top[0], b.Dim(0), length); err != nil {
		return err
	}
	l.joined.shape(top[0], 1, lengths)
	return nil
}

// level makes the pooling of a level for the bottom's size.
func (l *spp) level(i int, b *tensor.Blob) (sppLevel, error) {
	var kernel, pad [2]uint32
	for axis := range 2 {
		n := int64(b.Dim(2 + axis))
		bins := int64(1) << min(i, 32) // more than any image has pixels
		k := (n + bins - 1) / bins
		p := (k*bins - n + 1) / 2
		if p >= k {
			return sppLevel{}, fmt.Errorf("%d windows side by side do not fit into the %d×%d image (each would have %d pixels, with %d of padding before the first)", bins, b.Dim(2), b.Dim(3), k, p)
		}
		kernel[axis], pad[axis] = uint32(k), uint32(p)
	}
	name := fmt.Sprintf("%s, level %d", l.p.GetName(), i)
	pool, err := newPooling(&caffepb.LayerParameter{Name: &name, Type: proto.String("Pooling"), PoolingParam: &caffepb.PoolingParameter{
		Pool: l.method.Enum(), KernelH: &kernel[0], KernelW: &kernel[1], StrideH: &kernel[0], StrideW: &kernel[1], PadH: &pad[0], PadW: &pad[1],
	}}, l.ctx)
	return sppLevel{pool, []*tensor.Blob{tensor.New(0)}}, err
}

func (l *spp) Forward(bottom, top []*tensor.Blob) error {
	if l.height == 1 {
		return l.levels[0].pool.Forward(bottom, top)
	}
	for i, level := range l.levels {
		if err := level.pool.Forward(bottom, level.top); err != nil {
			return err
		}
		l.joined.join(top[0].Data(), i, level.top[0].ReadData())
	}
	return nil
}

func (l *spp) Backward(top []*tensor.Blob, propagateDown []bool, bottom []*tensor.Blob) error {
	if !propagateDown[0] {
		return nil
	}
	if l.height == 1 {
		return l.levels[0].pool.Backward(top, propagateDown, bottom)
	}
	dx := bottom[0].Diff()
	l.rest[0].ShareData(bottom[0])
	for i, level := range l.levels {
		l.joined.cut(top[0].Diff(), i, level.top[0].Diff())
		if i == 0 {
			if err := level.pool.Backward(level.top, propagateDown, bottom); err != nil {
				return err
			}
			continue
		}
		if err := level.pool.Backward(level.top, propagateDown, l.rest); err != nil {
			return err
		}
		l.add = splitPass{false, l.rest[0].Diff(), dx}
		par.Run(0, elemTasks(len(dx)), &l.add)
		l.add = splitPass{}
	}
	return nil
}
