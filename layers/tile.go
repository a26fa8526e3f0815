package layers

import (
	"errors"
	"fmt"

	"crema/asm"
	"crema/internal/par"
	"crema/prototxt/caffepb"
	"crema/tensor"
)

func init() {
	Register(Type{
		Name:    "Tile",
		New:     newTile,
		Bottoms: Exactly(1),
		Tops:    Exactly(1),
	})
}

// tile repeats its bottom along an axis: the top is one copy after another
// (Caffe's tile_layer.cpp). Fields of tile_param:
//
//	axis (1)          negative counts from the end
//	tiles (required)  the number of copies
type tile struct {
	base
	tiles int
	inner int // elements of the bottom from the axis on
	pass  tilePass
}

// tilePass is one Forward, or one Backward if back.
type tilePass struct {
	back         bool
	tiles, inner int
	from, to     []float32
}

// Do implements par.Job.
func (j *tilePass) Do(task int) {
	lo, hi := elemRange(len(j.to), task)
	for row, at := lo/j.inner, lo%j.inner; lo < hi; row, at = row+1, 0 {
		n := min(j.inner-at, hi-lo)
		to := j.to[lo : lo+n]
		if j.back {
			for t := range j.tiles {
				dy := j.from[(row*j.tiles+t)*j.inner+at:][:n]
				if t == 0 {
					copy(to, dy)
				} else {
					asm.Add(dy, to)
				}
			}
		} else {
			copy(to, j.from[row/j.tiles*j.inner+at:])
		}
		lo += n
	}
}

func newTile(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	l := &tile{base: newBase(p, ctx)}
	l.warnUnused("tile_param")
	tp := p.GetTileParam()
	if tp == nil || tp.Tiles == nil {
		return nil, errors.New("tile_param: tiles, the number of copies, is required")
	}
	if l.tiles = int(tp.GetTiles()); l.tiles < 1 {
		return nil, fmt.Errorf("tile_param: tiles must be at least 1, not %d", l.tiles)
	}
	return l, nil
}

func (l *tile) Reshape(bottom, top []*tensor.Blob) error {
	if err := refuseInPlace(bottom, top); err != nil {
		return err
	}
	b := bottom[0]
	axis, err := b.Axis(int(l.p.GetTileParam().GetAxis()))
	if err != nil {
		return fmt.Errorf("tile_param: %w", err)
	}
	l.inner = b.CountFrom(axis)
	shape := b.Shape()
	shape[axis] *= l.tiles
	return reshape(top[0], shape...)
}

func (l *tile) Forward(bottom, top []*tensor.Blob) error {
	l.run(tilePass{false, l.tiles, l.inner, bottom[0].ReadData(), top[0].Data()})
	return nil
}

// Backward adds up the gradients of the copies, the first first.
func (l *tile) Backward(top []*tensor.Blob, propagateDown []bool, bottom []*tensor.Blob) error {
	if propagateDown[0] {
		l.run(tilePass{true, l.tiles, l.inner, top[0].Diff(), bottom[0].Diff()})
	}
	return nil
}

func (l *tile) run(j tilePass) {
	l.pass = j
	par.Run(0, elemTasks(len(j.to)), &l.pass)
	l.pass = tilePass{}
}
