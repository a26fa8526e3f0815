package data

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"sync"

	"crema/prototxt/caffepb"
)

// An Image is a planar picture of C×H×W samples (see the package comment for
// the order of channels). Its buffers are reused by whatever fills it next.
type Image struct {
	C, H, W int
	// Pix holds the samples; nil if Float does.
	Pix []byte
	// Float holds the samples of records with float_data; nil if Pix does.
	Float []float32

	// Warning says what is wrong with the file that was decoded last, as the
	// rest of a sentence; empty if nothing is.
	Warning string

	buf      []byte    // owned; Pix may also point into a database
	floatBuf []float32 // owned
	jpeg     *jpegDecoder
}

// imagePool holds *Image for use as scratch.
var imagePool = sync.Pool{New: func() any { return new(Image) }}

// alloc shapes im as c×h×w bytes in its own buffer, with unspecified values.
func (im *Image) alloc(c, h, w int) {
	n := c * h * w
	if cap(im.buf) < n {
		im.buf = make([]byte, n)
	}
	im.C, im.H, im.W, im.Pix, im.Float = c, h, w, im.buf[:n], nil
}

// plane returns channel c of the bytes.
func (im *Image) plane(c int) []byte {
	n := im.H * im.W
	return im.Pix[c*n : (c+1)*n]
}

// Datum returns im as a raw record with that label. The record shares im's
// samples.
func (im *Image) Datum(label int) *caffepb.Datum {
	c, h, w, l := int32(im.C), int32(im.H), int32(im.W), int32(label)
	return &caffepb.Datum{Channels: &c, Height: &h, Width: &w, Label: &l, Data: im.Pix, FloatData: im.Float}
}

// A ColorMode says how many channels a decoded file gives.
type ColorMode int

const (
	// Native keeps what the file has: 1 for grey, 3 for colour, 4 for PNG
	// files with transparency (cv::imdecode with IMREAD_UNCHANGED).
	Native ColorMode = iota
	// Color gives 3 channels; alpha is dropped, not blended (IMREAD_COLOR).
	Color
	// Gray gives 1 channel (IMREAD_GRAYSCALE): the luma of a JPEG file as
	// stored, libpng's weighted sum of a PNG file.
	Gray
)

// maxPixels is OpenCV's limit on the size of a picture
// (CV_IO_MAX_IMAGE_PIXELS). It is checked before anything is allocated.
const maxPixels = 1 << 30

var errTooLarge = errors.New("picture of more than 2^30 pixels")

type fileFormat int

const (
	formatJPEG fileFormat = iota
	formatPNG
	formatBMP
	formatTIFF
	formatPNM
)

// formatNames are their names.
var formatNames = map[fileFormat]string{formatJPEG: "JPEG", formatPNG: "PNG", formatBMP: "BMP", formatTIFF: "TIFF", formatPNM: "PNM"}

// A header is what the first bytes of an image file say.
type header struct {
	format fileFormat
	h, w   int
	native int // channels under Native
}

// channels returns the number of channels a mode gives.
func (h header) channels(mode ColorMode) int {
	switch mode {
	case Color:
		return 3
	case Gray:
		return 1
	}
	return h.native
}

var (
	jpegMagic = []byte{0xff, 0xd8, 0xff}
	pngMagic  = []byte("\x89PNG\r\n\x1a\n")
	bmpMagic  = []byte("BM")

	tiffMagicLE = []byte("II*\x00")
	tiffMagicBE = []byte("MM\x00*")
)

// otherFormats are kinds of files that are not read, and what they begin with
// at an offset.
var otherFormats = []struct {
	at          int
	magic, name string
}{
	{0, "GIF8", "GIF file, which OpenCV does not read either"},
	{8, "WEBP", "WebP file"},
	{4, "ftypavif", "AVIF file"},
	{4, "ftyphei", "HEIF file"},
	{4, "jP  ", "JPEG 2000 file"},
	{0, "\xff\x4f\xff\x51", "JPEG 2000 file"},
	{0, "II+\x00", "BigTIFF file"},
	{0, "MM\x00+", "BigTIFF file"},
	{0, "P7", "PAM file"},
	{0, "8BPS", "Photoshop file"},
	{0, "v/1\x01", "OpenEXR file"},
	{0, "#?RADIANCE", "Radiance HDR file"},
	{0, "\x59\xa6\x6a\x95", "Sun raster file"},
	{0, "%PDF", "PDF file"},
	{0, "<", "text file of some markup language (HTML?)"},
}

func unknownFormat(b []byte) error {
	for _, f := range otherFormats {
		if len(b) > f.at && bytes.HasPrefix(b[f.at:], []byte(f.magic)) {
			return fmt.Errorf("%s: only JPEG, PNG, BMP, TIFF and PPM, PGM or PBM files are read", f.name)
		}
	}
	return fmt.Errorf("neither a JPEG, PNG, BMP, TIFF nor PPM, PGM or PBM file (it starts with %q)", b[:min(len(b), 8)])
}

