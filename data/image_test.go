package data

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"image"
	"image/jpeg"
	"os"
	"strings"
	"testing"
)

// vectors returns the fields of a file of recorded vectors.
func vectors(t testing.TB, path string, fields int) [][]string {
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

func unhex(t testing.TB, s string) []byte {
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

// TestDecodeImage compares with what OpenCV gave, to the bit.
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
			if im.Warning != "" {
				t.Errorf("warning %q", im.Warning)
			}
			if d := worst(im.Pix, want); d > 0 {
				t.Errorf("off by %d\n got %x\nwant %x", d, im.Pix, want)
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
		{"text", []byte("hello, world"), "neither a JPEG, PNG, BMP, TIFF nor PPM"},
		{"GIF", []byte("GIF89a and more"), "GIF file, which OpenCV does not read either: only JPEG"},
		{"WebP", []byte("RIFF\x00\x00\x00\x00WEBPVP8 "), "WebP file: only JPEG"},
		{"HTML", []byte("<html>404</html>"), "HTML"},
		{"BMP head only", []byte("BM"), "BMP file: unexpected EOF"},
		{"BMP cut off", bmpFile(9, 7, 24)[:100], "BMP file: unexpected EOF"},
		{"BMP of 16 bits", bmpFile(9, 7, 16), "BMP file of a rare kind"},
		{"BMP of absurd size", bmpFile(30000, 30000, 24)[:200], "file of 200 bytes for a picture of 30000×30000"},
		{"TIFF head only", []byte("II*\x00"), "TIFF file"},
		{"TIFF directory past the end", []byte("II*\x00\xff\xff\xff\xff1234"), "TIFF file"},
		{"PPM head only", []byte("P6\n3"), "does not give width, height"},
		{"PPM with letters", []byte("P6\n3 x 255\n"), "does not give width, height"},
		{"PPM cut off", []byte("P6 2 2 255\n12345678901"), "11 bytes of pixels, but 2×2 need 12 or more"},
		{"PPM of absurd size", []byte("P6 30000 30000 255\n"), "file of 19 bytes for a picture of 30000×30000"},
		{"PPM too large", []byte("P6 999999 999999 255\n"), "2^30"},
		{"PGM that ends early", []byte("P2 2 2 255\n1 2 3 444"), "before its 2×2 pixels are complete"},
		{"PGM with a sign", []byte("P2 2 2 255\n1 2 -3 4\n"), "before its 2×2 pixels are complete"},
		{"PGM without a range", []byte("P2 2 2 0\n1 2 3 4\n"), "largest value of a sample is 0"},
		{"only magic", full[:3], "frame header"},
		{"cut in the header", full[:len(full)/2], ""},
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
}

// bmpFile is an uncompressed, black BMP file.
func bmpFile(w, h, bits int) []byte {
	b := []byte("BM")
	le := binary.LittleEndian
	for _, v := range []int{0, 0, 54, 40, w, h, 1 | bits<<16, 0, 0, 0, 0, 0, 0} {
		b = le.AppendUint32(b, uint32(v))
	}
	return append(b, make([]byte, min(1000, h*((w*bits/8+3)&^3)))...)
}

func FuzzDecodeImage(f *testing.F) {
	for _, v := range []struct {
		path         string
		fields, file int
	}{{"testdata/decode.txt", 5, 3}, {"testdata/damaged.txt", 4, 2}} {
		for _, row := range vectors(f, v.path, v.fields) {
			if row[v.file] != "=" {
				f.Add(unhex(f, row[v.file]))
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		hd, err := readHeader(b)
		if err != nil || hd.h*hd.w > 1<<20 {
			return
		}
		var im Image
		if DecodeImage(b, Native, &im) == nil && len(im.Pix) != hd.native*hd.h*hd.w {
			t.Errorf("%d samples, header %+v", len(im.Pix), hd)
		}
	})
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
