package synth

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"crema/internal/rng"
)

// sets returns sets of both kinds, of odd and even sizes.
func sets(t *testing.T) map[string]Set {
	t.Helper()
	m := map[string]Set{}
	add := func(name string, s Set, err error) {
		if err != nil {
			t.Fatal(err)
		}
		m[name] = s
	}
	s, err := NewDigits(Shape{3, 32, 32}, 1)
	add("digits", s, err)
	s, err = NewDigits(Shape{1, 9, 31}, 1)
	add("digits grey", s, err)
	s, err = NewSigns(Shape{3, 40, 56}, 1000, 1)
	add("signs", s, err)
	s, err = NewSigns(Shape{1, 33, 17}, 5, 1)
	add("signs grey", s, err)
	s, err = NewSigns(Shape{3, MinSize, MinSize}, MaxClasses, 1)
	add("signs small", s, err)
	s, err = NewPlainDigits(Shape{1, 28, 28}, 1)
	add("plain digits", s, err)
	s, err = NewPlainDigits(Shape{3, 23, 31}, 1)
	add("plain digits in colour", s, err)
	s, err = NewPairs(Shape{1, 28, 28}, 1)
	add("pairs", s, err)
	s, err = NewPairs(Shape{3, 17, 24}, 2)
	add("pairs in colour", s, err)
	for name, shape := range map[string]Shape{"scenes": {3, 64, 48}, "scenes grey": {1, 31, 33}} {
		sc, err := NewScenes(shape, MaxSceneClasses, 1)
		if err != nil {
			t.Fatal(err)
		}
		m[name], m[name+", labels"] = sc.Images(), sc.Labels()
	}
	return m
}

func drawOne(s Set, split string, i int) (pix []byte, label int) {
	pix = make([]byte, s.Shape().Bytes())
	return pix, s.NewDrawer().Draw(split, i, pix)
}

func TestDrawIsDeterministic(t *testing.T) {
	for name, s := range sets(t) {
		t.Run(name, func(t *testing.T) {
			const n = 12
			var want [n][]byte
			d := s.NewDrawer()
			for i := range n {
				want[i] = make([]byte, s.Shape().Bytes())
				if l := d.Draw("train", i, want[i]); l != s.Label("train", i) || l < 0 || l >= s.Classes() {
					t.Fatalf("image %d: label %d, Label says %d", i, l, s.Label("train", i))
				}
			}
			// In another order, into memory that is not clean.
			pix := bytes.Repeat([]byte{0xaa}, s.Shape().Bytes())
			for i := n - 1; i >= 0; i-- {
				d.Draw("train", i, pix)
				if !bytes.Equal(pix, want[i]) {
					t.Errorf("image %d depends on what was drawn before", i)
				}
			}
			for i := range n {
				for j := range i {
					if bytes.Equal(want[i], want[j]) {
						t.Errorf("images %d and %d are equal", i, j)
					}
				}
				if pix, _ := drawOne(s, "test", i); bytes.Equal(pix, want[i]) {
					t.Errorf("image %d is in both splits", i)
				}
			}
		})
	}
	a, _ := NewDigits(Shape{3, 32, 32}, 1)
	b, _ := NewDigits(Shape{3, 32, 32}, 2)
	pa, _ := drawOne(a, "train", 0)
	pb, _ := drawOne(b, "train", 0)
	if bytes.Equal(pa, pb) {
		t.Error("seeds 1 and 2 draw the same image")
	}
}

func TestLabelsAreBalanced(t *testing.T) {
	for name, s := range sets(t) {
		n := s.Classes()
		if n > 1000 || n == 1 {
			continue
		}
		t.Run(name, func(t *testing.T) {
			var runs [3][]int
			for block := range runs {
				seen := make([]bool, n)
				for p := range n {
					l := s.Label("train", block*n+p)
					if l < 0 || l >= n || seen[l] {
						t.Fatalf("run %d: label %d out of range or twice", block, l)
					}
					seen[l] = true
					runs[block] = append(runs[block], l)
				}
			}
			same := 0
			for p := range n {
				if runs[0][p] == runs[1][p] && runs[1][p] == runs[2][p] {
					same++
				}
			}
			if same == n {
				t.Error("all runs have the same order")
			}
		})
	}
}

