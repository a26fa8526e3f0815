package tensor

import (
	"errors"
	"slices"
	"testing"
)

// TestPlace moves values and gradients of blobs that share them.
func TestPlace(t *testing.T) {
	for _, part := range []struct {
		name  string
		get   func(*Blob) []float32
		place func(*Blob, Placer) error
	}{{"data", (*Blob).Data, (*Blob).PlaceData}, {"diff", (*Blob).Diff, (*Blob).PlaceDiff}} {
		t.Run(part.name, func(t *testing.T) {
			a := New(2, 3)
			b := New(3, 2)
			b.ShareData(a)
			b.ShareDiff(a)
			copy(part.get(a), []float32{1, 2, 3, 4, 5, 6})
			version := a.Version()

			mem := make([]float32, 8)
			var asked int
			if err := part.place(b, func(now []float32, n int) ([]float32, error) {
				if !slices.Equal(now, []float32{1, 2, 3, 4, 5, 6}) {
					t.Errorf("the placer was given %v", now)
				}
				asked = n
				return mem, nil
			}); err != nil {
				t.Fatal(err)
			}
			if asked != 6 {
				t.Errorf("the placer was asked for %d elements", asked)
			}
			if !slices.Equal(mem, []float32{1, 2, 3, 4, 5, 6, 0, 0}) {
				t.Errorf("after the move there are %v", mem)
			}
			if a.Version() != version {
				t.Error("a move counts as a change of the values")
			}
			if &part.get(a)[0] != &mem[0] || &part.get(b)[0] != &mem[0] {
				t.Error("a blob that shares the memory has not moved")
			}

			// It grows within the memory, and then out of it.
			a.Reshape(8)
			if s := part.get(a); &s[0] != &mem[0] || s[5] != 6 {
				t.Errorf("a blob that the memory has room for left it: %v", s)
			}
			a.Reshape(9)
			if s := part.get(a); &s[0] == &mem[0] || !slices.Equal(s, make([]float32, 9)) {
				t.Errorf("a blob too large for the memory is %v", s)
			}

			// All that is there moves, also what a smaller blob does not see.
			a.Reshape(2)
			copy(part.get(b), []float32{7, 8, 9})
			if err := part.place(a, func(now []float32, n int) ([]float32, error) {
				if n != len(now) || n < 9 {
					t.Errorf("the placer was asked for %d elements, there are %d", n, len(now))
				}
				return make([]float32, n), nil
			}); err != nil {
				t.Fatal(err)
			}
			if s := part.get(b); s[2] != 9 {
				t.Errorf("a larger blob that shares the memory has %v", s)
			}

			// The memory may stay, and the placer may fail.
			before := &part.get(a)[0]
			if err := part.place(a, func(now []float32, n int) ([]float32, error) { return now, nil }); err != nil {
				t.Error(err)
			}
			broken := errors.New("broken")
			if err := part.place(a, func([]float32, int) ([]float32, error) { return nil, broken }); err != broken {
				t.Errorf("error %v", err)
			}
			if &part.get(a)[0] != before {
				t.Error("the memory has moved")
			}
		})
	}
}

// TestPlaceFirst places a blob that has no memory yet, and one that has grown
// since: both hold zeros.
func TestPlaceFirst(t *testing.T) {
	b := New(4)
	b.Data()[0] = 1
	b.Reshape(3, 1000)
	for _, c := range []*Blob{New(5), New(0), b} {
		mem := make([]float32, c.Count()+1)
		if err := c.PlaceData(func([]float32, int) ([]float32, error) { return mem, nil }); err != nil {
			t.Fatal(err)
		}
		s := c.Data()
		if len(s) != c.Count() || slices.ContainsFunc(s, func(v float32) bool { return v != 0 }) {
			t.Errorf("%d elements, first ones %v", len(s), s[:min(len(s), 4)])
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("no panic for too little memory")
		}
	}()
	b.PlaceData(func(_ []float32, n int) ([]float32, error) { return make([]float32, n-1), nil })
}
