package data

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/draw"
	"image/jpeg"
	"strings"
	"testing"
)

// TestUpsampling pins the triangle filters where no rounding of an IDCT can
// hide a mistake.
func TestUpsampling(t *testing.T) {
	plane := []byte{
		10, 50, 90,
		200, 0, 40,
	}
	for _, c := range []struct {
		name       string
		hFac, vFac int
		w, h       int
		want       [][]byte
	}{
		// (3·10+50+2)/4 = 20, (3·50+10+1)/4 = 40, …
		{"h2v1", 2, 1, 6, 2, [][]byte{{10, 20, 40, 60, 80, 90}, {200, 150, 50, 10, 30, 40}}},
		{"h1v2", 1, 2, 3, 4, [][]byte{{10, 50, 90}, {58, 38, 78}, {152, 12, 52}, {200, 0, 40}}},
		// Column sums 3·near + far: row 0 (40 200 360), row 1 (230 150 310),
		// row 2 (610 50 210), row 3 (800 0 160); then (3·a + b + 8 or 7)/16.
		{"h2v2", 2, 2, 6, 4, [][]byte{
			{10, 20, 40, 60, 80, 90}, {58, 52, 43, 47, 68, 77}, {153, 117, 48, 22, 43, 52}, {200, 150, 50, 10, 30, 40}}},
		{"h4v1", 4, 1, 12, 1, [][]byte{{10, 10, 10, 10, 50, 50, 50, 50, 90, 90, 90, 90}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := newUpsampler(plane, 3, c.h/c.vFac, c.w/c.hFac, c.hFac, c.vFac, make([]int32, c.w))
			for y, want := range c.want {
				if got := u.row(y, make([]byte, c.w+4))[:c.w]; !bytes.Equal(got, want) {
					t.Errorf("row %d: %v, want %v", y, got, want)
				}
			}
		})
	}
}

// TestJPEG compares with image/jpeg on pictures of many sizes, and reuses one
// decoder for all of them. Its inverse DCT may be off by one, which conversion
// to colours makes a little more.
func TestJPEG(t *testing.T) {
	var im Image
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
				if err := DecodeImage(b.Bytes(), Gray, &im); err != nil || im.Warning != "" {
					t.Fatalf("%v, quality %d: %v, %q", size, quality, err, im.Warning)
				}
				luma, stride := []byte(nil), 0
				switch w := want.(type) {
				case *image.YCbCr:
					luma, stride = w.Y, w.YStride
				case *image.Gray:
					luma, stride = w.Pix, w.Stride
				}
				for y := range size.Y {
					if e := worst(im.Pix[y*size.X:][:size.X], luma[y*stride:][:size.X]); e > 1 {
						t.Fatalf("%v, quality %d: row %d off by %d", size, quality, y, e)
					}
				}
				// Go's encoder writes annex K's tables: without them it is the
				// same picture.
				plain := bytes.Clone(im.Pix)
				if err := DecodeImage(without(b.Bytes(), markerDHT), Gray, &im); err != nil || !bytes.Equal(plain, im.Pix) {
					t.Fatalf("%v, quality %d: without Huffman tables: %v, or another picture", size, quality, err)
				}
			}
		}
	}
}

// without leaves the segments of one marker out of the head of a JPEG file.
func without(b []byte, marker byte) []byte {
	out := bytes.Clone(b[:2])
	i := 2
	for b[i+1] != markerSOS {
		n := 2 + int(binary.BigEndian.Uint16(b[i+2:]))
		if b[i+1] != marker {
			out = append(out, b[i:i+n]...)
		}
		i += n
	}
	return append(out, b[i:]...)
}

// TestJPEGDamaged compares files that are cut off or have odd markers, or
// wrong data, with what OpenCV and libjpeg make of them, to the bit: each at
// every length.
func TestJPEGDamaged(t *testing.T) {
	var im Image
	for _, f := range vectors(t, "testdata/damaged.txt", 4) {
		t.Run(f[0], func(t *testing.T) {
			var c, h, w int
			fmt.Sscan(f[1], &c, &h, &w)
			file := unhex(t, f[2])
			results := strings.Fields(f[3])
			_, whole, _ := strings.Cut(results[len(results)-1], ":")
			bad := 0
			check := func(n int, want string) {
				got := "-"
				err := DecodeImage(file[:n], Color, &im)
				if err == nil {
					got = fmt.Sprintf("%08x", crc32.ChecksumIEEE(im.Pix))
					if im.C != c || im.H != h || im.W != w {
						t.Errorf("first %d bytes: %d×%d×%d, want %d×%d×%d", n, im.C, im.H, im.W, c, h, w)
					}
					if got != whole && im.Warning == "" {
						t.Errorf("first %d bytes: no warning", n)
					}
				}
				if got != want {
					if bad++; bad < 5 {
						t.Errorf("first %d of %d bytes: %s (%v), want %s", n, len(file), got, err, want)
					}
				}
			}
			for i, r := range results {
				from, want, _ := strings.Cut(r, ":")
				var n, end int
				fmt.Sscan(from, &n)
				if end = len(file) + 1; i+1 < len(results) {
					fmt.Sscan(results[i+1], &end)
				}
				for n = min(n, len(file)); n < end; n++ {
					check(n, want)
				}
			}
		})
	}
}

// TestJPEGBomb: a small file cannot make the decoder take all memory.
func TestJPEGBomb(t *testing.T) {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, 16, 16)), nil); err != nil {
		t.Fatal(err)
	}
	f := b.Bytes()
	at := bytes.Index(f, []byte{0xff, 0xc0})
	binary.BigEndian.PutUint16(f[at+5:], 30000)
	binary.BigEndian.PutUint16(f[at+7:], 30000)
	err := DecodeImage(f, Color, new(Image))
	if err == nil || !strings.Contains(err.Error(), "for a picture of 30000×30000 pixels") {
		t.Errorf("error %v", err)
	}
}

// TestColourConversion compares the packed sums with libjpeg's formulas for
// every pair of chroma values.
func TestColourConversion(t *testing.T) {
	limit := func(v int) byte { return byte(max(0, min(v, 255))) }
	const n = 256 * 256
	ys, cbs, crs := make([]byte, n), make([]byte, n), make([]byte, n)
	for i := range n {
		cbs[i], crs[i] = byte(i), byte(i>>8)
	}
	out := make([]byte, 3*n)
	for _, y := range []int{0, 1, 77, 128, 200, 254, 255} {
		for i := range ys {
			ys[i] = byte(y)
		}
		yccRow(ys, cbs, crs, out, out[n:], out[2*n:])
		for i := range n {
			cb, cr := i&255-128, i>>8-128
			b := limit(y + (116130*cb+32768)>>16)
			g := limit(y + (-22554*cb-46802*cr+32768)>>16)
			r := limit(y + (91881*cr+32768)>>16)
			if out[i] != b || out[n+i] != g || out[2*n+i] != r {
				t.Fatalf("y %d cb %d cr %d: %d %d %d, want %d %d %d", y, cb+128, cr+128, out[i], out[n+i], out[2*n+i], b, g, r)
			}
		}
	}
}
