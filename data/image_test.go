package data

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"image"
	"image/draw"
	"image/jpeg"
	"os"
	"slices"
	"strings"
	"testing"
)

// vectors returns the fields of a file of recorded vectors.
func vectors(t *testing.T, path string, fields int) [][]string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var rows [][]string
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Split(line, "|")
		if len(f) != fields {
			t.Fatalf("%s: line of %d fields", path, len(f))
		}
		for i := range f {
			f[i] = strings.TrimSpace(f[i])
		}
		rows = append(rows, f)
	}
	return rows
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// worst returns the largest difference of two byte slices of one length.
func worst(a, b []byte) int {
	m := 0
	for i := range a {
		m = max(m, int(a[i])-int(b[i]), int(b[i])-int(a[i]))
	}
	return m
}

// TestDecodeImage compares with what OpenCV gave: PNG and baseline JPEG files
// to the bit, the JPEG files that image/jpeg decodes within what its IDCT can
// make of a sample (one level of luma, 1.8 of chroma).
func TestDecodeImage(t *testing.T) {
	modes := map[string]ColorMode{"native": Native, "color": Color, "gray": Gray}
	var file []byte
	var im Image
	for _, f := range vectors(t, "testdata/decode.txt", 5) {
		t.Run(f[0]+" "+f[1], func(t *testing.T) {
			if f[3] != "=" {
				file = unhex(t, f[3])
			}
			var c, h, w int
			fmt.Sscan(f[2], &c, &h, &w)
			mode, want := modes[f[1]], unhex(t, f[4])
			hd, err := readHeader(file)
			if err != nil || hd.channels(mode) != c || hd.h != h || hd.w != w {
				t.Errorf("header %+v, %v, want %d×%d×%d", hd, err, c, h, w)
			}
			if err := DecodeImage(file, mode, &im); err != nil {
				t.Fatal(err)
			}
			if im.C != c || im.H != h || im.W != w || len(im.Pix) != len(want) {
				t.Fatalf("%d×%d×%d, want %d×%d×%d", im.C, im.H, im.W, c, h, w)
			}
			tol := 0
			if strings.HasPrefix(f[0], "jpeg") {
				_, err := new(baselineDecoder).decode(file)
				rare := slices.Contains([]string{"jpeg progressive", "jpeg cmyk", "jpeg 411", "jpeg 410", "jpeg rgb"}, f[0])
				if (err != nil) != rare {
					t.Errorf("the baseline decoder says %v", err)
				}
				if rare {
					tol = 3
				}
			}
			if d := worst(im.Pix, want); d > tol {
				t.Errorf("off by %d, allowed %d\n got %x\nwant %x", d, tol, im.Pix, want)
			}
		})
	}
}

// TestUpsampling pins the triangle filters where no rounding of an IDCT can
// hide a mistake.
func TestUpsampling(t *testing.T) {
	plane := []byte{
		10, 50, 90,
		200, 0, 40,
	}
	for _, c := range []struct {
		name  string
		ratio image.YCbCrSubsampleRatio
		w, h  int
		want  [][]byte
	}{
		// (3·10+50+2)/4 = 20, (3·50+10+1)/4 = 40, …
		{"h2v1", image.YCbCrSubsampleRatio422, 6, 2, [][]byte{{10, 20, 40, 60, 80, 90}, {200, 150, 50, 10, 30, 40}}},
		{"h1v2", image.YCbCrSubsampleRatio440, 3, 4, [][]byte{{10, 50, 90}, {58, 38, 78}, {152, 12, 52}, {200, 0, 40}}},
		// Column sums 3·near + far: row 0 (40 200 360), row 1 (230 150 310),
		// row 2 (610 50 210), row 3 (800 0 160); then (3·a + b + 8 or 7)/16.
		{"h2v2", image.YCbCrSubsampleRatio420, 6, 4, [][]byte{
			{10, 20, 40, 60, 80, 90}, {58, 52, 43, 47, 68, 77}, {153, 117, 48, 22, 43, 52}, {200, 150, 50, 10, 30, 40}}},
		{"h4v1", image.YCbCrSubsampleRatio411, 12, 1, [][]byte{{10, 10, 10, 10, 50, 50, 50, 50, 90, 90, 90, 90}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &image.YCbCr{CStride: 3, SubsampleRatio: c.ratio, Rect: image.Rect(0, 0, c.w, c.h)}
			u := newUpsampler(plane, m, make([]int32, c.w))
			for y, want := range c.want {
				if got := u.row(y, make([]byte, c.w+4))[:c.w]; !bytes.Equal(got, want) {
					t.Errorf("row %d: %v, want %v", y, got, want)
				}
			}
		})
	}
}

