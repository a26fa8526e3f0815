package layers

import (
	"bytes"
	"log/slog"
	"math"
	"strings"
	"testing"

	"crema/prototxt/caffepb"
	"crema/tensor"
)

// The state goes on into the next Forward: two of half the steps are one, also
// with another number of steps each.
func TestRecurrentCarries(t *testing.T) {
	const streams = 2
	x := randomBlob(1, 5, streams, 4)
	part := func(b *tensor.Blob, lo, hi int) *tensor.Blob {
		s := b.Shape()
		s[0] = hi - lo
		p := tensor.New(s...)
		copy(p.Data(), b.Data()[lo*b.CountFrom(1):hi*b.CountFrom(1)])
		return p
	}
	for _, kind := range recurrentKinds {
		for _, phase := range []caffepb.Phase{train, test} {
			whole, want := newLayer(t, testContext(phase), recurrentText(kind.name, ""), blobs(x, going(5, streams)), 1)
			forward(t, whole, blobs(x, going(5, streams)), want)
			l, top := newLayer(t, testContext(phase), recurrentText(kind.name, ""), blobs(x, going(5, streams)), 1)
			var got []float32
			for _, r := range [][2]int{{0, 2}, {2, 5}} {
				bottom := blobs(part(x, r[0], r[1]), going(r[1]-r[0], streams))
				if err := l.Reshape(bottom, top); err != nil {
					t.Fatal(err)
				}
				forward(t, l, bottom, top)
				got = append(got, top[0].Data()...)
				// What a layer in place does to the top is none of its business.
				clear(top[0].Data())
			}
			near(t, kind.name+" in parts", 1e-6, got, want[0].Data()...)

			// With cont 0 it begins anew, and so it does with other streams.
			bottom := blobs(x, tensor.New(5, streams))
			if err := l.Reshape(bottom, top); err != nil {
				t.Fatal(err)
			}
			forward(t, l, bottom, top)
			near(t, kind.name+" anew", 1e-6, top[0].Data()[:streams*recurrentSize], want[0].Data()[:streams*recurrentSize]...)
			for _, n := range []int{1, streams} {
				bottom := blobs(randomBlob(1, 5, n, 4), going(5, n))
				if err := l.Reshape(bottom, top); err != nil {
					t.Fatal(err)
				}
				forward(t, l, bottom, top)
			}
			near(t, kind.name+" of other streams", 1e-6, top[0].Data(), want[0].Data()...)
		}
	}
}

// A cursor brings a state back, into another layer as well.
func TestRecurrentCursor(t *testing.T) {
	bottom := blobs(randomBlob(1, 3, 2, 4), going(3, 2))
	for _, kind := range recurrentKinds {
		l, top := newLayer(t, testContext(train), recurrentText(kind.name, ""), bottom, 1)
		forward(t, l, bottom, top)
		first := clone(top[0].Data())
		cursor := l.(Stateful).Cursor()
		forward(t, l, bottom, top)
		second := clone(top[0].Data())
		if first[0] == second[0] {
			t.Fatalf("%s: the state does not matter here", kind.name)
		}
		if len(cursor.State) != kind.parts {
			t.Fatalf("%s: a cursor of %d parts", kind.name, len(cursor.State))
		}
		var log bytes.Buffer
		ctx := testContext(train)
		ctx.Log = slog.New(slog.NewTextHandler(&log, nil))
		other, top2 := newLayer(t, ctx, recurrentText(kind.name, ""), bottom, 1)
		s := other.(Stateful)
		set := func(c *caffepb.LayerCursor) []float32 {
			log.Reset()
			if err := s.SetCursor(c); err != nil {
				t.Fatal(err)
			}
			forward(t, other, bottom, top2)
			return top2[0].Data()
		}
		equal(t, kind.name+" from a cursor", set(cursor), second...)
		equal(t, kind.name+" from one without a state", set(&caffepb.LayerCursor{}), first...)
		if log.Len() > 0 {
			t.Errorf("%s: log of what is right: %s", kind.name, log.String())
		}
		// A net with another number of streams begins at 0, and says so.
		for what, change := range map[string]func(c *caffepb.LayerCursor){
			"streams": func(c *caffepb.LayerCursor) { c.State[0].Shape.Dim[1] = 3 },
			"values":  func(c *caffepb.LayerCursor) { c.State[0].Data = c.State[0].Data[1:] },
			"parts":   func(c *caffepb.LayerCursor) { c.State = append(c.State, c.State[0]) },
			"shape":   func(c *caffepb.LayerCursor) { c.State[kind.parts-1].Shape = nil },
		} {
			c := l.(Stateful).Cursor()
			change(c)
			equal(t, kind.name+" from a cursor with other "+what, set(c), first...)
			if !strings.Contains(log.String(), "begins at 0") {
				t.Errorf("%s, other %s: log %q", kind.name, what, log.String())
			}
		}
		// A cursor is not changed by passes after it.
		again, top3 := newLayer(t, testContext(train), recurrentText(kind.name, ""), bottom, 1)
		if err := again.(Stateful).SetCursor(cursor); err != nil {
			t.Fatal(err)
		}
		forward(t, again, bottom, top3)
		equal(t, kind.name+" from a kept cursor", top3[0].Data(), second...)
	}
}

// With expose_hidden nothing is kept: each Forward begins with what it is given.
func TestRecurrentExposed(t *testing.T) {
	for _, kind := range recurrentKinds {
		bottom := blobs(randomBlob(1, 3, 2, 4), going(3, 2))
		for i := range kind.parts {
			bottom = append(bottom, randomBlob(uint64(2+i), 1, 2, recurrentSize))
		}
		l, top := newLayer(t, testContext(train), recurrentText(kind.name, "expose_hidden: true"), bottom, 1+kind.parts)
		if _, ok := l.(Stateful); ok {
			t.Errorf("%s says that it has a state", kind.name)
		}
		forward(t, l, bottom, top)
		first := clone(top[0].Data())
		if kind.name == "LSTM" {
			equal(t, "hidden state at the end", top[1].Data(), first[2*2*recurrentSize:]...)
		}
		forward(t, l, bottom, top)
		equal(t, "second pass", top[0].Data(), first...)

		// Gradients of the state at the end are not used, those of cont and the
		// state at the beginning are zeros.
		nan := float32(math.NaN())
		for i := range top {
			d := top[i].Diff()
			for j := range d {
				if d[j] = 1; i > 0 {
					d[j] = nan
				}
			}
		}
		for _, b := range bottom {
			for j := range b.Diff() {
				b.Diff()[j] = nan
			}
		}
		backward(t, l, bottom, top)
		for i, b := range bottom {
			for _, v := range b.Diff() {
				if v != v || i > 0 && v != 0 {
					t.Fatalf("%s: gradient of bottom %d has %v", kind.name, i, v)
				}
			}
		}
	}
}
