package data

import "image"

// maxSideBySide is the number of channels that Picture shows at most where they
// are no colours.
const maxSideBySide = 64

// Picture returns im as a picture to look at, which shares nothing with it: one
// channel is grey, three are blue, green and red, a fourth alpha. Of any other
// number of channels the first 64 stand side by side, in grey. Float samples
// are scaled from the least of all to the largest.
func (im *Image) Picture() image.Image {
	pix := im.Pix
	if pix == nil {
		pix = scaleToBytes(im.Float)
	}
	n, c := im.H*im.W, im.C
	if c != 3 && c != 4 {
		c = min(c, maxSideBySide)
		m := image.NewGray(image.Rect(0, 0, c*im.W, im.H))
		for i := range c {
			for y := range im.H {
				copy(m.Pix[y*m.Stride+i*im.W:][:im.W], pix[i*n+y*im.W:])
			}
		}
		return m
	}
	r := image.Rect(0, 0, im.W, im.H)
	out := make([]byte, 4*n)
	for i := range n {
		p := out[4*i : 4*i+4]
		p[0], p[1], p[2], p[3] = pix[2*n+i], pix[n+i], pix[i], 255
		if c == 4 {
			p[3] = pix[3*n+i]
		}
	}
	if c == 4 {
		return &image.NRGBA{Pix: out, Stride: 4 * im.W, Rect: r}
	}
	return &image.RGBA{Pix: out, Stride: 4 * im.W, Rect: r}
}

// scaleToBytes maps the range of v to 0 to 255; what is no number is 0.
func scaleToBytes(v []float32) []byte {
	lo, hi, _ := FloatRange(v)
	scale := float32(0)
	if hi > lo {
		scale = 255 / (hi - lo)
	}
	out := make([]byte, len(v))
	for i, x := range v {
		if s := (x - lo) * scale; s > 0 {
			out[i] = byte(min(s+0.5, 255))
		}
	}
	return out
}

// FloatRange returns the least and the largest of the finite values in v, 0
// and 0 if there are none, and how many are not finite.
func FloatRange(v []float32) (lo, hi float32, strange int) {
	for i, x := range v {
		switch {
		case x-x != 0: // NaN or infinite
			strange++
		case i == strange: // the first other one
			lo, hi = x, x
		default:
			lo, hi = min(lo, x), max(hi, x)
		}
	}
	return lo, hi, strange
}
