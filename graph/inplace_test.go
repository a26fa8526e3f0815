package graph

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"crema/prototxt/caffepb"
)

// outOfPlace gives every layer a top of its own.
func outOfPlace(net string) string {
	latest := map[string]string{}
	var out []string
	for i, line := range strings.Split(strings.TrimSpace(net), "\n") {
		for name, now := range latest {
			line = strings.ReplaceAll(line, "bottom: '"+name+"'", "bottom: '"+now+"'")
		}
		_, top, _ := strings.Cut(line, "top: '")
		top, _, _ = strings.Cut(top, "'")
		name := fmt.Sprintf("t%d", i)
		if top != "data" && top != "label" && !strings.HasPrefix(top, "loss") {
			line = strings.ReplaceAll(line, "top: '"+top+"'", "top: '"+name+"'")
			latest[top] = name
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n")
}

// TestInPlace compares nets whose layers overwrite what others need with those
// where they do not, and checks which layers get a blob of their own for that.
func TestInPlace(t *testing.T) {
	norm := inPlace("BatchNorm", "bn", "c", "") + inPlace("Scale", "scale", "c", "")
	drop := inPlace("Dropout", "drop", "c", "")
	for _, c := range []struct {
		name, layers string
		apart        []string
	}{
		{"ReLU, Dropout", inPlace("ReLU", "f", "c", "") + drop, nil},
		{"ReLU, BatchNorm", inPlace("ReLU", "f", "c", "") + norm, []string{"bn"}},
		{"ReLU, PReLU", inPlace("ReLU", "f", "c", "relu_param { negative_slope: 0.1 }") + inPlace("PReLU", "p", "c", ""), []string{"p"}},
		{"Sigmoid, Dropout", inPlace("Sigmoid", "f", "c", "") + drop, []string{"drop"}},
		{"TanH, Dropout, ReLU", inPlace("TanH", "f", "c", "") + drop + inPlace("ReLU", "r", "c", ""), []string{"drop"}},
		{"ELU, BatchNorm", inPlace("ELU", "f", "c", "") + norm, []string{"bn"}},
		{"Exp, Power", inPlace("Exp", "f", "c", "exp_param { scale: 0.1 }") + inPlace("Power", "p", "c", "power_param { scale: 0.5 }"), []string{"p"}},
		{"Softmax, Power", inPlace("Softmax", "f", "c", "") + inPlace("Power", "p", "c", "power_param { scale: 5 shift: 1 }"), []string{"p"}},
		{"BatchNorm, Sigmoid", norm + inPlace("Sigmoid", "f", "c", ""), nil},
		{"PReLU, LRN, Power", inPlace("PReLU", "p", "c", "") + inPlace("LRN", "n", "c", "") + inPlace("Power", "q", "c", "power_param { power: 2 }"), nil},
		{"view", layer("Sigmoid", "f", "c", "") + "layer { type: 'Flatten' name: 'flat' bottom: 'f' top: 'v' }\n" +
			inPlace("Dropout", "drop", "v", "") + "layer { type: 'Reshape' name: 'back' bottom: 'v' top: 'c' reshape_param { shape { dim: 0 dim: 4 dim: -1 dim: 1 } } }\n", []string{"drop"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := images(3, 6, 6) + layer("Convolution", "c", "data", "num_output: 4 kernel_size: 3 bias_term: false") + c.layers + scores("ip", "c")
			if c.name == "view" { // both make a blob c
				text = strings.Replace(strings.Replace(text, "top: 'c' convolution", "top: 'c0' convolution", 1), "name: 'f' bottom: 'c'", "name: 'f' bottom: 'c0'", 1)
			}
			got, want := build(t, text, caffepb.Phase_TRAIN, off), build(t, outOfPlace(text), caffepb.Phase_TRAIN, off)
			var apart []string
			for i, l := range got.nodes {
				if p := l.Param; len(p.Bottom) > 0 && p.Bottom[0] == p.Top[0] && !l.inPlace() {
					apart = append(apart, l.Name)
				}
				if want.nodes[i].inPlace() {
					t.Fatalf("%s is in place in the reference", l.Name)
				}
			}
			if !slices.Equal(apart, c.apart) {
				t.Errorf("%v have a blob of their own, want %v", apart, c.apart)
			}
			feed(got, want)
			a, b := pass(t, got), pass(t, want)
			near(t, "loss", []float32{a}, []float32{b})
			for i, p := range want.Params() {
				near(t, fmt.Sprintf("gradient of parameter %s of %s", p.Name, p.Layer), got.Params()[i].Blob.Diff(), p.Blob.Diff())
			}
			names := got.BlobNames()
			slices.Sort(names)
			if len(slices.Compact(slices.Clone(names))) != len(names) {
				t.Errorf("blob names repeat: %v", names)
			}
			// Without a backward pass there is nothing to spoil.
			for _, l := range build(t, text, caffepb.Phase_TEST, off).nodes {
				if p := l.Param; len(p.Bottom) > 0 && p.Bottom[0] == p.Top[0] && !l.inPlace() {
					t.Errorf("TEST: %s is not in place", l.Name)
				}
			}
		})
	}
}

// TestInPlaceOfSplit changes a view of one top of a split: the other reader,
// which comes later, must not see it.
func TestInPlaceOfSplit(t *testing.T) {
	const flat = "layer { type: 'Flatten' name: 'v' bottom: 'data' top: 'v' }\n"
	for _, phase := range []caffepb.Phase{caffepb.Phase_TRAIN, caffepb.Phase_TEST} {
		n := build(t, images(3, 2, 2)+flat+inPlace("Power", "p", "v", "power_param { scale: 100 }")+layer("Power", "q", "data", ""), phase, Options{})
		feed(n)
		if _, err := n.Forward(); err != nil {
			t.Fatal(err)
		}
		near(t, "q", n.Blob("q").Values(), n.Blob("data").Values())
		if x, y := n.Blob("data").Values()[3], n.Blob("v").Values()[3]; y != 100*x {
			t.Errorf("%v: v is %v of %v", phase, y, x)
		}
	}
}
