// Package sans is the font of all charts and drawings: gonum's copy of
// Liberation Sans, which is compiled in, so that pictures look the same on every
// machine.
package sans

import (
	"bytes"
	"io"

	stdfont "golang.org/x/image/font"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/font/liberation"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Cache has the faces of the font.
var Cache = font.NewCache(liberation.Collection())

// Font returns the font of a size, which is a length on the canvas.
func Font(size vg.Length, bold bool) font.Font {
	f := font.Font{Typeface: "Liberation", Variant: "Sans", Size: size}
	if bold {
		f.Weight = stdfont.WeightBold
	}
	return f
}

// WriteSVG writes what was drawn on c as an SVG document. An SVG file has text,
// not its outlines: where Liberation Sans is not installed, a viewer takes Arial
// or Helvetica, whose letters have the same widths.
func WriteSVG(w io.Writer, c *vgsvg.Canvas) error {
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		return err
	}
	const family = "font-family:Liberation Sans"
	_, err := w.Write(bytes.ReplaceAll(b.Bytes(), []byte(family), []byte(family+",Arial,Helvetica,sans-serif")))
	return err
}
