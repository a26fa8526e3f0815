package data

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"crema/prototxt/caffepb"
)

func TestReadWindows(t *testing.T) {
	const text = "\ufeff# 0\r\na.png 3 24 30\r\n\r\n3\r\n4 0.8 3 2 10 9\n2 0.45 0 0 9 9\n7 .1 1 2 3 +4\n# 1\nb.png\n3\n20\n17\n0\n"
	path := filepath.Join(t.TempDir(), "w.txt")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := ReadWindows(path, 0.5, 0.4)
	if err != nil {
		t.Fatal(err)
	}
	want := []WindowImage{{"a.png", [3]int{3, 24, 30}, 3, 2}, {"b.png", [3]int{3, 20, 17}, 0, 10}}
	if !slices.Equal(f.Images, want) {
		t.Errorf("pictures %v, want %v", f.Images, want)
	}
	if w := []Window{{0, 4, 3, 2, 10, 9, 5}}; !slices.Equal(f.Foreground, w) {
		t.Errorf("foreground %v, want %v", f.Foreground, w)
	}
	if w := []Window{{0, 0, 1, 2, 3, 4, 7}}; !slices.Equal(f.Background, w) {
		t.Errorf("background %v, want %v", f.Background, w)
	}
}

func TestReadWindowsErrors(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"empty", " \n", "empty"},
		{"a list of images", "a.png 1\n", `w.txt:1: "a.png" instead of the #`},
		{"index", "# 1\na.png 3 2 2 0\n", "w.txt:1: picture index 1, but 0 pictures"},
		{"space in a name", "# 0\na b.png\n3\n2\n2\n0\n", `w.txt:2: number of channels: "b.png"`},
		{"more windows than said", "# 0\na.png 3 2 2 1\n1 0.9 0 0 1 1\n1 0.9 0 0 1 1\n", `w.txt:4: "1" instead of the #`},
		{"fewer", "# 0\na.png 3 2 2 2\n1 0.9 0 0 1 1\n# 1\n", `w.txt:4: class of a window: "#"`},
		{"negative count", "# 0\na.png 3 2 2 -1\n", "w.txt:2: -1 windows"},
		{"ends", "# 0\na.png 3 2 2 1\n1 0.9 0 0 1", "w.txt:3: the file ends where a corner of a window"},
		{"overlap", "# 0\na.png 3 2 2 1\n1 x 0 0 1 1", `w.txt:3: overlap of a window: "x"`},
		{"corner", "# 0\na.png 3 2 2 1\n1 1 0 0 1 1.5", `w.txt:3: corner of a window: "1.5"`},
		{"foreground of class 0", "# 0\na.png 3 2 2 1\n0 1 0 0 1 1", "w.txt:3: window of overlap 1 is foreground"},
		{"endless word", strings.Repeat("x", 1<<17), "no window file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "w.txt")
			if err := os.WriteFile(path, []byte(c.text), 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := ReadWindows(path, 0.5, 0.5)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

func FuzzReadWindows(f *testing.F) {
	f.Add([]byte("# 0\na.png 3 2 2 1\n1 0.9 0 0 1 1\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var w WindowFile
		s := newWordScanner(bytes.NewReader(b))
		if w.read(s, 0.5, 0.5) == nil && len(w.Foreground)+len(w.Background) > len(b) {
			t.Errorf("%d windows of %d bytes", len(w.Foreground)+len(w.Background), len(b))
		}
	})
}

// TestWindowPlace is computed by hand for a picture of 30×24 (width×height);
// the recorded batches cover the common case.
func TestWindowPlace(t *testing.T) {
	tr := func(crop uint32, pad int, square bool) *WindowTransformer {
		base, err := NewTransformer(&caffepb.TransformationParameter{CropSize: &crop}, TransformOptions{})
		if err != nil {
			t.Fatal(err)
		}
		w, err := NewWindowTransformer(base, pad, square, 1)
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	for _, c := range []struct {
		name   string
		tr     *WindowTransformer
		win    Window
		mirror bool
		want   placement
		err    string
	}{
		{"warp", tr(8, 0, false), Window{X1: 3, Y1: 2, X2: 10, Y2: 20}, false, placement{3, 2, 8, 19, 8, 8, 0, 0}, ""},
		{"warp, to the corner", tr(8, 0, false), Window{X1: 0, Y1: 0, X2: 29, Y2: 23}, false, placement{0, 0, 30, 24, 8, 8, 0, 0}, ""},
		{"warp, outside", tr(8, 0, false), Window{X1: 3, Y1: 2, X2: 30, Y2: 20}, false, placement{}, "outside its picture"},
		{"warp, above", tr(8, 0, false), Window{X1: 3, Y1: -1, X2: 10, Y2: 20}, false, placement{}, "outside its picture"},
		{"warp, no width", tr(8, 0, false), Window{X1: 3, Y1: 2, X2: 2, Y2: 20}, false, placement{}, "no pixel"},
		// 10×10 around (5,5): half 5·12/8 = 7.5, so from -2.5 to 12.5, rounded
		// -3 to 13: 17 wide; 3 of them outside. Scale 12/17: 14 → 9.88, 3 → 2.1.
		{"padded", tr(12, 2, false), Window{X1: 0, Y1: 0, X2: 9, Y2: 9}, false, placement{0, 0, 14, 14, 10, 10, 2, 2}, ""},
		{"padded, mirrored", tr(12, 2, false), Window{X1: 0, Y1: 0, X2: 9, Y2: 9}, true, placement{0, 0, 14, 14, 10, 10, 0, 2}, ""},
		// 10×10 to the right edge: from 17.5 to 32.5, rounded 18 to 33, of which
		// 4 are outside and 12 inside; scale 12/16.
		{"padded, right", tr(12, 2, false), Window{X1: 20, Y1: 5, X2: 29, Y2: 14}, true, placement{18, 3, 12, 16, 9, 12, 3, 0}, ""},
		// 4 wide, 12 high, centre (12, 10): both halves 6: 6 to 18, 4 to 16.
		{"square", tr(10, 0, true), Window{X1: 10, Y1: 4, X2: 13, Y2: 15}, false, placement{6, 4, 13, 13, 10, 10, 0, 0}, ""},
		{"square, far outside", tr(10, 0, true), Window{X1: 100, Y1: 4, X2: 103, Y2: 15}, false, placement{}, "no pixel"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.tr.place(&c.win, 24, 30, c.mirror)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("error %v, want one with %q", err, c.err)
				}
				return
			}
			if err != nil || got != c.want {
				t.Errorf("%+v, %v, want %+v", got, err, c.want)
			}
		})
	}
}

