package conv

import (
	"crema/asm"
	"crema/internal/par"
)

// passChunk is how many elements a task of a pass over activations takes.
const passChunk = 1 << 14

// pass is the job of a pass over activations.
type pass struct {
	p         *Plan
	y, dy, to []float32
	do        func(j *pass, task int)
}

var passes freeList[pass]

// Do does one task.
func (j *pass) Do(task int) { j.do(j, task) }

func (p *Plan) pass(tasks int, j pass) {
	t := passes.get()
	*t = j
	par.Run(p.threads, tasks, t)
	*t = pass{}
	passes.put(t)
}

// rectify sets y to max(0, y).
func (p *Plan) rectify(y []float32) {
	y = y[:p.outputSize()]
	p.pass(ceilDiv(len(y), passChunk), pass{y: y, do: (*pass).rectify})
}

func (j *pass) rectify(task int) {
	lo := task * passChunk
	y := j.y[lo:min(lo+passChunk, len(j.y))]
	asm.ReLU(0, y, y)
}

// mask sets to to dy where y > 0 and to 0 elsewhere.
func (p *Plan) mask(y, dy, to []float32) {
	n := p.outputSize()
	p.pass(ceilDiv(n, passChunk), pass{y: y[:n], dy: dy[:n], to: to[:n], do: (*pass).mask})
}

func (j *pass) mask(task int) {
	lo := task * passChunk
	hi := min(lo+passChunk, len(j.to))
	asm.ReLUBackward(0, j.y[lo:hi], j.dy[lo:hi], j.to[lo:hi])
}

// biases adds the sums of dy to db; with a ReLU, of dy where y > 0.
func (p *Plan) biases(dy, y, db []float32) {
	if !p.relu {
		p.sums(dy, db)
		return
	}
	masked, buf := scratch.Get(p.outputSize())
	p.mask(y, dy, masked)
	p.sums(masked, db)
	scratch.Put(buf)
}

// sums adds the sums of dy over images and pixels to db.
func (p *Plan) sums(dy, db []float32) {
	if p.out == Blocked {
		p.pass(p.s.K/Lanes, pass{p: p, dy: dy, to: db, do: (*pass).sumLanes})
	} else {
		p.pass(p.s.K, pass{p: p, dy: dy, to: db, do: (*pass).sum})
	}
}

func (j *pass) sum(k int) {
	pix := j.p.oh * j.p.ow
	var t float64
	for n := range j.p.s.N {
		t += asm.Sum(j.dy[(n*j.p.s.K+k)*pix:][:pix])
	}
	j.to[k] += float32(t)
}

// sumLanes sums 16 filters.
func (j *pass) sumLanes(g int) {
	pix := j.p.oh * j.p.ow
	var t [Lanes]float64
	for n := range j.p.s.N {
		dy := j.dy[(n*j.p.s.K+g*Lanes)*pix:][:pix*Lanes]
		for ; len(dy) > 0; dy = dy[Lanes:] {
			for l, v := range (*[Lanes]float32)(dy) {
				t[l] += float64(v)
			}
		}
	}
	for l, v := range t {
		j.to[g*Lanes+l] += float32(v)
	}
}

// unblock brings dy, or with a ReLU dy where y > 0, from the blocked layout into
// NCHW.
func (p *Plan) unblock(y, dy, to []float32) {
	p.pass(p.s.N*p.s.K/Lanes, pass{p: p, y: y, dy: dy, to: to, do: (*pass).unblock})
}

// unblock brings 16 channels of an image.
func (j *pass) unblock(task int) {
	pix := j.p.oh * j.p.ow
	at, n := task*pix*Lanes, pix*Lanes
	dy := j.dy[at:][:n]
	if j.p.relu {
		masked, buf := scratch.Get(n)
		defer scratch.Put(buf)
		asm.ReLUBackward(0, j.y[at:][:n], dy, masked)
		dy = masked
	}
	asm.Transpose(pix, Lanes, dy, Lanes, j.to[at:], pix)
}
