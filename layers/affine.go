package layers

import "crema/tensor"

// affine computes y = a·x + b with a number a and a number b for each of the
// channels of a view, and gradients: what Scale and Bias have in common.
type affine struct {
	view     channelView
	oneToOne bool // every element has its own a and b
	blocked  bool // works on tensor.Blocked blobs
	sum      []float64
	pass     affinePass
}

// A sink is where the gradient of a or of b goes; nowhere if to is nil.
type sink struct {
	to  []float32
	add bool // to what is there
}

// put adds v to element i, or sets it to v.
func (s sink) put(i int, v float32) {
	if s.add {
		v += s.to[i]
	}
	s.to[i] = v
}

// affinePass is one forward pass, or one backward pass if dy is not nil.
type affinePass struct {
	l       *affine
	a, b    []float32 // nil: all 1, all 0
	x       []float32
	y, keep []float32
	dy, dx  []float32
	da, db  sink
}

// Do implements par.Job.
func (j *affinePass) Do(task int) {
	v := &j.l.view
	for i, end := v.each(task); i < end; i++ {
		p := v.piece(i)
		if j.dy != nil {
			j.backward(v, p)
			continue
		}
		if j.keep != nil {
			v.copy(p, j.x, j.keep)
		}
		v.affine(p, j.a, j.b, j.x, j.y)
	}
}

// backward computes dx after all else, as it may be where dy is.
func (j *affinePass) backward(v *channelView, p channelPiece) {
	switch {
	case j.l.oneToOne:
		for i := p.at; i < p.at+p.n; i++ {
			if j.da.to != nil {
				j.da.put(i, j.dy[i]*j.x[i])
			}
			if j.db.to != nil {
				j.db.put(i, j.dy[i])
			}
		}
	case j.da.to != nil:
		v.products(p, j.dy, j.x)
	case j.db.to != nil:
		v.products(p, j.dy, j.dy)
	}
	switch {
	case j.dx == nil:
	case j.a == nil:
		v.copy(p, j.dy, j.dx)
	default:
		v.affine(p, j.a, nil, j.dy, j.dx)
	}
}

// shape prepares for a blob b whose axes from axis on are those of s, a
// parameter or another bottom that a or b is taken from. For a scalar s the axis
// does not matter.
func (l *affine) shape(b, s *tensor.Blob, axis int32, isParam bool) error {
	outer, inner, err := broadcastDims(b, s, axis)
	if err != nil {
		return err
	}
	n := s.Count()
	l.view.shape(outer, n, inner, b.Layout() == tensor.Blocked && s.Axes() == 1)
	l.oneToOne = outer*inner == 1 && n > 1
	l.blocked = s.Axes() == 0 || !isParam && s.Axes() == b.Axes() ||
		b.Axes() == 4 && s.Axes() == 1 && outer == b.Dim(0) && inner == b.CountFrom(2)
	if !l.oneToOne {
		l.view.makePartials()
	}
	if cap(l.sum) < n {
		l.sum = make([]float64, n)
	}
	l.sum = l.sum[:n]
	return nil
}

// fit is the Fit of the layer.
func (l *affine) fit(in, out tensor.Layout) Fit {
	if in != tensor.NCHW && !l.blocked {
		return Unfit
	}
	return sameLayout(in, out)
}

// forward computes y, which may be x, and if keep is not nil copies x there.
func (l *affine) forward(a, b, x, y, keep []float32) {
	l.run(affinePass{a: a, b: b, x: x, y: y, keep: keep})
}

// backward computes what is asked for: dx if it is not nil, which may be dy; da,
// for which it needs x; and db.
func (l *affine) backward(a, x, dy, dx []float32, da, db sink) {
	if a == nil && len(dx) > 0 && &dx[0] == &dy[0] {
		dx = nil
	}
	l.run(affinePass{a: a, x: x, dy: dy, dx: dx, da: da, db: db})
	if l.oneToOne {
		return
	}
	for k, s := range []sink{db, da} {
		if s.to == nil {
			continue
		}
		l.view.sums(k, l.sum)
		for i, v := range l.sum {
			s.put(i, float32(v))
		}
	}
}

func (l *affine) run(j affinePass) {
	l.pass = j
	l.pass.l = l
	l.view.run(&l.pass)
	l.pass = affinePass{}
}