// readHeader finds the size and kind of an image file from its bytes; the
// file's name plays no part, as in OpenCV.
func readHeader(b []byte) (header, error) {
	var hd header
	var err error
	switch {
	case len(b) == 0:
		return hd, errors.New("empty image")
	case bytes.HasPrefix(b, jpegMagic):
		hd, err = jpegHeader(b)
	case bytes.HasPrefix(b, pngMagic):
		hd, err = pngHeader(b)
	case bytes.HasPrefix(b, bmpMagic):
		hd, err = bmpHeader(b)
	case bytes.HasPrefix(b, tiffMagicLE), bytes.HasPrefix(b, tiffMagicBE):
		hd, err = tiffHeader(b)
	case isPNM(b):
		var p pnm
		p, err = readPNM(b)
		hd = header{format: formatPNM, h: p.h, w: p.w, native: p.c}
	default:
		return hd, unknownFormat(b)
	}
	if err != nil {
		return hd, err
	}
	if hd.w <= 0 || hd.h <= 0 {
		return hd, fmt.Errorf("picture of %d×%d pixels", hd.h, hd.w)
	}
	if hd.h > maxPixels/hd.w {
		return hd, errTooLarge
	}
	// No compression but that of blank pages packs more pixels into a byte. A
	// JPEG file may be cut off: its decoder looks for itself.
	if n := hd.h * hd.w; hd.format != formatJPEG && n > 1<<26 && n>>14 > len(b) {
		return hd, fmt.Errorf("file of %d bytes for a picture of %d×%d pixels", len(b), hd.h, hd.w)
	}
	return hd, nil
}

// PNG colour types (PNG specification, 11.2.2).
const (
	pngGray    = 0
	pngRGB     = 2
	pngPalette = 3
)

// pngHeader reads IHDR, and looks for tRNS, which decides whether OpenCV keeps
// a fourth channel.
func pngHeader(b []byte) (header, error) {
	if len(b) < 33 || string(b[12:16]) != "IHDR" {
		return header{}, errors.New("PNG file without IHDR")
	}
	w, h := binary.BigEndian.Uint32(b[16:]), binary.BigEndian.Uint32(b[20:])
	if w > maxPixels || h > maxPixels {
		return header{}, errTooLarge
	}
	hd := header{format: formatPNG, h: int(h), w: int(w), native: 4}
	switch b[25] {
	case pngGray:
		hd.native = 1
	case pngRGB, pngPalette:
		hd.native = 3
		for i := 8; i+12 <= len(b); {
			n := int(binary.BigEndian.Uint32(b[i:]))
			name := string(b[i+4 : i+8])
			if name == "tRNS" {
				hd.native = 4
			}
			if name == "tRNS" || name == "IDAT" || n > len(b) {
				break
			}
			i += 12 + n
		}
	}
	return hd, nil
}

// DecodeImage decodes the bytes of a JPEG, PNG, BMP, TIFF, PPM, PGM or PBM file
// into im. A JPEG file that
// is cut off or damaged gives what libjpeg makes of it, which is grey where
// data are missing, and a Warning.
func DecodeImage(b []byte, mode ColorMode, im *Image) error {
	_, err := decodeImage(b, mode, im)
	return err
}

// decodeImage is DecodeImage; it also returns the number of channels the file
// gives under Native.
func decodeImage(b []byte, mode ColorMode, im *Image) (native int, err error) {
	im.Warning = ""
	hd, err := readHeader(b)
	if err != nil {
		return 0, err
	}
	switch hd.format {
	case formatJPEG:
		if im.jpeg == nil {
			im.jpeg = new(jpegDecoder)
		}
		if err := im.jpeg.decode(b); err != nil {
			return 0, err
		}
		im.alloc(hd.channels(mode), hd.h, hd.w)
		im.jpeg.picture(im)
		im.Warning = im.jpeg.warning()
	case formatBMP:
		im.alloc(hd.channels(mode), hd.h, hd.w)
		err = decodeBMP(b, im)
	case formatTIFF:
		im.alloc(hd.channels(mode), hd.h, hd.w)
		err = decodeTIFF(b, im)
	case formatPNM:
		p, _ := readPNM(b)
		if p.smallest() > len(p.pixels) {
			return 0, fmt.Errorf("%w: %d bytes of pixels, but %d×%d need %d or more", errPNM, len(p.pixels), p.h, p.w, p.smallest())
		}
		im.alloc(hd.channels(mode), hd.h, hd.w)
		err = p.decode(im)
	default:
		err = decodePNG(b, hd, mode, im)
	}
	return hd.native, err
}

