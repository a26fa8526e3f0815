package graph

import (
	"slices"
	"strings"
	"testing"

	"crema/prototxt/caffepb"
	"crema/tensor"
)

// TestFilterInNet gives a Filter other records each time: what comes after it is
// shaped anew, also where the net keeps blobs in blocks.
func TestFilterInNet(t *testing.T) {
	net := images(16, 16, 16) + input("selector", batch) + rectified("c1", "data", 32) +
		"layer { type: 'Filter' name: 'f' bottom: 'c1' bottom: 'label' bottom: 'selector' top: 'f' top: 'l' }\n" +
		rectified("c2", "f", 32) + rectified("c3", "c2", 32) +
		strings.ReplaceAll(scores("ip", "c3"), "bottom: 'label'", "bottom: 'l' propagate_down: true propagate_down: false")
	on, plain := build(t, net, caffepb.Phase_TRAIN, Options{}), build(t, net, caffepb.Phase_TRAIN, off)
	feed(on, plain)
	for _, selector := range [][]float32{{1, 0, 1}, {0, 0, 0}, {1, 1, 1}, {0, 1, 0}} {
		n := 0
		for _, v := range selector {
			n += int(v)
		}
		var losses [2]float32
		for i, net := range []*Net{on, plain} {
			copy(net.Blob("selector").Data(), selector)
			losses[i] = pass(t, net)
			if got := net.Blob("c3").Dim(0); got != n {
				t.Errorf("%v: c3 has %d records, want %d", selector, got, n)
			}
		}
		if d := losses[0] - losses[1]; d > 1e-4 || d < -1e-4 {
			t.Errorf("%v: losses %v", selector, losses)
		}
		for i, p := range on.Params() {
			want := plain.Params()[i].Blob.Diff()
			var scale, worst float32
			for j, v := range p.Blob.Diff() {
				scale, worst = max(scale, want[j], -want[j]), max(worst, v-want[j], want[j]-v)
			}
			if worst > 1e-4*scale {
				t.Errorf("%v: gradient of %s %s off by %v of %v", selector, p.Layer, p.Name, worst, scale)
			}
			if n == 0 && scale != 0 {
				t.Errorf("%v: gradient of %s %s is not zero", selector, p.Layer, p.Name)
			}
		}
	}
}

// TestParameterGradient: passes add up gradients, but a Parameter's is that of
// the last one, as in Caffe.
func TestParameterGradient(t *testing.T) {
	net := images(1, 2, 2) + "layer { type: 'Parameter' name: 'p' top: 'p' parameter_param { shape { dim: 3 dim: 7 } } }\n" +
		layer("InnerProduct", "ip", "data", "num_output: 7") +
		"layer { type: 'Concat' name: 'cat' bottom: 'ip' bottom: 'p' top: 'cat' }\n" + scores("s", "cat")
	n := build(t, net, caffepb.Phase_TRAIN, Options{})
	feed(n)
	if got := n.Params()[0]; got.Layer != "p" || !got.Blob.HasShape(3, 7) {
		t.Fatalf("the first parameter is %s %v", got.Layer, got.Blob)
	}
	pass(t, n)
	var once [][]float32
	for _, p := range n.Params()[:2] {
		once = append(once, append([]float32(nil), p.Blob.Diff()...))
	}
	if err := n.Backward(); err != nil {
		t.Fatal(err)
	}
	for i, times := range []float32{1, 2} { // of the Parameter, and of ip's weights
		nonzero := false
		for j, v := range n.Params()[i].Blob.Diff() {
			nonzero = nonzero || v != 0
			if v != times*once[i][j] {
				t.Fatalf("parameter %d: after two passes %v, after one %v", i, v, once[i][j])
			}
		}
		if !nonzero {
			t.Errorf("parameter %d has no gradient", i)
		}
	}
}

// TestForceBackward: bottoms that layers cannot propagate to, labels and
// indices, are left alone by force_backward.
func TestForceBackward(t *testing.T) {
	for _, c := range []struct{ name, layers string }{
		{"Embed", layer("Embed", "e", "label", "embed_param { input_dim: 7 num_output: 7 }") + scores("s", "e")},
		{"BatchReindex", "layer { type: 'BatchReindex' name: 'b' bottom: 'data' bottom: 'index' top: 'b' }" + scores("s", "b")},
		{"Filter", "layer { type: 'Filter' name: 'f' bottom: 'data' bottom: 'index' top: 'f' } layer { type: 'Filter' name: 'g' bottom: 'label' bottom: 'index' top: 'g' }" +
			strings.ReplaceAll(scores("s", "f"), "'label'", "'g'")},
		{"ArgMax", layer("ArgMax", "a", "data", "") + scores("s", "data")},
		{"Crop", "layer { type: 'Crop' name: 'c' bottom: 'data' bottom: 'like' top: 'c' }" + scores("s", "c")},
		{"InfogainLoss", layer("InnerProduct", "ip", "data", "num_output: 2") + input("H", 2, 2) + "layer { type: 'InfogainLoss' name: 'i' bottom: 'ip' bottom: 'index' bottom: 'H' top: 'i' }"},
		{"ContrastiveLoss", layer("InnerProduct", "a", "data", "num_output: 2") + layer("InnerProduct", "b", "data", "num_output: 2") +
			"layer { type: 'ContrastiveLoss' name: 'c' bottom: 'a' bottom: 'b' bottom: 'index' top: 'c' }"},
		{"HingeLoss", layer("InnerProduct", "ip", "data", "num_output: 7") + "layer { type: 'HingeLoss' name: 'h' bottom: 'ip' bottom: 'label' top: 'h' }"},
		{"MultinomialLogisticLoss", layer("InnerProduct", "ip", "data", "num_output: 7") + layer("Softmax", "p", "ip", "") +
			"layer { type: 'MultinomialLogisticLoss' name: 'm' bottom: 'p' bottom: 'label' top: 'm' }"},
		{"SigmoidCrossEntropyLoss", "layer { type: 'SigmoidCrossEntropyLoss' name: 's' bottom: 'data' bottom: 'target' top: 's' }"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := build(t, "force_backward: true\n"+images(1, 3, 3)+input("index", batch)+input("like", 1, 1, 2, 2)+input("target", batch, 9)+c.layers, caffepb.Phase_TRAIN, Options{})
			feed(n)
			copy(n.Blob("index").Data(), []float32{1, 0, 1})
			if h := n.Blob("H"); h != nil {
				copy(h.Data(), []float32{1, 0, 0, 2})
			}
			pass(t, n)
			for _, name := range []string{"label", "index", "like", "target"} {
				if b := n.Blob(name); nonzero(b) {
					t.Errorf("%s has a gradient", name)
				}
			}
			if c.name != "Embed" && !nonzero(n.Blob("data")) {
				t.Error("data has no gradient")
			}
		})
	}
}

func nonzero(b *tensor.Blob) bool {
	for _, v := range b.Diff() {
		if v != 0 {
			return true
		}
	}
	return false
}

func TestIsSource(t *testing.T) {
	n := build(t, images(1, 2, 2)+"layer { type: 'Parameter' name: 'p' top: 'p' }\n"+layer("ReLU", "r", "data", ""), caffepb.Phase_TRAIN, Options{})
	var sources []string
	for _, l := range n.Layers() {
		if IsSource(l.Param) {
			sources = append(sources, l.Name)
		}
	}
	if !slices.Equal(sources, []string{"data", "label"}) {
		t.Errorf("sources %q", sources)
	}
}
