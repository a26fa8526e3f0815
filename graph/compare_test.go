package graph

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"crema/hdf5"
	"crema/prototxt"
	"crema/prototxt/caffepb"

	"google.golang.org/protobuf/proto"
)

// writeWeights writes layers, each with one blob of values and a shape.
func writeWeights(t *testing.T, name string, layers ...*caffepb.LayerParameter) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := prototxt.WriteBinary(path, &caffepb.NetParameter{Name: proto.String("n"), Layer: layers}); err != nil {
		t.Fatal(err)
	}
	return path
}

func layerOf(name string, blobs ...*caffepb.BlobProto) *caffepb.LayerParameter {
	return &caffepb.LayerParameter{Name: &name, Type: proto.String("InnerProduct"), Blobs: blobs}
}

func blobOf(shape []int64, v ...float32) *caffepb.BlobProto {
	return &caffepb.BlobProto{Shape: &caffepb.BlobShape{Dim: shape}, Data: v}
}

func TestCompareWeights(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	a := writeWeights(t, "a.caffemodel", layerOf("same", blobOf([]int64{2}, 1, nan)), layerOf("no blobs"),
		layerOf("one off", blobOf([]int64{2, 2}, 1, 2, 3, -4), blobOf([]int64{1}, 5)),
		layerOf("shape", blobOf([]int64{2, 3}, 1, 2, 3, 4, 5, 6)), layerOf("only a", blobOf([]int64{1}, 1)),
		layerOf("infinite", blobOf([]int64{3}, 1, inf, 2)), layerOf("more", blobOf([]int64{1}, 1), blobOf([]int64{1}, 1)),
		layerOf("twice", blobOf([]int64{1}, 1)), layerOf("twice", blobOf([]int64{1}, 2)),
		layerOf("old", &caffepb.BlobProto{Num: proto.Int32(1), Channels: proto.Int32(1), Height: proto.Int32(2), Width: proto.Int32(1), Data: []float32{7, 8}}))
	b := writeWeights(t, "b.caffemodel", layerOf("only b", blobOf([]int64{1}, 1)), layerOf("same", blobOf([]int64{2}, 1, nan)),
		layerOf("one off", blobOf([]int64{2, 2}, 1, 2.5, 3, -4), blobOf([]int64{1}, 5)),
		layerOf("shape", blobOf([]int64{3, 2}, 1, 2, 3, 4, 5, 6)), layerOf("infinite", blobOf([]int64{3}, 1, 3, 2)),
		layerOf("more", blobOf([]int64{1}, 1)), layerOf("twice", blobOf([]int64{1}, 1)), layerOf("twice", blobOf([]int64{1}, 2)),
		layerOf("old", blobOf([]int64{2, 1}, 7, 8)))
	c, err := CompareWeights(a, b)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range c.Params {
		s := fmt.Sprintf("%s %d:", d.Layer, d.Index)
		if d.Problem != "" {
			s += " " + d.Problem
		}
		if d.Different > 0 {
			s += fmt.Sprintf(" %d of %d, max %g, mean %g, relative %g, %d not finite", d.Different, d.Count, d.Max, d.Mean, d.Relative(), d.NotFinite)
		}
		got = append(got, s)
	}
	want := []string{"same 0:", "one off 0: 1 of 4, max 0.5, mean 0.125, relative 0.125, 0 not finite", "one off 1:", "shape 0: shapes differ: 2×3 and 3×2",
		"infinite 0: 1 of 3, max 0, mean 0, relative 0, 1 not finite", "more 0:", "more 1: only in the first file", "twice 0:", "twice 0:", "old 0:"}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if !slices.Equal(c.OnlyA, []string{"only a"}) || !slices.Equal(c.OnlyB, []string{"only b"}) {
		t.Errorf("only in the first %q, in the second %q", c.OnlyA, c.OnlyB)
	}
	if d := c.Params[1]; d.Same(0.12) || !d.Same(0.125) || c.Params[3].Same(9) || c.Params[4].Same(9) {
		t.Error("what is the same within a tolerance is wrong")
	}
	if c.Same(9) {
		t.Error("files with other layers are the same")
	}
	if c, err := CompareWeights(a, a); err != nil || !c.Same(0) || len(c.Params) != 11 {
		t.Errorf("a file and itself: %+v, %v", c, err)
	}
}

// TestCompareFormats: a binary and an HDF5 file of the same weights, in which a
// shared parameter is only where it is owned.
func TestCompareFormats(t *testing.T) {
	bin := writeWeights(t, "a.caffemodel", layerOf("x/y", blobOf([]int64{2}, 1, 2)), layerOf("z", blobOf([]int64{2}, 1, 2), blobOf([]int64{1}, 3)))
	h5 := filepath.Join(t.TempDir(), "a.caffemodel.h5")
	var b hdf5.Builder
	b.Floats([]int{2}, []float32{1, 2}, "data", "x", "y", "0")
	b.Floats([]int{1}, []float32{4}, "data", "z", "1")
	f, err := os.Create(h5)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := b.WriteTo(f); err != nil {
		t.Fatal(err)
	}
	for _, files := range [][2]string{{bin, h5}, {h5, bin}} {
		c, err := CompareWeights(files[0], files[1])
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Params) != 2 || c.Params[0].Different != 0 || c.Params[1].Max != 1 || c.Params[1].Index != 1 || len(c.OnlyA)+len(c.OnlyB) != 0 {
			t.Errorf("%+v", c)
		}
		if c.Params[0].Type != "InnerProduct" {
			t.Errorf("type %q", c.Params[0].Type)
		}
	}
}

func TestCompareErrors(t *testing.T) {
	good := writeWeights(t, "a.caffemodel", layerOf("x", blobOf([]int64{2}, 1, 2)))
	bad := writeWeights(t, "b.caffemodel", layerOf("x", blobOf([]int64{-2}, 1, 2)))
	for _, files := range [][2]string{{good, "none"}, {"none", good}, {good, bad}, {bad, good}, {good, "compare.go"}} {
		name := files[0]
		if name == good {
			name = files[1]
		}
		if _, err := CompareWeights(files[0], files[1]); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%q: %v", files, err)
		}
	}
}
