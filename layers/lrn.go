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
		Name:    "LRN",
		New:     newLRN,
		Bottoms: Exactly(1),
		Tops:    Exactly(1),
	})
}

// lrn is local response normalization of N×C×H×W blobs (Caffe's lrn_layer.cpp):
// y = x/scaleᵝ, where
//
//	scale = k + alpha/local_size·Σ x²   over the channels about the element's
//	scale = 1 + alpha/local_size²·Σ x²  over a square about it, WITHIN_CHANNEL
//
// and what lies outside counts as 0. It also computes in place, where Caffe's
// gradient is wrong. Fields of lrn_param:
//
//	local_size (5)                 channels, or side of the square: odd
//	alpha (1)
//	beta (0.75)
//	norm_region (ACROSS_CHANNELS)  or WITHIN_CHANNEL
//	k (1)                          has no effect WITHIN_CHANNEL, as in Caffe
//	engine                         accepted, without effect
//
// The blob is cut into tiles, in which the window goes along the rows: those of C
// rows and some pixels of all channels, or of H rows, a plane. They are computed
// in memory of their own, one row after another, unless they lie so in the blob.
type lrn struct {
	base
	within   bool
	reach    int // from the middle of the window to its ends
	beta     float64
	k, alpha float32 // alpha by the size of the window
	decline  float32 // 2·alpha·beta

	images, channels, height, width int
	blocked                         bool
	run                             int          // pixels of a tile across channels
	units, perTask                  int          // see lrnUnit
	scale                           *tensor.Blob // in the order of tiles
	kept                            *tensor.Blob // the bottom in that order, if in place
	scratch                         par.Pool
	pass                            lrnPass
}

// lrnPass is one Forward, or one Backward if dy is not nil.
type lrnPass struct {
	l            *lrn
	x, y, dy, dx []float32
	kept         []float32 // nil unless in place
	scale        []float32
}

// An lrnUnit is what is done at once: one tile, or the 16 that are one block.
type lrnUnit struct {
	at          int // in the order of tiles
	tiles       int
	rows, width int
	from        int // across channels: where its first row is in the blob
}

func newLRN(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	lp := p.GetLrnParam()
	if lp == nil {
		lp = &caffepb.LRNParameter{}
	}
	size := lp.GetLocalSize()
	if size%2 == 0 {
		return nil, fmt.Errorf("lrn_param: local_size must be odd, not %d", size)
	}
	l := &lrn{base: newBase(p, ctx), reach: int(size / 2), beta: float64(lp.GetBeta()), k: lp.GetK(), scale: tensor.New(), kept: tensor.New()}
	window := float64(size)
	switch lp.GetNormRegion() {
	case caffepb.LRNParameter_ACROSS_CHANNELS:
	case caffepb.LRNParameter_WITHIN_CHANNEL:
		l.within, window = true, window*window
		if l.k != 1 {
			ctx.Log.Warn(fmt.Sprintf("Layer %s: k has no effect WITHIN_CHANNEL, as in Caffe: it is 1", p.GetName()))
			l.k = 1
		}
	default:
		return nil, fmt.Errorf("lrn_param: unknown norm_region %v", lp.GetNormRegion())
	}
	l.alpha = float32(float64(lp.GetAlpha()) / window)
	l.decline = float32(2 * float64(lp.GetAlpha()) * l.beta / window)
	l.warnUnused("lrn_param")
	return l, nil
}

func (l *lrn) Reshape(bottom, top []*tensor.Blob) error {
	b := bottom[0]
	if b.Axes() != 4 {
		return fmt.Errorf("the bottom must have 4 axes, N×C×H×W, not the shape %s", tensor.FormatShape(b.Shape()))
	}
	top[0].ReshapeLike(b)
	l.images, l.channels, l.height, l.width = b.Dim(0), b.Dim(1), b.Dim(2), b.Dim(3)
	l.blocked = b.Layout() == tensor.Blocked
	// Some 32 kB for each array of a tile.
	l.run = min(max(1<<13/max(l.channels, 1), 1), 256)&^(tensor.Lanes-1) + tensor.Lanes
	l.units = l.images * l.channels
	switch pixels := l.height * l.width; {
	case pixels == 0:
		l.units = 0
	case !l.within:
		l.units = l.images * ((pixels + l.run - 1) / l.run)
	case l.blocked:
		l.units /= tensor.Lanes
	}
	l.perTask = grainFor(b.Count() / max(l.units, 1))
	l.scale.ReshapeLike(b)
	l.kept.ReshapeLike(b)
	return nil
}

