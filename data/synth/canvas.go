package synth

import (
	"math"
	"math/rand/v2"
)

// A canvas is the image being drawn, in planar bytes.
type canvas struct {
	Shape
	pix []byte
}

// A pattern maps a pixel to how much of the second colour it has, 0 to 1.
type pattern func(x, y float32) float32

// fill paints every pixel with a mix of two colours.
func (c *canvas) fill(a, b colour, f pattern) {
	n := c.Height * c.Width
	i := 0
	for y := range c.Height {
		for x := range c.Width {
			t := f(float32(x)+0.5, float32(y)+0.5)
			for k := range c.Channels {
				c.pix[k*n+i] = byte(a[k] + (b[k]-a[k])*t + 0.5)
			}
			i++
		}
	}
}

// paint lays a colour over the pixels that a mask covers.
func (c *canvas) paint(mask []byte, col colour) {
	n := c.Height * c.Width
	for i, m := range mask[:n] {
		if m == 0 {
			continue
		}
		t := float32(m) / 255
		for k := range c.Channels {
			v := float32(c.pix[k*n+i])
			c.pix[k*n+i] = byte(v + (col[k]-v)*t + 0.5)
		}
	}
}

// noise adds to every value a number of mean 0 and standard deviation sigma,
// nearly normal: the sum of four uniform bytes.
func (c *canvas) noise(r *rand.Rand, sigma float64) {
	// A uniform byte has variance (256²-1)/12.
	scale := float32(sigma / math.Sqrt(4*(256*256-1)/12.0))
	for i := 0; i < len(c.pix); i += 2 {
		bits := r.Uint64()
		for j := i; j < min(i+2, len(c.pix)); j++ {
			s := bits&255 + bits>>8&255 + bits>>16&255 + bits>>24&255
			bits >>= 32
			v := float32(c.pix[j]) + (float32(s)-510)*scale + 0.5
			c.pix[j] = byte(min(max(v, 0), 255))
		}
	}
}

// patterns are the grounds of signs, by kind. They tell each other apart
// whatever their colours, period and phase, also when mirrored.
var patternNames = []string{"plain", "rows", "columns", "diagonals", "checks", "dots", "rings", "grid"}

// newPattern returns a pattern of a kind with the given period in pixels,
// turned by angle, for an image of the given size.
func newPattern(kind int, r *rand.Rand, period, angle float64, s Shape) pattern {
	sin64, cos64 := math.Sincos(angle)
	sin, cos := float32(sin64/period), float32(cos64/period)
	ph, pw := float32(r.Float64()), float32(r.Float64())
	// Edges ramp over about a pixel: sharp is the slope of a wave of slope 4
	// per period that makes them so.
	sharp := float32(period / 4)
	u := func(x, y float32) float32 { return cos*x + sin*y + pw }
	v := func(x, y float32) float32 { return cos*y - sin*x + ph }
	switch patternNames[kind] {
	case "rows":
		return func(x, y float32) float32 { return unit(sharp * wave(v(x, y))) }
	case "columns":
		return func(x, y float32) float32 { return unit(sharp * wave(u(x, y))) }
	case "diagonals":
		return func(x, y float32) float32 { return unit(sharp * wave((u(x, y)+v(x, y))*math.Sqrt2/2)) }
	case "checks":
		return func(x, y float32) float32 {
			// A product of two waves changes sign along both.
			a, b := wave(u(x, y)/1.4), wave(v(x, y)/1.4)
			return unit(sharp * 1.4 * a * b * 2)
		}
	case "dots":
		return func(x, y float32) float32 {
			a, b := centred(u(x, y)), centred(v(x, y))
			return unit(sharp * 4 * (0.32 - sqrt(a*a+b*b)))
		}
	case "rings":
		cx, cy := float32(s.Width)*pw, float32(s.Height)*ph
		inv := float32(1 / period)
		return func(x, y float32) float32 {
			return unit(sharp * wave(sqrt((x-cx)*(x-cx)+(y-cy)*(y-cy))*inv))
		}
	case "grid":
		return func(x, y float32) float32 {
			a, b := centred(u(x, y)), centred(v(x, y))
			return unit(sharp * 4 * (min(abs(a), abs(b)) - 0.12))
		}
	}
	return slope(sin64, cos64, s)
}

// slope is a gradient from 0 to 1 across the image along (sin, cos).
func slope(sin, cos float64, s Shape) pattern {
	reach := math.Abs(sin)*float64(s.Width) + math.Abs(cos)*float64(s.Height)
	kx, ky := float32(sin/reach), float32(cos/reach)
	mx, my := float32(s.Width)/2, float32(s.Height)/2
	return func(x, y float32) float32 {
		return min(max(0.5+kx*(x-mx)+ky*(y-my), 0), 1)
	}
}

// wave is a triangle wave of period 1 between -1 and 1.
func wave(t float32) float32 { return 1 - 4*abs(centred(t)) }

// centred returns the distance from the nearest integer, -½ to ½.
func centred(t float32) float32 { return t - floor(t+0.5) }

// unit maps -1…1 to 0…1 and cuts off what lies outside.
func unit(t float32) float32 { return min(max(0.5+t/2, 0), 1) }

func floor(t float32) float32 { return float32(math.Floor(float64(t))) }
func sqrt(t float32) float32  { return float32(math.Sqrt(float64(t))) }
func abs(t float32) float32   { return math.Float32frombits(math.Float32bits(t) &^ (1 << 31)) }