// TestWindowMirror: a mirrored window is the window mirrored, padding included.
func TestWindowMirror(t *testing.T) {
	var im Image
	im.alloc(3, 24, 30)
	for i := range im.Pix {
		im.Pix[i] = byte(i*i>>3 | 1)
	}
	crop := uint32(16)
	base, err := NewTransformer(&caffepb.TransformationParameter{CropSize: &crop, MeanValue: []float32{1000}}, TransformOptions{})
	if err != nil {
		t.Fatal(err)
	}
	tr, err := NewWindowTransformer(base, 4, false, 0.5)
	if err != nil {
		t.Fatal(err)
	}
	// 17 wide after rounding, so 16/17 of the picture's scale: outside are 2
	// columns on the left and rows at the top.
	win := Window{X1: 2, Y1: 2, X2: 9, Y2: 9}
	plain, mirrored := make([]float32, 3*16*16), make([]float32, 3*16*16)
	for dst, m := range map[*[]float32]bool{&plain: false, &mirrored: true} {
		if err := tr.transform(*dst, &im, &record{window: &win, mirror: m}); err != nil {
			t.Fatal(err)
		}
	}
	zeros := 0
	for y := range 3 * 16 {
		row := plain[16*y:][:16]
		for _, v := range row {
			if v == 0 {
				zeros++
			} else if v > -300 {
				t.Fatalf("value %g: sample less 1000, halved, is at most -372.5", v)
			}
		}
		back := slices.Clone(mirrored[16*y:][:16])
		slices.Reverse(back)
		if !slices.Equal(row, back) {
			t.Fatalf("row %d: %v, mirrored %v", y, row, back)
		}
	}
	if zeros != 3*(2*16+2*14) {
		t.Errorf("%d values of padding, want 2 columns and 2 rows of 3 channels", zeros)
	}
}

// TestWindowDraws: every batch has its background windows first, all windows
// are drawn, and a record's draw depends on nothing but its ordinal.
func TestWindowDraws(t *testing.T) {
	f := &WindowFile{Path: "w.txt", Images: []WindowImage{{Size: [3]int{3, 9, 9}}}}
	for i := range int32(7) {
		f.Foreground = append(f.Foreground, Window{Label: i + 1})
		f.Background = append(f.Background, Window{X1: i})
	}
	o := WindowOptions{BatchSize: 10, Fraction: 0.25, Mirror: true, Seed: 3, Name: "d"}
	src, err := NewWindowSource(f, o)
	if err != nil {
		t.Fatal(err)
	}
	var all []record
	fg, bg, mirrored := map[int32]bool{}, map[int32]bool{}, 0
	for i := range 1000 {
		var r record
		if err := src.next(&r); err != nil {
			t.Fatal(err)
		}
		if (r.label > 0) != (i%10 >= 8) { // ⌊10·0.25⌋ = 2
			t.Fatalf("record %d has class %d", i, r.label)
		}
		if r.label > 0 {
			fg[r.label] = true
		} else {
			bg[r.window.X1] = true
		}
		if r.mirror {
			mirrored++
		}
		all = append(all, r)
	}
	if len(fg) != 7 || len(bg) != 7 || mirrored < 400 || mirrored > 600 {
		t.Errorf("%d foreground and %d background windows drawn, want 7 and 7; %d of 1000 mirrored", len(fg), len(bg), mirrored)
	}
	if err := src.seek(Position{Records: 123}); err != nil {
		t.Fatal(err)
	}
	var r record
	if err := src.next(&r); err != nil || r.window != all[123].window || r.mirror != all[123].mirror || src.position().Records != 124 {
		t.Errorf("record 123 after a seek: %+v, %v, want %+v", r, err, all[123])
	}

	for _, c := range []struct {
		name string
		f    WindowFile
		frac float32
		want string
	}{
		{"fraction", *f, 1.5, "fg_fraction must be between 0 and 1"},
		{"no foreground", WindowFile{Path: "w.txt", Images: f.Images, Background: f.Background}, 0.5, `"w.txt" has no foreground`},
		{"no background", WindowFile{Path: "w.txt", Images: f.Images, Foreground: f.Foreground}, 0.5, `"w.txt" has no background`},
		{"grey", WindowFile{Path: "w.txt", Images: []WindowImage{{Size: [3]int{1, 9, 9}, Line: 3}}, Background: f.Background}, 0, "w.txt:3: pictures are read in colour"},
	} {
		o.Fraction = c.frac
		if _, err := NewWindowSource(&c.f, o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
	// Neither is needed where none is drawn.
	o.Fraction = 0
	if _, err := NewWindowSource(&WindowFile{Images: f.Images, Background: f.Background}, o); err != nil {
		t.Error(err)
	}
}
