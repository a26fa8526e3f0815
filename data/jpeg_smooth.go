package data

// fromCoefs makes the samples of a picture that came in several scans from its
// coefficients.
func (d *jpegDecoder) fromCoefs() {
	if d.smooths() {
		for i := range d.comps {
			d.smoothPlane(&d.comps[i])
		}
		return
	}
	for i := range d.comps {
		c := &d.comps[i]
		if c.quant == nil { // never scanned: all zero
			c.quant = &ones
		}
		for y := range c.blocksH {
			for x := range c.blocksW {
				var coef [64]int32
				for k, v := range c.coefs[64*(y*c.coefStride+x):][:64] {
					coef[k] = int32(v) * c.quant[k]
				}
				idctBlock(&coef, c.pix[8*y*c.stride+8*x:], c.stride)
			}
		}
	}
}

// A progressive file that ends early may have told of a block no more than its
// mean. libjpeg then guesses the lowest frequencies from the means of the 24
// blocks around it (jdcoefct.c's decompress_smooth_data; T.81, K.8 has the idea
// for 8 blocks). Each guess is a weighted sum of the 25 means, in units of 1/256
// and of the means' quantiser over its own.

// A smoother is the guess of one coefficient: its index in the file's order and
// the weights, in rows from the top.
type smoother struct {
	k       int
	weights [25]int32
}

// smoothers5 are for blocks of which a few coefficients are known, smoothersDC
// for those of which only the mean is. The last of the latter replaces the mean.
var (
	smoothers5 = []smoother{
		{1, [25]int32{10: -7, 11: 50, 13: -50, 14: 7}},
		{2, [25]int32{2: -7, 7: 50, 17: -50, 22: 7}},
		{3, [25]int32{2: -1, 7: 13, 12: -24, 17: 13, 22: -1}},
		{4, [25]int32{1: -1, 3: 1, 5: -1, 6: 10, 8: -10, 9: 1, 15: 1, 16: -10, 18: 10, 19: -1, 21: 1, 23: -1}},
		{5, [25]int32{10: -1, 11: 13, 12: -24, 13: 13, 14: -1}},
	}
	smoothersDC = []smoother{
		{1, [25]int32{
			-1, -1, 0, 1, 1,
			-3, 13, 0, -13, 3,
			-3, 38, 0, -38, 3,
			-3, 13, 0, -13, 3,
			-1, -1, 0, 1, 1}},
		{2, [25]int32{
			-1, -3, -3, -3, -1,
			-1, 13, 38, 13, -1,
			0, 0, 0, 0, 0,
			1, -13, -38, -13, 1,
			1, 3, 3, 3, 1}},
		{3, [25]int32{
			0, 0, 1, 0, 0,
			0, 2, 7, 2, 0,
			0, -5, -14, -5, 0,
			0, 2, 7, 2, 0,
			0, 0, 1, 0, 0}},
		{4, [25]int32{
			-1, 0, 0, 0, 1,
			0, 9, 0, -9, 0,
			0, 0, 0, 0, 0,
			0, -9, 0, 9, 0,
			1, 0, 0, 0, -1}},
		{5, [25]int32{
			0, 0, 0, 0, 0,
			0, 2, -5, 2, 0,
			1, 7, -14, 7, 1,
			0, 2, -5, 2, 0,
			0, 0, 0, 0, 0}},
		{6, [25]int32{6: 1, 8: -1, 11: 2, 13: -2, 16: 1, 18: -1}},
		{7, [25]int32{6: 1, 7: -3, 8: 1, 16: -1, 17: 3, 18: -1}},
		{8, [25]int32{6: 1, 8: -1, 11: -3, 13: 3, 16: 1, 18: -1}},
		{9, [25]int32{6: 1, 7: 2, 8: 1, 16: -1, 17: -2, 18: -1}},
		{0, [25]int32{
			-2, -6, -8, -6, -2,
			-6, 6, 42, 6, -6,
			-8, 42, 152, 42, -8,
			-6, 6, 42, 6, -6,
			-2, -6, -8, -6, -2}},
	}
)

