package layers

import (
	"crema/asm"
	"crema/internal/par"
)

// rowPass is a pass over the rows of a matrix; who keeps one makes such passes
// without an allocation.
type rowPass struct {
	matrix, row []float32
	rows, each  int // how many there are, and how many rows or columns a task takes
	do          func(j *rowPass, task int)
}

// Do implements par.Job.
func (j *rowPass) Do(task int) { j.do(j, task) }

func (j *rowPass) run(p rowPass, tasks int) {
	*j = p
	par.Run(0, tasks, j)
	*j = rowPass{}
}

// spread sets each of so many rows of the matrix to row.
func (j *rowPass) spread(row, matrix []float32, rows int) {
	each := grainFor(len(row))
	j.run(rowPass{matrix, row, rows, each, (*rowPass).spreadSome}, (rows+each-1)/each)
}

func (j *rowPass) spreadSome(task int) {
	n := len(j.row)
	for r := task * j.each; r < min((task+1)*j.each, j.rows); r++ {
		copy(j.matrix[r*n:][:n], j.row)
	}
}

// sum adds the sums of the columns of a matrix of so many rows to row.
func (j *rowPass) sum(matrix, row []float32, rows int) {
	const columns = 256
	j.run(rowPass{matrix, row, rows, columns, (*rowPass).sumSome}, (len(row)+columns-1)/columns)
}

func (j *rowPass) sumSome(task int) {
	n := len(j.row)
	lo, hi := task*j.each, min((task+1)*j.each, n)
	for r := range j.rows {
		asm.Add(j.matrix[r*n+lo:r*n+hi], j.row[lo:hi])
	}
}

// rowParts calls f for the parts of rows that elements lo ≤ i < hi of a matrix of
// so many columns are: columns from ≤ d < to of row n.
func rowParts(lo, hi, columns int, f func(n, from, to int)) {
	for lo < hi {
		n, from := lo/columns, lo%columns
		to := min(columns, from+hi-lo)
		f(n, from, to)
		lo += to - from
	}
}
