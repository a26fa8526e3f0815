package tensor

import (
	"fmt"
	"slices"
	"sync"
	"testing"
)

// TestElements sets values and gradients one by one and all at once, in both
// layouts.
func TestElements(t *testing.T) {
	for _, layout := range []Layout{NCHW, Blocked} {
		b := New(2, 2*Lanes, 3, 2)
		b.SetLayout(layout)
		want := make([]float32, b.Count())
		for i := range want {
			want[i] = float32(i) + 1
		}
		if err := b.SetValues(want); err != nil {
			t.Fatal(err)
		}
		if err := b.SetGradients(want); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(b.Values(), want) || !slices.Equal(b.Gradients(), want) {
			t.Errorf("%v: values or gradients are not what was set", layout)
		}
		i := 0
		for n := range 2 {
			for c := range 2 * Lanes {
				for h := range 3 {
					for w := range 2 {
						if got := b.At(n, c, h, w); got != want[i] {
							t.Fatalf("%v: element %d is %v, want %v", layout, i, got, want[i])
						}
						b.Set(-want[i], n, c, h, w)
						i++
					}
				}
			}
		}
		for i, v := range b.Values() {
			if v != -want[i] {
				t.Fatalf("%v: element %d is %v after Set", layout, i, v)
			}
		}
		for _, n := range []int{0, b.Count() - 1, b.Count() + 1} {
			if b.SetValues(make([]float32, n)) == nil || b.SetGradients(make([]float32, n)) == nil {
				t.Errorf("%v: %d elements accepted", layout, n)
			}
		}
		if b.At(1, 31, 2, 1) != -want[len(want)-1] {
			t.Errorf("%v: a refused call changed something", layout)
		}
	}
}

func TestPanics(t *testing.T) {
	for name, f := range map[string]func(b *Blob){
		"too few indices":  func(b *Blob) { b.At(0, 0) },
		"index too large":  func(b *Blob) { b.At(0, 0, 3, 0) },
		"negative index":   func(b *Blob) { b.Set(1, 0, -1, 0, 0) },
		"negative shape":   func(b *Blob) { b.Reshape(-1) },
		"layout":           func(b *Blob) { b.Reshape(1, 15, 1, 1); b.SetLayout(Blocked) },
		"shape of layout":  func(b *Blob) { b.SetLayout(Blocked); b.Reshape(4, 4) },
		"share other size": func(b *Blob) { b.ShareData(New(7)) },
		"axis":             func(b *Blob) { b.Dim(4) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			f(New(1, Lanes, 3, 3))
		})
	}
}

// TestShape checks that what Shape returns does not change the blob.
func TestShape(t *testing.T) {
	b := New(2, 3)
	b.Shape()[0] = 9
	if !b.HasShape(2, 3) || b.HasShape(2) || b.HasShape(2, 4) {
		t.Errorf("shape is %v", b.Shape())
	}
}

// TestReaders reads blobs that share their memory from several goroutines, for
// the race detector; the memory is not there yet when they begin.
func TestReaders(t *testing.T) {
	a := New(3, 5)
	blobs := []*Blob{a}
	for range 3 {
		b := New(5, 3)
		b.ShareData(a)
		blobs = append(blobs, b)
	}
	var wg sync.WaitGroup
	for _, b := range blobs {
		wg.Go(func() {
			sum := float32(0)
			for _, v := range b.ReadData() {
				sum += v
			}
			if got := fmt.Sprint(sum, b.Values()[0], b.At(0, 0), b.Version() == a.Version()); got != "0 0 0 true" {
				t.Error(got)
			}
		})
	}
	wg.Wait()
	if &blobs[1].Data()[0] != &a.Data()[0] {
		t.Error("they do not share their memory")
	}
}
