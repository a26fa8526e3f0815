package tensor

import (
	"slices"
	"testing"
)

// TestValues sets elements where the definition of the layout puts them.
func TestValues(t *testing.T) {
	b := New(2, 3*Lanes, 3, 2)
	want := make([]float32, b.Count())
	for i := range want {
		want[i] = float32(i)
	}
	copy(b.Data(), want)
	if got := b.Values(); !slices.Equal(got, want) || &got[0] != &b.ReadData()[0] {
		t.Error("row-major values are not the data themselves")
	}
	b.SetLayout(Blocked)
	i := 0
	for n := range b.Dim(0) {
		for c := range b.Dim(1) {
			for h := range b.Dim(2) {
				for w := range b.Dim(3) {
					at := (((n*b.Dim(1)/Lanes+c/Lanes)*b.Dim(2)+h)*b.Dim(3)+w)*Lanes + c%Lanes
					b.Data()[at] = want[i]
					b.Diff()[at] = -want[i]
					i++
				}
			}
		}
	}
	if !slices.Equal(b.Values(), want) {
		t.Error("wrong values")
	}
	for i, g := range b.Gradients() {
		if g != -want[i] {
			t.Fatalf("gradient %d is %v, want %v", i, g, -want[i])
		}
	}
}

func TestLayoutCheck(t *testing.T) {
	for _, c := range []struct {
		layout Layout
		shape  []int
		ok     bool
	}{
		{NCHW, []int{3}, true},
		{NCHW, []int{1, 3, 5, 5}, true},
		{Blocked, []int{0, 16, 1, 1}, true},
		{Blocked, []int{6, 512, 14, 14}, true},
		{Blocked, []int{6, 24, 14, 14}, false},
		{Blocked, []int{6, 32, 14}, false},
		{Blocked, []int{1, 1, 16, 14, 14}, false},
		{Blocked, nil, false},
	} {
		if err := c.layout.Check(c.shape); (err == nil) != c.ok {
			t.Errorf("%v of %s: %v", c.layout, FormatShape(c.shape), err)
		}
	}
}

func TestVersion(t *testing.T) {
	a, b, other := New(3), New(3), New(3)
	b.ShareData(a)
	v := a.Version()
	a.ReadData()
	a.Values()
	a.Diff()
	other.Data()
	if a.Version() != v || b.Version() != v {
		t.Error("reading changed the version")
	}
	for _, c := range []struct {
		name   string
		change func()
	}{
		{"Data", func() { a.Data() }},
		{"Data of a blob that shares the values", func() { b.Data() }},
		{"ShareData", func() { a.ShareData(other) }},
		{"Data of what is shared now", func() { other.Data() }},
	} {
		v := a.Version()
		c.change()
		if a.Version() == v {
			t.Errorf("%s left the version as it was", c.name)
		}
	}
	if v := a.Version(); v == b.Version() {
		t.Error("equal versions of different values")
	}
}
