package layers

import (
	"fmt"

	"crema/asm"
)

// A gather picks rows out of a table by their numbers: for layers that look up,
// reorder or select.
type gather struct {
	rows []int // for each row of the output, the row of the table

	// While a pass runs.
	width      int
	table, out []float32
	clear      bool
	loop       spans[*gather]
}

// read sets rows to the numbers of indices, rounded towards zero as Caffe's cast
// does, which must be those of a table of n rows. Their number must not have
// changed since size.
func (g *gather) read(indices []float32, n int) error {
	for i, v := range indices {
		// Not v < 0: −0.5 is cast to 0. The negation also catches NaN.
		if !(v > -1 && float64(v) < float64(n)) {
			return fmt.Errorf("index %g at position %d is outside 0 to %d", v, i, n-1)
		}
		g.rows[i] = int(v)
	}
	return nil
}

// size makes room for n rows.
func (g *gather) size(n int) {
	if cap(g.rows) < n {
		g.rows = make([]int, n)
	}
	g.rows = g.rows[:n]
}

// pick copies rows of the table, each width long, to out.
func (g *gather) pick(width int, table, out []float32) {
	g.width, g.table, g.out = width, table, out
	g.loop.run(g, len(g.rows), grainFor(width), (*gather).pickRows)
	g.table, g.out = nil, nil
}

func (g *gather) pickRows(lo, hi int) {
	for i := lo; i < hi; i++ {
		copy(g.out[i*g.width:][:g.width], g.table[g.rows[i]*g.width:])
	}
}

// put adds the rows of out to those of the table that they were picked from, in
// their order; if clear, the table is zero before. Tasks are columns, as the same
// row may have been picked several times.
func (g *gather) put(width int, out, table []float32, clear bool) {
	const vector = 16
	g.width, g.table, g.out, g.clear = width, table, out, clear
	g.loop.run(g, width, max(grainFor(len(g.rows)), vector), (*gather).putColumns)
	g.table, g.out = nil, nil
}

func (g *gather) putColumns(lo, hi int) {
	if g.clear {
		for at := 0; at < len(g.table); at += g.width {
			clear(g.table[at+lo : at+hi])
		}
	}
	for i, row := range g.rows {
		asm.Add(g.out[i*g.width+lo:i*g.width+hi], g.table[row*g.width+lo:row*g.width+hi])
	}
}
