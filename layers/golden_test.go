package layers

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"crema/prototxt/caffepb"
	"crema/tensor"
)

const goldenDir = "../testdata/golden/layers"

// TestGolden runs small nets and compares every value and gradient with what
// Caffe computed. Nets with layer types that this package does not have, or
// that need Split layers inserted for a gradient, are left to the graph
// package.
func TestGolden(t *testing.T) {
	for _, c := range []struct {
		pattern string
		cases   int
		tol     float64
	}{
		{"conv_*", 11, 1e-4},
		{"ip_*", 2, 1e-4},
		{"vgg_*", 2, 1e-4},
		{"pool_*", 12, 1e-5},
		{"relu_*", 2, 1e-5},
		{"softmax_*", 2, 1e-5},
		{"softmaxloss_*", 6, 1e-5},
		{"flatten_*", 1, 1e-5},
		{"accuracy_*", 1, 1e-5},
	} {
		dirs, err := filepath.Glob(filepath.Join(goldenDir, c.pattern))
		if err != nil || len(dirs) != c.cases {
			t.Errorf("%d cases %s in %s, want %d (%v)", len(dirs), c.pattern, goldenDir, c.cases, err)
		}
		for _, d := range dirs {
			t.Run(filepath.Base(d), func(t *testing.T) { goldenCase(t, d, c.tol) })
		}
	}
}

func readProto(t *testing.T, path string, m proto.Message) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(path, ".prototxt") {
		err = prototext.Unmarshal(b, m)
	} else {
		err = proto.Unmarshal(b, m)
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func readBlob(t *testing.T, path string) *caffepb.BlobProto {
	t.Helper()
	b := &caffepb.BlobProto{}
	readProto(t, path, b)
	return b
}

func goldenCase(t *testing.T, dir string, tol float64) {
	phase := train
	if strings.HasPrefix(filepath.Base(dir), "accuracy") {
		phase = test
	}
	net, weights := &caffepb.NetParameter{}, &caffepb.NetParameter{}
	readProto(t, filepath.Join(dir, "net.prototxt"), net)
	if w := filepath.Join(dir, "weights.caffemodel"); exists(w) {
		readProto(t, w, weights)
	}
	type node struct {
		layer       Layer
		p           *caffepb.LayerParameter
		bottom, top []*tensor.Blob
	}
	var nodes []node
	blobs := map[string]*tensor.Blob{}
	for _, p := range net.Layer {
		typ, err := Lookup(p.GetType())
		if err != nil {
			t.Fatal(err)
		}
		n := node{p: p}
		for _, b := range p.Bottom {
			n.bottom = append(n.bottom, blobs[b])
		}
		for _, b := range p.Top {
			if !slices.Contains(p.Bottom, b) {
				blobs[b] = tensor.New()
			}
			n.top = append(n.top, blobs[b])
		}
		if n.layer, err = typ.New(p, testContext(phase)); err != nil {
			t.Fatalf("%s: %v", p.GetName(), err)
		}
		if err := n.layer.Setup(n.bottom, n.top); err != nil {
			t.Fatalf("%s: %v", p.GetName(), err)
		}
		if err := n.layer.Reshape(n.bottom, n.top); err != nil {
			t.Fatalf("%s: %v", p.GetName(), err)
		}
		for _, w := range weights.Layer {
			if w.GetName() == p.GetName() {
				for i, b := range n.layer.Params() {
					if err := copyBlob(b, w.Blobs[i]); err != nil {
						t.Fatalf("%s: %v", p.GetName(), err)
					}
				}
			}
		}
		if typ.Loss {
			n.top[0].Diff()[0] = 1
			if len(p.LossWeight) > 0 {
				n.top[0].Diff()[0] = p.LossWeight[0]
			}
		}
		nodes = append(nodes, n)
	}
	inputs, _ := filepath.Glob(filepath.Join(dir, "in/*.binaryproto"))
	for _, f := range inputs {
		if err := copyBlob(blobs[strings.TrimSuffix(filepath.Base(f), ".binaryproto")], readBlob(t, f)); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
	}
	for _, n := range nodes {
		if err := n.layer.Forward(n.bottom, n.top); err != nil {
			t.Fatalf("%s: Forward: %v", n.p.GetName(), err)
		}
	}
	if net.GetForceBackward() {
		for _, n := range slices.Backward(nodes) {
			down := make([]bool, len(n.bottom))
			for i := range down {
				down[i] = len(n.p.PropagateDown) == 0 || n.p.PropagateDown[i]
			}
			if err := n.layer.Backward(n.top, down, n.bottom); err != nil {
				t.Fatalf("%s: Backward: %v", n.p.GetName(), err)
			}
		}
	}
	check := func(name string, b *tensor.Blob, want *caffepb.BlobProto) {
		t.Helper()
		compareGolden(t, name+" data", b.Data(), want.Data, tol)
		if net.GetForceBackward() && len(want.Diff) > 0 {
			compareGolden(t, name+" diff", b.Diff(), want.Diff, tol)
		}
		if s, err := shapeOf(want.Shape); err != nil || !slices.Equal(s, b.Shape()) {
			t.Errorf("%s has shape %v, want %v", name, b.Shape(), s)
		}
	}
	for name, b := range blobs {
		check(name, b, readBlob(t, filepath.Join(dir, "out", name+".binaryproto")))
	}
	for _, n := range nodes {
		for i, b := range n.layer.Params() {
			name := n.p.GetName() + "_" + string(rune('0'+i))
			check(name, b, readBlob(t, filepath.Join(dir, "par", name+".binaryproto")))
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// compareGolden checks values relative to the greatest magnitude of the blob.
func compareGolden(t *testing.T, name string, got, want []float32, tol float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d values, want %d", name, len(got), len(want))
		return
	}
	var worst, scale float64
	for i, w := range want {
		e := math.Abs(float64(got[i]) - float64(w))
		if math.IsNaN(e) {
			e = math.Inf(1)
		}
		worst, scale = max(worst, e), max(scale, math.Abs(float64(w)))
	}
	if worst > tol*max(scale, math.SmallestNonzeroFloat32) {
		t.Errorf("%s: off by %g of a greatest magnitude of %g", name, worst, scale)
	}
}