// decodePNG makes im the picture of a PNG file.
func decodePNG(b []byte, hd header, mode ColorMode, im *Image) error {
	m, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		return err
	}
	if s := m.Bounds().Size(); s.X != hd.w || s.Y != hd.h {
		return fmt.Errorf("picture is %d×%d, its header says %d×%d", s.Y, s.X, hd.h, hd.w)
	}
	im.alloc(hd.channels(mode), hd.h, hd.w)
	switch m := m.(type) {
	case *image.Gray:
		copyGray(im, m.Pix, m.Stride)
	case *image.RGBA:
		convertRows(im, rgbaRow(m.Pix, m.Stride), grayPNG)
	case *image.NRGBA:
		convertRows(im, rgbaRow(m.Pix, m.Stride), grayPNG)
	case *image.Gray16:
		convertRows(im, gray16Row(m), grayPNG)
	case *image.RGBA64:
		convertRows(im, rgba64Row(m.Pix, m.Stride, im.C == 1), grayPNG)
	case *image.NRGBA64:
		convertRows(im, rgba64Row(m.Pix, m.Stride, im.C == 1), grayPNG)
	case *image.Paletted:
		convertRows(im, palettedRow(m), grayPNG)
	default:
		return fmt.Errorf("unsupported kind of picture %T", m)
	}
	return nil
}

// copyGray copies grey samples to every channel of im.
func copyGray(im *Image, pix []byte, stride int) {
	p := im.plane(0)
	for y := range im.H {
		copy(p[y*im.W:(y+1)*im.W], pix[y*stride:])
	}
	for c := 1; c < im.C; c++ {
		copy(im.plane(c), p)
	}
}

// A rowFunc writes row y as interleaved red, green, blue, alpha.
type rowFunc func(y int, rgba []byte)

// A grayFunc weighs red, green and blue.
type grayFunc func(r, g, b int) byte

// convertRows fills im from RGBA rows. One channel of a colour picture is the
// weighted sum; of a grey one, where the three are equal, it is the sample.
func convertRows(im *Image, row rowFunc, gray grayFunc) {
	buf := make([]byte, 4*im.W)
	n := im.H * im.W
	for y := range im.H {
		row(y, buf)
		o := y * im.W
		if im.C == 1 {
			for x := range im.W {
				r, g, b := buf[4*x], buf[4*x+1], buf[4*x+2]
				if r == g && g == b {
					im.Pix[o+x] = r
				} else {
					im.Pix[o+x] = gray(int(r), int(g), int(b))
				}
			}
			continue
		}
		for x := range im.W {
			im.Pix[o+x] = buf[4*x+2]
			im.Pix[n+o+x] = buf[4*x+1]
			im.Pix[2*n+o+x] = buf[4*x]
		}
		if im.C == 4 {
			for x := range im.W {
				im.Pix[3*n+o+x] = buf[4*x+3]
			}
		}
	}
}

// libpng's weights of red, green and blue (png_set_rgb_to_gray) as OpenCV sets
// them, 0.299 and 0.587: 15-bit fractions, cut off.
const (
	pngR = 29900 * 32768 / 100000
	pngG = 58700 * 32768 / 100000
	pngB = 32768 - pngR - pngG
)

// grayPNG is libpng's png_do_rgb_to_gray of 8-bit samples, which cuts off too.
func grayPNG(r, g, b int) byte { return byte((pngR*r + pngG*g + pngB*b) >> 15) }

// grayJPEG is libjpeg's rgb_gray_convert (jdcolor.c), 16-bit fractions.
func grayJPEG(r, g, b int) byte {
	return byte((19595*r + 38470*g + 7471*b + 32768) >> 16)
}

// grayBT601x14 is OpenCV's own conversion of rows (imgcodecs utils.cpp),
// 14-bit fractions.
func grayBT601x14(r, g, b int) byte {
	return byte((4899*r + 9617*g + 1868*b + 8192) >> 14)
}

func rgbaRow(pix []byte, stride int) rowFunc {
	return func(y int, rgba []byte) { copy(rgba, pix[y*stride:]) }
}

// rgba64Row keeps the high byte of each sample, as png_set_strip_16 does. If
// gray is set it weighs the 16-bit samples first, rounding, as libpng does.
func rgba64Row(pix []byte, stride int, gray bool) rowFunc {
	return func(y int, rgba []byte) {
		s := pix[y*stride:]
		for i := range rgba {
			rgba[i] = s[2*i]
		}
		if !gray {
			return
		}
		for i := 0; i < len(rgba); i += 4 {
			at := func(c int) int { return int(binary.BigEndian.Uint16(s[2*(i+c):])) }
			v := byte((pngR*at(0) + pngG*at(1) + pngB*at(2) + 16384) >> 15 >> 8)
			rgba[i], rgba[i+1], rgba[i+2] = v, v, v
		}
	}
}

func gray16Row(m *image.Gray16) rowFunc {
	return func(y int, rgba []byte) {
		s := m.Pix[y*m.Stride:]
		for x := 0; x < len(rgba); x += 4 {
			v := s[x/2]
			rgba[x], rgba[x+1], rgba[x+2], rgba[x+3] = v, v, v, 255
		}
	}
}

func palettedRow(m *image.Paletted) rowFunc {
	var pal [256][4]byte
	for i, c := range m.Palette {
		n := color.NRGBAModel.Convert(c).(color.NRGBA)
		pal[i] = [4]byte{n.R, n.G, n.B, n.A}
	}
	return func(y int, rgba []byte) {
		s := m.Pix[y*m.Stride:]
		for x := 0; x < len(rgba); x += 4 {
			copy(rgba[x:x+4], pal[s[x/4]][:])
		}
	}
}