// Fit implements LayoutTaker.
func (l *lrn) Fit(in, out tensor.Layout) Fit { return sameLayout(in, out) }

func (l *lrn) unit(i int) lrnUnit {
	pixels := l.height * l.width
	if l.within {
		u := lrnUnit{at: i * pixels, tiles: 1, rows: l.height, width: l.width}
		if l.blocked {
			u.at, u.tiles = u.at*tensor.Lanes, tensor.Lanes
		}
		return u
	}
	runs := (pixels + l.run - 1) / l.run
	image, pixel := i/runs, i%runs*l.run
	u := lrnUnit{at: (image*pixels + pixel) * l.channels, tiles: 1, rows: l.channels, width: min(l.run, pixels-pixel)}
	u.from = image*pixels*l.channels + pixel
	if l.blocked {
		u.from += pixel * (tensor.Lanes - 1)
	}
	return u
}

// size is the number of elements of the unit.
func (u *lrnUnit) size() int { return u.tiles * u.rows * u.width }

// gather brings the unit of a blob into the order of tiles: in to, unless it is
// so already.
func (l *lrn) gather(u *lrnUnit, blob, to []float32) []float32 {
	const lanes = tensor.Lanes
	pixels := l.height * l.width
	switch {
	case l.within && !l.blocked:
		return blob[u.at : u.at+u.size()]
	case l.within:
		asm.Transpose(pixels, lanes, blob[u.at:], lanes, to, pixels)
	case l.blocked:
		for c := 0; c < u.rows; c += lanes {
			asm.Transpose(u.width, lanes, blob[u.from+c*pixels:], lanes, to[c*u.width:], u.width)
		}
	default:
		for c := range u.rows {
			copy(to[c*u.width:(c+1)*u.width], blob[u.from+c*pixels:])
		}
	}
	return to
}

// scatter is the other way.
func (l *lrn) scatter(u *lrnUnit, from, blob []float32) {
	const lanes = tensor.Lanes
	pixels := l.height * l.width
	switch {
	case l.within && !l.blocked: // it was computed there
	case l.within:
		asm.Transpose(lanes, pixels, from, pixels, blob[u.at:], lanes)
	case l.blocked:
		for c := 0; c < u.rows; c += lanes {
			asm.Transpose(lanes, u.width, from[c*u.width:], u.width, blob[u.from+c*pixels:], lanes)
		}
	default:
		for c := range u.rows {
			copy(blob[u.from+c*pixels:][:u.width], from[c*u.width:])
		}
	}
}

func (l *lrn) Forward(bottom, top []*tensor.Blob) error {
	j := lrnPass{x: bottom[0].ReadData(), y: top[0].Data(), scale: l.scale.Data()}
	if bottom[0] == top[0] {
		j.kept = l.kept.Data()
	}
	l.do(j)
	return nil
}

// Backward: with p = scale^−beta and the sum over the same window,
// dx = dy·p − 2·alpha·beta/size·x·Σ dy·x·p/scale.
func (l *lrn) Backward(top []*tensor.Blob, propagateDown []bool, bottom []*tensor.Blob) error {
	if !propagateDown[0] {
		return nil
	}
	j := lrnPass{x: bottom[0].ReadData(), dy: top[0].Diff(), dx: bottom[0].Diff(), scale: l.scale.ReadData()}
	if bottom[0] == top[0] {
		j.kept = l.kept.ReadData()
	}
	l.do(j)
	return nil
}

func (l *lrn) do(j lrnPass) {
	l.pass = j
	l.pass.l = l
	par.Run(0, (l.units+l.perTask-1)/l.perTask, &l.pass)
	l.pass = lrnPass{}
}

// Do implements par.Job.
func (j *lrnPass) Do(task int) {
	l := j.l
	largest := l.unit(0) // those at the ends of images may be smaller
	n := largest.size()
	scratch, buffer := l.scratch.Get(4 * n)
	for i := task * l.perTask; i < min((task+1)*l.perTask, l.units); i++ {
		u := l.unit(i)
		m := u.size()
		a, b, c, d := scratch[:m], scratch[n:n+m], scratch[2*n:2*n+m], scratch[3*n:3*n+m]
		if j.dy == nil {
			j.forward(&u, a, b, c, d)
		} else {
			j.backward(&u, a, b, c, d)
		}
	}
	l.scratch.Put(buffer)
}

