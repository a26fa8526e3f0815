package data

import (
	"image"
	"image/color"
	"math"
	"testing"
)

func TestPicture(t *testing.T) {
	pixel := func(m image.Image, x, y int) color.NRGBA { return color.NRGBAModel.Convert(m.At(x, y)).(color.NRGBA) }
	gray := func(v uint8) color.NRGBA { return color.NRGBA{v, v, v, 255} }
	// Sample y·w+x of channel c is 10·c + y·w + x.
	im := func(c int) *Image {
		im := new(Image)
		im.alloc(c, 2, 3)
		for i := range im.Pix {
			im.Pix[i] = byte(10*(i/6) + i%6)
		}
		return im
	}
	nan := float32(math.NaN())
	for _, c := range []struct {
		name string
		im   *Image
		w    int
		x, y int
		want color.NRGBA
	}{
		{"grey", im(1), 3, 2, 1, gray(5)},
		{"side by side", im(2), 6, 5, 1, gray(15)},
		{"colour", im(3), 3, 1, 1, color.NRGBA{24, 14, 4, 255}},
		{"alpha", im(4), 3, 1, 1, color.NRGBA{24, 14, 4, 34}},
		{"many channels", im(70), 3 * 64, 3 * 12, 0, gray(120)},
		{"floats", &Image{C: 1, H: 1, W: 4, Float: []float32{-1, 0, 1, nan}}, 4, 1, 0, gray(128)},
		{"not a number", &Image{C: 1, H: 1, W: 4, Float: []float32{-1, 0, 1, nan}}, 4, 3, 0, gray(0)},
		{"equal floats", &Image{C: 1, H: 1, W: 2, Float: []float32{7, 7}}, 2, 1, 0, gray(0)},
	} {
		m := c.im.Picture()
		if got := pixel(m, c.x, c.y); m.Bounds().Dx() != c.w || m.Bounds().Dy() != c.im.H || got != c.want {
			t.Errorf("%s: picture of %v, pixel %v, want width %d, pixel %v", c.name, m.Bounds(), got, c.w, c.want)
		}
	}
}

func TestFloatRange(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, c := range []struct {
		v       []float32
		lo, hi  float32
		strange int
	}{
		{nil, 0, 0, 0},
		{[]float32{0, 5}, 0, 5, 0},
		{[]float32{3, 5, 4}, 3, 5, 0},
		{[]float32{nan, -inf, -5, -7, inf}, -7, -5, 3},
		{[]float32{nan}, 0, 0, 1},
	} {
		if lo, hi, n := FloatRange(c.v); lo != c.lo || hi != c.hi || n != c.strange {
			t.Errorf("%v: %g to %g, %d strange", c.v, lo, hi, n)
		}
	}
}