// smoothed is the number of coefficients that smoothing may change.
const smoothed = 10

// smooths reports whether the coefficients are to be smoothed: some of the
// lowest are not known exactly, but all means are known in part.
func (d *jpegDecoder) smooths() bool {
	useful := false
	for i := range d.comps {
		c := &d.comps[i]
		if !d.progressive || c.quant == nil || c.known[0] < 0 {
			return false
		}
		for k := range smoothed {
			if c.quant[zigzag[k]] == 0 {
				return false
			}
			useful = useful || k > 0 && c.known[k] != 0
		}
	}
	return useful
}

// smoothPlane makes the samples of a component, smoothing its blocks.
func (d *jpegDecoder) smoothPlane(c *jpegComponent) {
	lastRow := ceilDiv(d.h, 8*d.vMax) - 1 // of MCUs
	before := c.knownBefore
	if d.scans == 1 {
		for k := range before {
			before[k] = -1
		}
	}
	for y := range c.blocksH {
		row, sub := y/c.v, y%c.v
		rows := c.v // of blocks in this row of MCUs
		if row == lastRow {
			rows = c.blocksH - row*c.v
		}
		// The rows around. Of the two farther ones libjpeg takes no notice near
		// the first and the last row of MCUs.
		up, down := y, y
		if y > 0 {
			up = y - 1
		}
		up2 := up
		if sub > 1 || row > 1 {
			up2 = y - 2
		}
		if sub < rows-1 || row < lastRow {
			down = y + 1
		}
		down2 := down
		if sub < rows-2 || row+1 < lastRow {
			down2 = y + 2
		}
		known := &c.known
		if row > d.scan.lastGood {
			known = &before
		}
		d.smoothRow(c, y, [5]int{up2, up, y, down, down2}, known)
	}
}

// smoothRow smooths row y of blocks; rows are the rows of blocks around it.
func (d *jpegDecoder) smoothRow(c *jpegComponent, y int, rows [5]int, known *[64]int) {
	list := smoothersDC
	for _, b := range known[1:smoothed] {
		if b != -1 {
			list = smoothers5
		}
	}
	mean := func(r, x int) int32 { return int32(c.coefs[64*(rows[r]*c.coefStride+x)]) }
	// The means of the 5×5 blocks around. At the edges the nearest block's
	// repeats, as far as libjpeg's way of moving the window along makes it.
	var around [25]int32
	for i := range around {
		around[i] = mean(i/5, 0)
	}
	last := c.blocksW - 1
	for x := range c.blocksW {
		for r := range 5 {
			if x == 0 && x < last {
				around[5*r+3] = mean(r, 1)
			}
			if x+1 < last {
				around[5*r+4] = mean(r, x+2)
			}
		}
		var coef [64]int32
		for k, v := range c.coefs[64*(y*c.coefStride+x):][:64] {
			coef[k] = int32(v)
		}
		for i := range list {
			s := &list[i]
			z := zigzag[s.k]
			if s.k > 0 && (known[s.k] == 0 || coef[z] != 0) {
				continue
			}
			var sum int64
			for j, w := range s.weights {
				sum += int64(w) * int64(around[j])
			}
			coef[z] = guess(sum*int64(c.quant[0]), int64(c.quant[z]), known[s.k], s.k == 0)
		}
		for k := range coef {
			coef[k] = int32(int16(coef[k])) * c.quant[k]
		}
		idctBlock(&coef, c.pix[8*y*c.stride+8*x:], c.stride)
		for r := range 5 {
			copy(around[5*r:], around[5*r+1:5*r+5])
		}
	}
}

// guess divides by 256·q, rounding, and keeps the magnitude below the bits that
// are known to be zero.
func guess(num, q int64, known int, mean bool) int32 {
	v := (q<<7 + max(num, -num)) / (q << 8)
	if !mean && known > 0 {
		v = min(v, 1<<known-1)
	}
	if num < 0 {
		v = -v
	}
	return int32(v)
}
