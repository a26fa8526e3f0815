package conv

// A patch holds rows of a source with the zeros around them, such that the
// pixels that a tap meets along a row of the target follow each other.
type patch struct {
	pad    int // zeros before a row
	stride int // of the target in the source
	apart  int // how far source pixels are apart, with zeros between them
	// A row is kept as stride phases, one of which has every stride-th pixel;
	// line is the size of all.
	phase, line int
}

// shape makes the patch fit a target width, filters of so many pixels, and
// what is read behind them.
func (g *patch) shape(width, extent, slack int) {
	g.phase = roundUp(width+(extent-1)/g.stride+slack, Lanes)
	g.line = g.phase * g.stride
}

// tap returns where the first pixel of a row lies that the tap x pixels to the
// right meets.
func (g *patch) tap(x int) int { return x%g.stride*g.phase + x/g.stride }

// fill makes a line of a row of the source.
func (g *patch) fill(row, line []float32) {
	line = line[:g.line]
	switch {
	case g.apart > 1 || g.pad < 0:
		clear(line)
		for x, v := range row {
			if i := x*g.apart + g.pad; uint(i) < uint(len(line)) {
				line[i] = v
			}
		}
	case g.stride == 1:
		lo := min(g.pad, len(line))
		clear(line[:lo])
		hi := lo + copy(line[lo:], row)
		clear(line[hi:])
	default:
		for phase := range g.stride {
			to := line[phase*g.phase:][:g.phase]
			lo := min(max(ceilDiv(g.pad-phase, g.stride), 0), len(to))
			clear(to[:lo])
			to = to[lo:]
			x := lo*g.stride + phase - g.pad
			n := min(len(to), max(ceilDiv(len(row)-x, g.stride), 0))
			for i := range to[:n] {
				to[i] = row[x]
				x += g.stride
			}
			clear(to[n:])
		}
	}
}
