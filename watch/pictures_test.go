package watch

import (
	"bytes"
	"image/png"
	"math"
	"slices"
	"testing"

	"crema/data"
	"crema/prototxt/caffepb"
	"crema/solver"
	"crema/tensor"

	"google.golang.org/protobuf/proto"
)

// TestInputs compares a picture with the record that it shows.
func TestInputs(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(*caffepb.TransformationParameter)
	}{
		{"mean value", func(*caffepb.TransformationParameter) {}},
		{"values by channel", func(p *caffepb.TransformationParameter) { p.MeanValue = []float32{100, 110, 120} }},
		{"nothing", func(p *caffepb.TransformationParameter) { p.Scale, p.MeanValue = nil, nil }},
	} {
		sp := parseSolver(t, smallSolver)
		sp.MaxIter = proto.Int32(1)
		c.edit(sp.NetParam.Layer[0].TransformParam)
		r := newRun(t, sp, Options{}, solver.Options{}, t.TempDir())
		if r.rec.Pictures() != nil {
			t.Error("pictures before training")
		}
		r.solve(t)
		p := r.rec.Pictures()
		if p == nil || len(p.Inputs) != 7 || p.Filters == nil {
			t.Fatalf("%s: pictures %+v", c.name, p)
		}
		db, err := data.OpenDB(inGolden("photos_raw_lmdb"), data.LMDB)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		_, value, err := db.Cursor().Next()
		if err != nil {
			t.Fatal(err)
		}
		d := &caffepb.Datum{}
		if err := proto.Unmarshal(value, d); err != nil {
			t.Fatal(err)
		}
		m, err := png.Decode(bytes.NewReader(p.Inputs[0].PNG))
		if err != nil {
			t.Fatal(err)
		}
		h, w := int(d.GetHeight()), int(d.GetWidth())
		if m.Bounds().Dx() != w || m.Bounds().Dy() != h || p.Inputs[0].Width != w || p.Inputs[0].Height != h {
			t.Fatalf("%s: a picture of %v, the record has %d×%d", c.name, m.Bounds(), w, h)
		}
		for y := range h {
			for x := range w {
				red, green, blue, _ := m.At(x, y).RGBA()
				for plane, got := range []uint32{blue, green, red} {
					want := int(d.Data[plane*h*w+y*w+x])
					if diff := int(got>>8) - want; diff < -1 || diff > 1 {
						t.Fatalf("%s: pixel %d,%d, plane %d is %d, want %d", c.name, x, y, plane, got>>8, want)
					}
				}
			}
		}
	}
}

// TestStretched checks inputs that are no bytes: they fill the range.
func TestStretched(t *testing.T) {
	b := tensor.New(1, 2, 2, 2)
	copy(b.Data(), []float32{-3, 1, 0, -1, 9, 9, 9, 9})
	in := &inputs{top: b, scale: 1}
	m, err := png.Decode(bytes.NewReader(in.paint()[0].PNG))
	if err != nil {
		t.Fatal(err)
	}
	// The first plane in grey, of −3…9 in all.
	for i, want := range []uint32{0, 85, 64, 43} {
		if r, g, bl, _ := m.At(i%2, i/2).RGBA(); r>>8 != want || g != r || bl != r {
			t.Errorf("pixel %d is %d %d %d, want %d", i, r>>8, g>>8, bl>>8, want)
		}
	}
}

