package main

import (
	"strings"
	"testing"
)

// TestWeightsFlags loads weights of a trained net into changed ones, as a user
// who fine-tunes would.
func TestWeightsFlags(t *testing.T) {
	t.Chdir(golden(t, "runs"))
	dir := t.TempDir()
	const trained = "solver/sgd_step/init.caffemodel"
	deploy := func(name, first, last string) string {
		return writeFile(t, dir, name+".prototxt", `layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 1 dim: 28 dim: 28 } } }
layer { name: "`+first+`" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 8 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "`+last+`" type: "InnerProduct" bottom: "c" top: "y" inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
`)
	}
	run := func(model string, more ...string) result {
		return crema(append([]string{"time", "--iterations=1", "--model", model, "--weights", trained}, more...)...)
	}
	for _, c := range []struct {
		name  string
		model string
		flags []string
		fails bool
		want  string
	}{
		{"a new last layer", deploy("a", "conv1", "new"), nil, false, "1 layer of the net got no weights from the file; what fills them stays: \"new\" (xavier)"},
		{"left over", deploy("b", "conv1", "new"), nil, false, "of the file went nowhere"},
		{"nothing fits", deploy("c", "first", "new"), nil, true, "--weights-map first=conv1 would load some; --weights-any goes on without"},
		{"nothing fits, all the same", deploy("d", "first", "new"), []string{"--weights-any"}, false, "Loaded the parameters of 0 of 2 layers"},
		{"mapped", deploy("e", "first", "new"), []string{"--weights-map", "first=conv1"}, false, "Loaded the parameters of 1 of 2 layers"},
		{"mapped nowhere", deploy("f", "conv1", "new"), []string{"--weights-map=new=nothing"}, true, "there is no layer \"nothing\" in the weights"},
		{"no map", deploy("g", "conv1", "new"), []string{"--weights-map", "conv1"}, true, "want LAYER=OTHER"},
		{"mapped twice", deploy("h", "conv1", "new"), []string{"--weights-map", "a=b,a=c"}, true, "layer \"a\" is given both \"b\" and \"c\""},
	} {
		r := run(c.model, c.flags...)
		if (r.status != 0) != c.fails || !strings.Contains(r.err, c.want) || strings.Contains(r.lastLine(), "goroutine") {
			t.Errorf("%s: status %d, no %q in\n%s", c.name, r.status, c.want, r.err)
		}
	}
	if r := crema("time", "--model", deploy("i", "a", "b"), "--weights-map", "a=b"); r.status != 2 || !strings.Contains(r.lastLine(), "there is no -weights") {
		t.Errorf("a map alone: %d, %s", r.status, r.lastLine())
	}
	// Training takes the same flags: the last layer of another width learns from
	// scratch, though it has its old name.
	train := []string{"train", "--solver=solver/sgd_step/solver.prototxt", "--weights", trained, "--set", "max_iter=1", "--set", "snapshot_prefix=" + dir + "/run", "--set", "test_iter=",
		"--set", "test_interval=0", "--set", "layer.fc.inner_product_param.num_output=12"}
	r := crema(train...)
	if r.status == 0 || !strings.Contains(r.lastLine(), "or give --weights-map fc=") {
		t.Fatalf("another width: %d, %s", r.status, r.lastLine())
	}
	r = crema(append(train, "--weights-map", "fc=")...)
	if r.status != 0 || !strings.Contains(r.err, "what fills them stays: \"fc\"") {
		t.Errorf("from scratch: %d\n%s", r.status, r.err)
	}
}