func TestPermute(t *testing.T) {
	for _, n := range []int{1, 2, 3, 4, 5, 10, 16, 17, 1000, 4097} {
		seen := make([]bool, n)
		fixed := 0
		for x := range n {
			y := permute(rng.New(7, "permute", uint64(n)), n, x)
			if y < 0 || y >= n || seen[y] {
				t.Fatalf("n = %d: %d → %d out of range or twice", n, x, y)
			}
			seen[y] = true
			if x == y {
				fixed++
			}
		}
		if n >= 10 && fixed > 6 {
			t.Errorf("n = %d: %d numbers stay in place", n, fixed)
		}
	}
}

// TestImagesShowSomething finds images that are nearly flat: a glyph that is
// missing, outside or of its ground's colour.
func TestImagesShowSomething(t *testing.T) {
	for name, s := range sets(t) {
		t.Run(name, func(t *testing.T) {
			for i := range 60 {
				pix, _ := drawOne(s, "train", i)
				n := s.Shape().Height * s.Shape().Width
				spread := 0
				for c := range s.Shape().Channels {
					lo, hi := byte(255), byte(0)
					for _, v := range pix[c*n : (c+1)*n] {
						lo, hi = min(lo, v), max(hi, v)
					}
					spread = max(spread, int(hi)-int(lo))
				}
				if spread < 50 {
					t.Errorf("image %d: values spread over %d levels only", i, spread)
				}
			}
		})
	}
}

// TestInkIsInside checks that digits are drawn whole: next to nothing of the
// glyph on the image's edge, and enough of it within.
func TestInkIsInside(t *testing.T) {
	const size = 32
	p := newPen(size, size)
	for _, face := range glyphs() {
		for _, r := range digits + alphabet {
			g := face[r]
			p.begin()
			p.add(g, pose(size*0.7, size*0.7, 0, 0.2, size/2, size/2))
			mask := p.end()
			sum, edge := 0, 0
			for i, m := range mask {
				sum += int(m)
				if y, x := i/size, i%size; y == 0 || x == 0 || y == size-1 || x == size-1 {
					edge += int(m)
				}
			}
			// The thinnest, a 1, covers a twentieth of its square.
			if area := float64(sum) / 255 / (size * size); area < 0.02 || area > 0.5 {
				t.Errorf("%q covers %.3f of the image", r, area)
			}
			if edge != 0 {
				t.Errorf("%q reaches the edge", r)
			}
			if max(g.width, g.height) != 1 {
				t.Errorf("%q measures %g×%g, want a longer side of 1", r, g.width, g.height)
			}
		}
	}
}

// TestPatternsDiffer looks at each kind with the same colours and period: both
// colours must show, and no two kinds may look alike.
func TestPatternsDiffer(t *testing.T) {
	shape := Shape{1, 64, 64}
	var got [][]float64
	for kind, name := range patternNames {
		f := newPattern(kind, rng.New(1, "pattern"), 9, 0.1, shape)
		var sum, across, down float64
		lo, hi := float32(1), float32(0)
		for y := range shape.Height {
			for x := range shape.Width {
				v := f(float32(x)+0.5, float32(y)+0.5)
				if !(v >= 0 && v <= 1) {
					t.Fatalf("%s: value %g at (%d, %d)", name, v, x, y)
				}
				lo, hi = min(lo, v), max(hi, v)
				sum += float64(v)
				across += math.Abs(float64(f(float32(x)+1.5, float32(y)+0.5) - v))
				down += math.Abs(float64(f(float32(x)+0.5, float32(y)+1.5) - v))
			}
		}
		n := float64(shape.Bytes())
		if mean := sum / n; lo > 0.1 || hi < 0.9 || mean < 0.15 || mean > 0.85 {
			t.Errorf("%s: values from %g to %g, mean %g", name, lo, hi, mean)
		}
		got = append(got, []float64{sum / n, across / n, down / n})
	}
	for i := range got {
		for j := range i {
			d := 0.0
			for k := range got[i] {
				d += math.Abs(got[i][k] - got[j][k])
			}
			if d < 0.02 {
				t.Errorf("%s and %s look alike: %v, %v", patternNames[i], patternNames[j], got[i], got[j])
			}
		}
	}
}