func TestDecodeImageErrors(t *testing.T) {
	var jpg bytes.Buffer
	if err := jpeg.Encode(&jpg, image.NewGray(image.Rect(0, 0, 40, 40)), nil); err != nil {
		t.Fatal(err)
	}
	full := jpg.Bytes()
	png := func(w, h uint32) []byte {
		b := append([]byte(pngMagic), "\x00\x00\x00\rIHDR"...)
		b = binary.BigEndian.AppendUint32(b, w)
		b = binary.BigEndian.AppendUint32(b, h)
		return append(b, 8, 0, 0, 0, 0, 0, 0, 0, 0)
	}
	for _, c := range []struct {
		name string
		file []byte
		want string
	}{
		{"empty", nil, "empty"},
		{"text", []byte("hello, world"), "neither a JPEG nor a PNG"},
		{"only magic", full[:3], "frame header"},
		{"cut in the header", full[:len(full)/2], ""},
		{"cut in the picture", full[:len(full)-8], ""},
		{"PNG head only", pngMagic, "IHDR"},
		{"PNG without pixels", png(0, 5), "0 pixels"},
		{"PNG of absurd size", png(1<<30, 1<<20), "2^30"},
		{"PNG without data", png(5, 5), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := DecodeImage(c.file, Native, new(Image))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
	// Only the end marker is missing: decodes, as with libjpeg.
	if err := DecodeImage(full[:len(full)-2], Native, new(Image)); err != nil {
		t.Errorf("without an end marker: %v", err)
	}
}

func FuzzDecodeImage(f *testing.F) {
	f.Add([]byte("\xff\xd8\xff\xc0\x00\x0b\x08\x00\x01\x00\x01\x01\x01\x11\x00"))
	f.Add([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"))
	f.Fuzz(func(t *testing.T, b []byte) {
		hd, err := readHeader(b)
		if err != nil || hd.h*hd.w > 1<<20 {
			return
		}
		// Where both decoders give a picture, it is the same one.
		if hd.format == formatJPEG {
			fast, err := new(baselineDecoder).decode(b)
			slow, err2 := jpeg.Decode(bytes.NewReader(b))
			if err == nil && err2 == nil && fast.Bounds() != slow.Bounds() {
				t.Errorf("pictures of %v and %v", fast.Bounds(), slow.Bounds())
			}
		}
		var im Image
		if DecodeImage(b, Native, &im) == nil && len(im.Pix) != hd.native*hd.h*hd.w {
			t.Errorf("%d samples, header %+v", len(im.Pix), hd)
		}
	})
}

// TestBaseline compares the two JPEG decoders on pictures of many sizes, and
// reuses one decoder for all of them. Any byte may be damaged then: the result
// is a picture or errNotBaseline.
func TestBaseline(t *testing.T) {
	d := new(baselineDecoder)
	for i, size := range []image.Point{{1, 1}, {8, 8}, {17, 5}, {3, 40}, {100, 31}, {64, 64}, {16, 16}} {
		rgb := photo(uint64(i)).SubImage(image.Rect(20, 30, 20+size.X, 30+size.Y))
		gray := image.NewGray(rgb.Bounds())
		draw.Draw(gray, gray.Bounds(), rgb, rgb.Bounds().Min, draw.Src)
		for _, m := range []image.Image{rgb, gray} {
			for _, quality := range []int{5, 75, 100} {
				var b bytes.Buffer
				if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: quality}); err != nil {
					t.Fatal(err)
				}
				want, err := jpeg.Decode(bytes.NewReader(b.Bytes()))
				if err != nil {
					t.Fatal(err)
				}
				got, err := d.decode(b.Bytes())
				if err != nil {
					t.Fatalf("%v, quality %d: %v", size, quality, err)
				}
				same := func(a, b []byte, strideA, strideB, w, h int) {
					for y := range h {
						if e := worst(a[y*strideA:][:w], b[y*strideB:][:w]); e > 1 {
							t.Fatalf("%v, quality %d: row %d off by %d", size, quality, y, e)
						}
					}
				}
				switch w := want.(type) {
				case *image.YCbCr:
					g := got.(*image.YCbCr)
					if g.SubsampleRatio != w.SubsampleRatio || g.Rect != w.Rect {
						t.Fatalf("%v %v, want %v %v", g.Rect, g.SubsampleRatio, w.Rect, w.SubsampleRatio)
					}
					same(g.Y, w.Y, g.YStride, w.YStride, size.X, size.Y)
					same(g.Cb, w.Cb, g.CStride, w.CStride, (size.X+1)/2, (size.Y+1)/2)
					same(g.Cr, w.Cr, g.CStride, w.CStride, (size.X+1)/2, (size.Y+1)/2)
				case *image.Gray:
					g := got.(*image.Gray)
					same(g.Pix, w.Pix, g.Stride, w.Stride, size.X, size.Y)
				}
				if size.X != 17 {
					continue
				}
				for j := range b.Len() {
					bad := bytes.Clone(b.Bytes())
					bad[j] ^= 0x81
					if _, err := d.decode(bad); err != nil && err != errNotBaseline {
						t.Fatalf("byte %d damaged: %v", j, err)
					}
					if _, err := d.decode(bad[:j]); err == nil && j < b.Len()-2 {
						t.Fatalf("decodes although cut off at %d of %d", j, b.Len())
					}
				}
			}
		}
	}
}

// TestResize compares with OpenCV to the bit.
func TestResize(t *testing.T) {
	for _, f := range vectors(t, "testdata/resize.txt", 4) {
		t.Run(f[0]+" to "+f[1], func(t *testing.T) {
			var src, dst Image
			var h, w, oh, ow int
			fmt.Sscan(f[0], &h, &w)
			fmt.Sscan(f[1], &oh, &ow)
			// Two channels, the second one inverted, to see that channels keep
			// apart.
			src.alloc(2, h, w)
			copy(src.plane(0), unhex(t, f[2]))
			for i, v := range src.plane(0) {
				src.plane(1)[i] = ^v
			}
			Resize(&dst, &src, oh, ow)
			if want := unhex(t, f[3]); !bytes.Equal(dst.plane(0), want) {
				t.Errorf("got %x, want %x", dst.plane(0), want)
			}
			for i, v := range dst.plane(1) {
				if d := int(v) + int(dst.plane(0)[i]) - 255; d < -1 || d > 1 {
					t.Fatalf("second channel is %d where the first is %d", v, dst.plane(0)[i])
				}
			}
		})
	}
}

// TestColourConversion compares the packed sums with libjpeg's formulas for
// every pair of chroma values.
func TestColourConversion(t *testing.T) {
	limit := func(v int) byte { return byte(max(0, min(v, 255))) }
	const n = 256 * 256
	m := image.NewYCbCr(image.Rect(0, 0, 256, 256), image.YCbCrSubsampleRatio444)
	for i := range n {
		m.Cb[i], m.Cr[i] = byte(i), byte(i>>8)
	}
	var im Image
	im.alloc(3, 256, 256)
	for _, y := range []int{0, 1, 77, 128, 200, 254, 255} {
		for i := range m.Y {
			m.Y[i] = byte(y)
		}
		ycbcrToBGR(m, &im)
		for i := range n {
			cb, cr := i&255-128, i>>8-128
			b := limit(y + (116130*cb+32768)>>16)
			g := limit(y + (-22554*cb-46802*cr+32768)>>16)
			r := limit(y + (91881*cr+32768)>>16)
			if im.Pix[i] != b || im.Pix[n+i] != g || im.Pix[2*n+i] != r {
				t.Fatalf("y %d cb %d cr %d: %d %d %d, want %d %d %d", y, cb+128, cr+128, im.Pix[i], im.Pix[n+i], im.Pix[2*n+i], b, g, r)
			}
		}
	}
}
