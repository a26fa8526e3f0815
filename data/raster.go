package data

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
)

// bmpHeader finds the size of a BMP file, and the channels OpenCV gives: one if
// it has a palette of greys, four only if it is of 32 bits with masks
// (grfmt_bmp.cpp).
func bmpHeader(b []byte) (header, error) {
	c, err := bmp.DecodeConfig(bytes.NewReader(b))
	if err != nil {
		return header{}, bmpError(err)
	}
	hd := header{format: formatBMP, h: c.Height, w: c.Width, native: 3}
	if p, ok := c.ColorModel.(color.Palette); ok {
		hd.native = 1
		for _, v := range p {
			if v := v.(color.RGBA); v.R != v.G || v.R != v.B {
				hd.native = 3
			}
		}
	}
	// The info header was read above. 3: BI_BITFIELDS.
	if bits, kind := binary.LittleEndian.Uint16(b[28:]), binary.LittleEndian.Uint32(b[30:]); bits == 32 && kind == 3 {
		hd.native = 4
	}
	return hd, nil
}

func bmpError(err error) error {
	if err == bmp.ErrUnsupported {
		return errors.New("BMP file of a rare kind (compressed, of 16 bits a pixel, with masks, or with a gap before the pixels), which is not supported: convert it to PNG")
	}
	return fmt.Errorf("BMP file: %w", err)
}

func decodeBMP(b []byte, im *Image) error {
	m, err := bmp.Decode(bytes.NewReader(b))
	if err != nil {
		return bmpError(err)
	}
	switch m := m.(type) {
	case *image.Paletted:
		convertRows(im, palettedRow(m), grayBT601x14)
	case *image.RGBA:
		convertRows(im, rgbaRow(m.Pix, m.Stride), grayBT601x14)
	case *image.NRGBA:
		convertRows(im, rgbaRow(m.Pix, m.Stride), grayBT601x14)
	default:
		return fmt.Errorf("BMP file: unsupported kind of picture %T", m)
	}
	return nil
}

// Tags of TIFF's directory (TIFF 6.0).
const (
	tiffCompression     = 259
	tiffPhotometric     = 262
	tiffSamplesPerPixel = 277
	tiffPlanarConfig    = 284
)

// tiffTag returns the first value of a tag of the first directory, or def if
// it is not there. The values wanted here are all of 16 bits, in place or, of
// more than two, elsewhere.
func tiffTag(b []byte, tag uint16, def int) int {
	var order binary.ByteOrder = binary.LittleEndian
	if b[0] == 'M' {
		order = binary.BigEndian
	}
	at := func(i, n uint64) []byte {
		if i+n > uint64(len(b)) {
			return make([]byte, n)
		}
		return b[i : i+n]
	}
	dir := uint64(order.Uint32(at(4, 4)))
	for i := range uint64(order.Uint16(at(dir, 2))) {
		e := at(dir+2+12*i, 12)
		if order.Uint16(e) != tag {
			continue
		}
		if order.Uint32(e[4:]) > 2 {
			return int(order.Uint16(at(uint64(order.Uint32(e[8:])), 2)))
		}
		return int(order.Uint16(e[8:]))
	}
	return def
}

func tiffHeader(b []byte) (header, error) {
	if tiffTag(b, tiffPlanarConfig, 1) != 1 {
		return header{}, tiffError(tiff.UnsupportedError("channels stored apart"))
	}
	c, err := tiff.DecodeConfig(bytes.NewReader(b))
	if err != nil {
		return header{}, tiffError(err)
	}
	hd := header{format: formatTIFF, h: c.Height, w: c.Width}
	switch tiffTag(b, tiffPhotometric, 0) {
	case 0, 1: // grey
		hd.native = 1
	case 2: // RGB
		hd.native = tiffTag(b, tiffSamplesPerPixel, 1)
		if hd.native != 3 && hd.native != 4 {
			return header{}, fmt.Errorf("TIFF file of %d channels", hd.native)
		}
	default:
		hd.native = 3
	}
	return hd, nil
}

func tiffError(err error) error {
	if err, ok := err.(tiff.UnsupportedError); ok {
		return fmt.Errorf("TIFF file of a kind that is not supported (%s): convert it to PNG", string(err))
	}
	return fmt.Errorf("TIFF file that is damaged, or of a kind that is not supported: %w", err)
}

// decodeTIFF converts as libtiff's RGBA interface does, through which OpenCV
// reads (tif_getimage.c).
func decodeTIFF(b []byte, im *Image) error {
	m, err := tiff.Decode(bytes.NewReader(b))
	if err != nil {
		return tiffError(err)
	}
	var row rowFunc
	switch m := m.(type) {
	case *image.Gray:
		// Fax codes know white and black, which the library takes by their names.
		// libtiff takes white for 0, and then for what the file says 0 is.
		if c := tiffTag(b, tiffCompression, 1); (c == 3 || c == 4) && tiffTag(b, tiffPhotometric, 0) == 1 {
			for i := range m.Pix {
				m.Pix[i] = ^m.Pix[i]
			}
		}
		copyGray(im, m.Pix, m.Stride)
		return nil
	case *image.Gray16:
		row = gray16Row(m)
	case *image.Paletted:
		row = tiffPalettedRow(m)
	case *image.RGBA:
		row = rgbaRow(m.Pix, m.Stride)
	case *image.NRGBA:
		row = premultiply(rgbaRow(m.Pix, m.Stride))
	case *image.RGBA64:
		row = narrowRow(m.Pix, m.Stride)
	case *image.NRGBA64:
		row = premultiply(narrowRow(m.Pix, m.Stride))
	default:
		return fmt.Errorf("TIFF file: unsupported kind of picture %T", m)
	}
	convertRows(im, row, grayBT601x14)
	return nil
}

// narrow16 is a big-endian sample of 16 bits in 8, rounded.
func narrow16(s []byte) byte {
	return byte((int(binary.BigEndian.Uint16(s)) + 128) / 257)
}

func narrowRow(pix []byte, stride int) rowFunc {
	return func(y int, rgba []byte) {
		s := pix[y*stride:]
		for i := range rgba {
			rgba[i] = narrow16(s[2*i:])
		}
	}
}

// premultiply multiplies the colours by alpha.
func premultiply(row rowFunc) rowFunc {
	return func(y int, rgba []byte) {
		row(y, rgba)
		for x := 0; x < len(rgba); x += 4 {
			a := int(rgba[x+3])
			for c := range 3 {
				rgba[x+c] = byte((int(rgba[x+c])*a + 127) / 255)
			}
		}
	}
}

// tiffPalettedRow takes the high bytes of a palette of 16 bits, unless none of
// its values needs more than 8.
func tiffPalettedRow(m *image.Paletted) rowFunc {
	shift := 0
	for _, c := range m.Palette {
		if c := c.(color.RGBA64); c.R > 255 || c.G > 255 || c.B > 255 {
			shift = 8
		}
	}
	pal := make([][4]byte, len(m.Palette))
	for i, c := range m.Palette {
		c := c.(color.RGBA64)
		pal[i] = [4]byte{byte(c.R >> shift), byte(c.G >> shift), byte(c.B >> shift), 255}
	}
	return func(y int, rgba []byte) {
		for x, v := range m.Pix[y*m.Stride:][:len(rgba)/4] {
			copy(rgba[4*x:4*x+4], pal[v][:])
		}
	}
}