// forward computes a unit with scratch memory for four arrays.
func (j *lrnPass) forward(u *lrnUnit, x, y, squares, sums []float32) {
	l := j.l
	x = l.gather(u, j.x, x)
	if j.kept != nil {
		kept := j.kept[u.at:][:len(x)]
		copy(kept, x)
		x = kept
	}
	if l.within && !l.blocked {
		y = j.y[u.at:][:len(x)]
	}
	scale := j.scale[u.at:][:len(x)]
	asm.Product(x, x, squares)
	k, alpha := asm.Splat(l.k), asm.Splat(l.alpha)
	asm.Affine(&alpha, &k, l.windows(u, squares, sums), scale)
	exponent(-l.beta).raise(scale, y)
	asm.Product(x, y, y)
	l.scatter(u, y, j.y)
}

// backward does so as well.
func (j *lrnPass) backward(u *lrnUnit, x, dy, ratios, sums []float32) {
	l := j.l
	if j.kept != nil {
		x = j.kept[u.at:][:len(ratios)]
	} else {
		x = l.gather(u, j.x, x)
	}
	dx := dy
	dy = l.gather(u, j.dy, dy)
	if l.within && !l.blocked {
		dx = j.dx[u.at:][:len(ratios)]
	}
	scale := j.scale[u.at:][:len(ratios)]
	exponent(-l.beta).raise(scale, ratios)
	asm.LRNRatios(ratios, x, scale, dy, dx, ratios)
	asm.SubtractProduct(l.decline, x, l.windows(u, ratios, sums), dx)
	l.scatter(u, dx, j.dx)
}

// windows returns the sums of x over the window about each element. They are in
// one of the slices, and both are overwritten.
func (l *lrn) windows(u *lrnUnit, x, other []float32) []float32 {
	if !l.within {
		columnWindows(u.rows, u.width, l.reach, x, other)
		return other
	}
	n := u.rows * u.width
	for t := 0; t < len(x); t += n {
		rowWindows(u.rows, u.width, l.reach, x[t:t+n], other[t:t+n])
		columnWindows(u.rows, u.width, l.reach, other[t:t+n], x[t:t+n])
	}
	return x
}

// rowWindows sets y to the sums of x over up to reach elements to each side in
// the same row.
func rowWindows(rows, width, reach int, x, y []float32) {
	for r := range rows {
		x, y := x[r*width:][:width], y[r*width:][:width]
		// As float64, so that of what came in nothing is left when it went out.
		var sum float64
		for _, v := range x[:min(reach, width)] {
			sum += float64(v)
		}
		for i := range y {
			if i+reach < width {
				sum += float64(x[i+reach])
			}
			if i > reach {
				sum -= float64(x[i-reach-1])
			}
			y[i] = float32(sum)
		}
	}
}

// columnWindows is rowWindows for columns; y may not be x.
func columnWindows(rows, width, reach int, x, y []float32) {
	// The vectors' additions are faster than running sums up to here.
	const few = 10
	if reach <= few {
		copy(y, x)
		for r := 1; r <= min(reach, rows-1); r++ {
			asm.Add(x[r*width:], y[:(rows-r)*width])
			asm.Add(x[:(rows-r)*width], y[r*width:])
		}
		return
	}
	const most = 64
	var sums [most]float64
	for c := 0; c < width; c += most {
		n := min(most, width-c)
		sum := sums[:n]
		clear(sum)
		for r := range min(reach, rows) {
			addTo(sum, x[r*width+c:])
		}
		for r := range rows {
			if r+reach < rows {
				addTo(sum, x[(r+reach)*width+c:])
			}
			if r > reach {
				for i, v := range x[(r-reach-1)*width+c:][:n] {
					sum[i] -= float64(v)
				}
			}
			y := y[r*width+c:][:n]
			for i, s := range sum {
				y[i] = float32(s)
			}
		}
	}
}

// addTo adds as many elements of x as there are sums.
func addTo(sum []float64, x []float32) {
	for i, v := range x[:len(sum)] {
		sum[i] += float64(v)
	}
}