func TestFilters(t *testing.T) {
	for _, c := range []struct {
		name       string
		n, c, h, w int
	}{
		{"colour", 5, 3, 3, 3}, {"grey", 20, 1, 5, 5}, {"one by one", 2, 3, 1, 1}, {"large", 1, 1, 40, 30},
	} {
		b := tensor.New(c.n, c.c, c.h, c.w)
		v := b.Data()
		for i := range v {
			v[i] = float32(i*i%17) * float32(i/(c.c*c.h*c.w)+1) // other ranges in other filters
		}
		f := &filters{layer: "conv", weight: b, n: c.n, c: c.c, h: c.h, w: c.w}
		p := f.paint()
		m, err := png.Decode(bytes.NewReader(p.PNG))
		if err != nil {
			t.Fatal(err)
		}
		scale := max(1, tileSide/max(c.h, c.w))
		cols := (m.Bounds().Dx() - 1) / (c.w*scale + 1)
		for n := range c.n {
			w := v[n*c.c*c.h*c.w : (n+1)*c.c*c.h*c.w]
			low, high := extent(w)
			for y := range c.h {
				for x := range c.w {
					px := n%cols*(c.w*scale+1) + 1 + x*scale + scale/2
					py := n/cols*(c.h*scale+1) + 1 + y*scale + scale/2
					r, g, bl, _ := m.At(px, py).RGBA()
					got := []uint32{bl, g, r}
					for plane := range c.c {
						want := math.Round(255 * float64((w[(plane*c.h+y)*c.w+x]-low)/(high-low)))
						if math.Abs(float64(got[plane]>>8)-want) > 1 {
							t.Fatalf("%s: filter %d at %d,%d, plane %d: %d, want %g", c.name, n, x, y, plane, got[plane]>>8, want)
						}
					}
				}
			}
		}
	}
}

// TestOddFilters paints weights that are all equal, or not finite.
func TestOddFilters(t *testing.T) {
	b := tensor.New(2, 1, 2, 2)
	copy(b.Data(), []float32{1, 1, 1, 1, float32(math.NaN()), float32(math.Inf(1)), 0, 2})
	f := &filters{weight: b, n: 2, c: 1, h: 2, w: 2}
	if p := f.paint(); p.Width == 0 {
		t.Error("no picture")
	}
}

// TestAsked checks that pictures are renewed only while somebody asks.
func TestAsked(t *testing.T) {
	sp := parseSolver(t, smallSolver)
	r := newRun(t, sp, Options{}, solver.Options{}, t.TempDir()).eager()
	if err := r.sv.Step(2); err != nil {
		t.Fatal(err)
	}
	if r.rec.pictures.Load() != nil {
		t.Error("pictures that nobody asked for")
	}
	r.rec.Pictures()
	if err := r.sv.Step(1); err != nil {
		t.Fatal(err)
	}
	if p := r.rec.Pictures(); p == nil || p.Iter != 2 {
		t.Errorf("pictures %+v, want those of iteration 2", p)
	}
	r.rec.askedAt.Store(0)
	if err := r.sv.Step(2); err != nil {
		t.Fatal(err)
	}
	if p := r.rec.pictures.Load(); p.Iter != 2 {
		t.Errorf("pictures of iteration %d that nobody asked for", p.Iter)
	}
}

// TestFindFilters checks whose weights are shown.
func TestFindFilters(t *testing.T) {
	for _, c := range []struct {
		name  string
		drop  []int // layers
		layer string
		shape [4]int
	}{
		{"convolution", nil, `conv, "1"`, [4]int{6, 3, 5, 5}},
		{"fully connected", []int{1, 2, 3}, "fc", [4]int{10, 3, 32, 32}},
	} {
		sp := parseSolver(t, smallSolver)
		for i := len(c.drop) - 1; i >= 0; i-- {
			sp.NetParam.Layer = slices.Delete(sp.NetParam.Layer, c.drop[i], c.drop[i]+1)
		}
		if c.drop != nil {
			sp.NetParam.Layer[1].Bottom[0] = "data"
			sp.NetParam.Layer[0].TransformParam.CropSize = proto.Uint32(32)
		}
		r := newRun(t, sp, Options{}, solver.Options{}, t.TempDir())
		f := r.rec.painter.filters
		if f == nil || f.layer != c.layer || [4]int{f.n, f.c, f.h, f.w} != c.shape {
			t.Errorf("%s: filters %+v, want %v of %s", c.name, f, c.shape, c.layer)
		}
	}
}
