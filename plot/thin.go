package plot

import (
	"math"

	"gonum.org/v1/plot/plotter"
)

// thin drops points of a line, given in the order of x, that a picture of the
// given number of columns of pixels cannot show: of each column it keeps the
// first, the lowest, the highest and the last, in their order, so that the line
// covers the same pixels. at maps x to a share of the width, 0 to 1.
func thin(line plotter.XYs, columns int, at func(x float64) float64) plotter.XYs {
	if len(line) <= 2*columns {
		return line
	}
	column := func(i int) int { return int(math.Floor(at(line[i].X) * float64(columns))) }
	out := make(plotter.XYs, 0, 4*columns)
	for i := 0; i < len(line); {
		c, low, high, last := column(i), i, i, i
		for last+1 < len(line) && column(last+1) == c {
			last++
			if line[last].Y < line[low].Y {
				low = last
			}
			if line[last].Y > line[high].Y {
				high = last
			}
		}
		kept := -1
		for _, j := range [4]int{i, min(low, high), max(low, high), last} {
			if j > kept {
				out = append(out, line[j])
				kept = j
			}
		}
		i = last + 1
	}
	return out
}

// strokePoints is how many points of a line are stroked as one path: the time
// that gonum's rasteriser takes grows with the square of that.
const strokePoints = 64

// strokes cuts a line into parts of at most strokePoints points; each begins
// with the last point of the one before.
func strokes(line plotter.XYs) []plotter.XYs {
	var parts []plotter.XYs
	for len(line) > strokePoints {
		parts = append(parts, line[:strokePoints:strokePoints])
		line = line[strokePoints-1:]
	}
	return append(parts, line)
}
