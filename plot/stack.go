package plot

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"crema/internal/atomicfile"
	"crema/internal/sans"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// SaveStack writes several charts, one below the other, to one file whose name
// ends in .svg or .png.
func SaveStack(path string, charts []*Chart) error {
	if err := CheckName(path); err != nil {
		return err
	}
	write := writeSVG
	if strings.EqualFold(filepath.Ext(path), ".png") {
		write = writePNG
	}
	if err := atomicfile.Write(path, func(w io.Writer) error { return write(w, charts) }); err != nil {
		return fmt.Errorf("chart %s: %w", path, err)
	}
	return nil
}

func writeSVG(w io.Writer, charts []*Chart) error {
	width, height := stackSize(charts)
	canvas := vgsvg.New(width, height)
	drawStack(charts, draw.NewCanvas(canvas, width, height), false)
	return sans.WriteSVG(w, canvas)
}

func writePNG(w io.Writer, charts []*Chart) error {
	width, height := stackSize(charts)
	canvas := vgimg.NewWith(vgimg.UseWH(width, height), vgimg.UseDPI(96))
	drawStack(charts, draw.New(canvas), true)
	_, err := vgimg.PngCanvas{Canvas: canvas}.WriteTo(w)
	return err
}

// stackSize is the size of charts one below the other.
func stackSize(charts []*Chart) (w, h vg.Length) {
	for _, c := range charts {
		width, height := c.size()
		w, h = max(w, width), h+height
	}
	return w, h
}

// drawStack draws charts from the top of the canvas down, all as wide as the
// widest. raster says that the canvas is made of pixels.
func drawStack(charts []*Chart, canvas draw.Canvas, raster bool) {
	for _, c := range charts {
		_, height := c.size()
		part := canvas
		part.Min.Y = part.Max.Y - height
		c.draw(part, raster)
		canvas.Max.Y = part.Min.Y
	}
}