func TestNoise(t *testing.T) {
	for _, sigma := range []float64{0, 3, 20} {
		c := canvas{Shape{1, 101, 101}, bytes.Repeat([]byte{128}, 101*101)}
		c.noise(rng.New(1, "noise"), sigma)
		var sum, sq float64
		for _, v := range c.pix {
			d := float64(v) - 128
			sum += d
			sq += d * d
		}
		n := float64(len(c.pix))
		// Rounding to whole levels adds a variance of up to 1/12.
		if mean, dev := sum/n, math.Sqrt(sq/n); math.Abs(mean) > 0.05+sigma/25 || math.Abs(dev-sigma) > 0.1+sigma/25 {
			t.Errorf("sigma %g: mean %.3f, deviation %.3f", sigma, mean, dev)
		}
	}
	// The ends of the range do not wrap.
	c := canvas{Shape{1, 8, 8}, append(bytes.Repeat([]byte{0}, 32), bytes.Repeat([]byte{255}, 32)...)}
	c.noise(rng.New(1, "noise"), 5)
	for i, v := range c.pix {
		if i < 32 && v > 100 || i >= 32 && v < 155 {
			t.Errorf("value %d became %d", i, v)
		}
	}
}

func TestSignClasses(t *testing.T) {
	shape := Shape{3, 32, 32}
	for _, tc := range []struct {
		classes, letters int
		patterned        bool
	}{
		{1, 1, false}, {24, 1, false}, {25, 1, true}, {192, 1, true}, {193, 2, true},
		{1000, 2, true}, {4608, 2, true}, {4609, 3, true}, {MaxClasses, 4, true},
	} {
		set, err := NewSigns(shape, tc.classes, 1)
		if err != nil {
			t.Fatal(err)
		}
		s := set.(*signSet)
		if s.letters != tc.letters || s.patterned != tc.patterned {
			t.Errorf("%d classes: %d letters, patterned %v; want %d, %v", tc.classes, s.letters, s.patterned, tc.letters, tc.patterned)
		}
		seen := map[string]bool{}
		for l := range min(tc.classes, 5000) {
			name := s.ClassName(l)
			word, _, on := strings.Cut(name, " on ")
			if len(word) != tc.letters || on != tc.patterned || seen[name] {
				t.Fatalf("%d classes: class %d is named %q", tc.classes, l, name)
			}
			seen[name] = true
		}
	}
	digits, err := NewDigits(shape, 1)
	if err != nil {
		t.Fatal(err)
	}
	if n := digits.ClassName(7); n != "7" {
		t.Errorf("digit 7 is named %q", n)
	}
}

func TestOptionErrors(t *testing.T) {
	for _, tc := range []struct {
		shape   Shape
		classes int
		want    string
	}{
		{Shape{2, 32, 32}, 10, "channels"},
		{Shape{0, 32, 32}, 10, "channels"},
		{Shape{3, MinSize - 1, 32}, 10, "height and width"},
		{Shape{3, 32, MaxSize + 1}, 10, "height and width"},
		{Shape{3, 32, -32}, 10, "height and width"},
		{Shape{3, 32, 32}, 0, "0 classes"},
		{Shape{3, 32, 32}, MaxClasses + 1, "classes"},
	} {
		if _, err := NewSigns(tc.shape, tc.classes, 1); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("NewSigns(%v, %d): %v, want an error with %q", tc.shape, tc.classes, err, tc.want)
		}
		if tc.shape.Check() == nil {
			continue
		}
		_, errDigits := NewDigits(tc.shape, 1)
		_, errPlain := NewPlainDigits(tc.shape, 1)
		_, errPairs := NewPairs(tc.shape, 1)
		_, errScenes := NewScenes(tc.shape, 2, 1)
		for name, err := range map[string]error{"NewDigits": errDigits, "NewPlainDigits": errPlain, "NewPairs": errPairs, "NewScenes": errScenes} {
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s(%v): %v, want an error with %q", name, tc.shape, err, tc.want)
			}
		}
	}
}

func BenchmarkDraw(b *testing.B) {
	digits, err := NewDigits(Shape{3, 32, 32}, 1)
	if err != nil {
		b.Fatal(err)
	}
	signs, err := NewSigns(Shape{3, 256, 256}, 1000, 1)
	if err != nil {
		b.Fatal(err)
	}
	for _, bc := range []struct {
		name string
		set  Set
	}{{"set=digits/shape=3x32x32", digits}, {"set=signs/shape=3x256x256", signs}} {
		b.Run(bc.name, func(b *testing.B) {
			d := bc.set.NewDrawer()
			pix := make([]byte, bc.set.Shape().Bytes())
			b.SetBytes(int64(len(pix)))
			i := 0
			for b.Loop() {
				d.Draw("train", i, pix)
				i++
			}
		})
	}
}
