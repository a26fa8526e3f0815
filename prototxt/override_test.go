package prototxt

import (
	"os"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"crema/prototxt/caffepb"
)

const overrideNet = `
name: "n"
layer { name: "data" type: "Data" include { phase: TRAIN } data_param { batch_size: 64 } transform_param { mirror: true } }
layer { name: "data" type: "Data" include { phase: TEST } data_param { batch_size: 50 } }
layer { name: "conv1" type: "Convolution" param { lr_mult: 1 } param { lr_mult: 2 } convolution_param { num_output: 8 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "conv2/3x3.reduce" type: "Convolution" convolution_param { num_output: 9 } }
layer { name: "conv2/3x3" type: "Convolution" convolution_param { num_output: 10 } }
layer { name: "drop" type: "Dropout" exclude { phase: TEST } }
layer { name: "drop2" type: "Dropout" exclude { phase: TEST min_level: 1 } }
layer { name: "acc" type: "Accuracy" include { phase: TEST stage: "val" } }
layer { name: "x.param" type: "Silence" param { name: "w" } }
layer { name: "x" type: "Silence" param { name: "w" } }
`

// diffLines returns the lines that differ between two printed messages, with
// the name of the layer they are in. Lines only in b are marked +, only in a -.
func diffLines(a, b string) string {
	split := func(s string) []string {
		var out []string
		layer, n := "", map[string]int{}
		var stack []string
		for _, l := range strings.Split(strings.TrimSpace(s), "\n") {
			l = strings.TrimSpace(l)
			switch {
			case strings.HasSuffix(l, " {"):
				stack = append(stack, strings.TrimSuffix(l, " {"))
			case l == "}":
				stack = stack[:len(stack)-1]
			default:
				if len(stack) == 1 && stack[0] == "layer" && strings.HasPrefix(l, "name: ") {
					layer = strings.Trim(strings.TrimPrefix(l, "name: "), `"`)
					n[layer]++
					if n[layer] > 1 {
						layer += "'"
					}
				}
				path := append([]string{}, stack...)
				if len(path) > 0 && path[0] == "layer" {
					path[0] = layer
				}
				out = append(out, strings.Join(append(path, l), "|"))
			}
		}
		return out
	}
	la, lb := split(a), split(b)
	count := map[string]int{}
	for _, l := range la {
		count[l]++
	}
	var out []string
	for _, l := range lb {
		if count[l] > 0 {
			count[l]--
		} else {
			out = append(out, "+"+l)
		}
	}
	for _, l := range la {
		if count[l] > 0 {
			count[l]--
			out = append(out, "-"+l)
		}
	}
	return strings.Join(out, "\n")
}

func TestOverrideNet(t *testing.T) {
	for _, c := range []struct{ set, want string }{
		{"layer.data.data_param.batch_size=1", "+data|data_param|batch_size: 1\n+data'|data_param|batch_size: 1\n-data|data_param|batch_size: 64\n-data'|data_param|batch_size: 50"},
		{"layer.data@TEST.transform_param.mirror=false", "+data'|transform_param|mirror: false"},
		{"layer.data@TRAIN.transform_param.mirror=false", "+data|transform_param|mirror: false\n-data|transform_param|mirror: true"},
		{"layer.conv*.convolution_param.weight_filler.type=msra", "+conv1|convolution_param|weight_filler|type: \"msra\"\n+conv2/3x3.reduce|convolution_param|weight_filler|type: \"msra\"\n+conv2/3x3|convolution_param|weight_filler|type: \"msra\"\n-conv1|convolution_param|weight_filler|type: \"xavier\""},
		{"layer.conv2/3x3.convolution_param.num_output=1", "+conv2/3x3|convolution_param|num_output: 1\n-conv2/3x3|convolution_param|num_output: 10"},
		{"layer.conv2/3x3.reduce.convolution_param.num_output=1", "+conv2/3x3.reduce|convolution_param|num_output: 1\n-conv2/3x3.reduce|convolution_param|num_output: 9"},
		{"layer.conv2*.convolution_param.num_output=1", "+conv2/3x3.reduce|convolution_param|num_output: 1\n+conv2/3x3|convolution_param|num_output: 1\n-conv2/3x3.reduce|convolution_param|num_output: 9\n-conv2/3x3|convolution_param|num_output: 10"},
		{"layer.*@TEST.phase=TEST", "+data'|phase: TEST\n+conv1|phase: TEST\n+conv2/3x3.reduce|phase: TEST\n+conv2/3x3|phase: TEST\n+drop2|phase: TEST\n+acc|phase: TEST\n+x.param|phase: TEST\n+x|phase: TEST"},
		{"layer.*@Dropout@TRAIN.dropout_param.dropout_ratio=.125", "+drop|dropout_param|dropout_ratio: 0.125\n+drop2|dropout_param|dropout_ratio: 0.125"},
		{"layer.drop@Dropout.dropout_param.dropout_ratio=.125", "+drop|dropout_param|dropout_ratio: 0.125"},
		{"layer.drop@TRAIN.dropout_param.dropout_ratio=.25", "+drop|dropout_param|dropout_ratio: 0.25"},
		{"layer.conv1.param[0].lr_mult=0", "+conv1|param|lr_mult: 0\n-conv1|param|lr_mult: 1"},
		{"layer.conv1.param.decay_mult=0", "+conv1|param|decay_mult: 0\n+conv1|param|decay_mult: 0"},
		{"layer.conv1.param[2].lr_mult=5", "+conv1|param|lr_mult: 5"},
		{"layer.drop.param[0].lr_mult=5", "+drop|param|lr_mult: 5"},
		{"layer.conv1.param[0]=", "-conv1|param|lr_mult: 1"},
		{"layer.conv1.param=", "-conv1|param|lr_mult: 1\n-conv1|param|lr_mult: 2"},
		{"layer.conv1.param=[{lr_mult: 7}, {}]", "+conv1|param|lr_mult: 7\n-conv1|param|lr_mult: 1\n-conv1|param|lr_mult: 2"},
		{"layer.conv1.param[1]={name: 'w'}", "+conv1|param|name: \"w\"\n-conv1|param|lr_mult: 2"},
		{"layer.conv1.param[2]=<name: 'w'>", "+conv1|param|name: \"w\""},
		{"layer.conv*.convolution_param.bias_filler={type:\"constant\" value: 1}", "+conv1|convolution_param|bias_filler|type: \"constant\"\n+conv1|convolution_param|bias_filler|value: 1\n+conv2/3x3.reduce|convolution_param|bias_filler|type: \"constant\"\n+conv2/3x3.reduce|convolution_param|bias_filler|value: 1\n+conv2/3x3|convolution_param|bias_filler|type: \"constant\"\n+conv2/3x3|convolution_param|bias_filler|value: 1"},
		{"layer.conv1.convolution_param.weight_filler=", "-conv1|convolution_param|weight_filler|type: \"xavier\""},
		{"layer.drop.dropout_param.dropout_ratio=", ""},
		{"layer.conv1.convolution_param.kernel_size=5,0x7", "+conv1|convolution_param|kernel_size: 5\n+conv1|convolution_param|kernel_size: 7\n-conv1|convolution_param|kernel_size: 3"},
		{"layer.conv1.convolution_param.kernel_size[1]=5", "+conv1|convolution_param|kernel_size: 5"},
		{"layer.conv1.convolution_param.kernel_size[0]=5", "+conv1|convolution_param|kernel_size: 5\n-conv1|convolution_param|kernel_size: 3"},
		{"layer.conv1.convolution_param.kernel_size[0]=", "-conv1|convolution_param|kernel_size: 3"},
		{"layer.conv1.convolution_param.engine=CAFFE", "+conv1|convolution_param|engine: CAFFE"},
		{"layer.conv1.convolution_param.engine=1", "+conv1|convolution_param|engine: CAFFE"},
		{"layer.acc.top=a, 'b, c' ,\"d\\n\"", "+acc|top: \"a\"\n+acc|top: \"b, c\"\n+acc|top: \"d\\n\""},
		{"layer.data@TRAIN.data_param.source=/a b,c=d", "+data|data_param|source: \"/a b,c=d\""},
		{"layer.data@TRAIN.data_param.source=''", "+data|data_param|source: \"\""},
		{"layer.x.param.lr_mult=2", "+x|param|lr_mult: 2"},
		{"layer.x.param.type=v", "+x.param|type: \"v\"\n-x.param|type: \"Silence\""},
		{"layer.x.param.param.name=v", "+x.param|param|name: \"v\"\n-x.param|param|name: \"w\""},
	} {
		t.Run(c.set, func(t *testing.T) {
			np, err := parseNet(overrideNet)
			if err != nil {
				t.Fatal(err)
			}
			before := string(MarshalText(np))
			o, err := ParseOverrides([]string{c.set})
			if err != nil {
				t.Fatal(err)
			}
			if err := o.ApplyNet(np); err != nil {
				t.Fatal(err)
			}
			if got := diffLines(before, string(MarshalText(np))); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
			if err := o.Unused(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestOverrideSolver(t *testing.T) {
	const base = `net: "n" max_iter: 9 test_iter: 4 test_iter: 5 stepvalue: 3 test_state { level: 1 } lr_policy: "step"`
	for _, c := range []struct{ set, want string }{
		{"max_iter=100", "+max_iter: 100\n-max_iter: 9"},
		{" max_iter = 100 ", "+max_iter: 100\n-max_iter: 9"},
		{"base_lr=1e-3", "+base_lr: 0.001"},
		{"solver_mode=CPU", "+solver_mode: CPU"},
		{"snapshot_after_train=0", "+snapshot_after_train: false"},
		{"test_iter=2", "+test_iter: 2\n-test_iter: 4\n-test_iter: 5"},
		{"test_iter[1]=2", "+test_iter: 2\n-test_iter: 5"},
		{"test_iter[2]=2", "+test_iter: 2"},
		{"test_iter[0]=", "-test_iter: 4"},
		{"stepvalue=10,20", "+stepvalue: 10\n+stepvalue: 20\n-stepvalue: 3"},
		{"stepvalue=", "-stepvalue: 3"},
		{"max_iter=", "-max_iter: 9"},
		{"net=a.prototxt", "+net: \"a.prototxt\"\n-net: \"n\""},
		{"weights=a,b", "+weights: \"a\"\n+weights: \"b\""},
		{"train_state.stage=x,y", "+train_state|stage: \"x\"\n+train_state|stage: \"y\""},
		{"test_state[0].level=2", "+test_state|level: 2\n-test_state|level: 1"},
		{"test_state[1].level=2", "+test_state|level: 2"},
		{"test_state.level=2", "+test_state|level: 2\n-test_state|level: 1"},
	} {
		t.Run(c.set, func(t *testing.T) {
			sp := &caffepb.SolverParameter{}
			if err := UnmarshalText("f", []byte(base), sp); err != nil {
				t.Fatal(err)
			}
			before := string(MarshalText(sp))
			o, err := ParseOverrides([]string{c.set})
			if err != nil {
				t.Fatal(err)
			}
			if err := o.Unused(); err == nil || !strings.Contains(err.Error(), "no solver was read") {
				t.Errorf("Unused before ApplySolver: %v", err)
			}
			if err := o.ApplySolver(sp); err != nil {
				t.Fatal(err)
			}
			if got := diffLines(before, string(MarshalText(sp))); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
			if err := o.Unused(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestParseOverridesErrors(t *testing.T) {
	for _, c := range []struct{ set, want string }{
		{"max_iter", "want PATH=VALUE, such as max_iter=100"},
		{"=3", `SolverParameter has no field ""`},
		{"max_itr=3", `SolverParameter has no field "max_itr" (did you mean max_iter?)`},
		{"max_iter=abc", "max_iter takes a whole number, not abc"},
		{"max_iter=1,2", `max_iter takes one value, not "1,2"`},
		{"max_iter=+1", `max_iter: expected a value, found "+"`},
		{"max_iter.x=1", `max_iter has no field "x" inside: it is no message`},
		{"max_iter[0]=1", "max_iter is not repeated and takes no index"},
		{"test_iter[x]=1", `"test_iter[x]" is no field with an index, such as param[0]`},
		{"test_iter[-1]=1", `"test_iter[-1]" is no field with an index`},
		{"test_iter[1=1", `"test_iter[1" is no field with an index`},
		{"test_iter=1,,2", "test_iter: a value is missing between commas"},
		{"test_iter=1,b", "test_iter takes a whole number, not b"},
		{"net='a", "net: this string is never closed"},
		{"solver_mode=FPGA", "solver_mode takes CPU or GPU, not FPGA"},
		{"train_state=x", "train_state is a message: name one of its fields (train_state.…=…) or write {…}"},
		{"train_state={level: x}", "level takes a whole number, not x"},
		{"train_state={level: 1} max_iter: 3", "train_state takes one {…}"},
		{"train_state={level: 1", `the file ends inside the message`},
		{"test_state[0]={} test_state {}", "test_state[0] takes one {…}"},
		{"layer.conv1=3", "want layer.NAME.FIELD=VALUE"},
		{"layer.conv1.convolution_parm.pad=1", `LayerParameter has no field "convolution_parm" (did you mean convolution_param`},
		{"layer.conv1.convolution_param.pad=x", "pad takes a whole number from 0, not x"},
		{"layer.conv1.convolution_param.stried=1", `ConvolutionParameter has no field "stried" (did you mean stride?)`},
		{"base_lr.1", "want PATH=VALUE"},
		{"layer.conv1.kernel_size=3", `LayerParameter has no field "kernel_size" (it belongs inside convolution_param or pooling_param)`},
	} {
		t.Run(c.set, func(t *testing.T) {
			_, err := ParseOverrides([]string{"display=1", c.set})
			if err == nil || !strings.HasPrefix(err.Error(), "--set "+c.set+": ") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want …%s", err, c.want)
			}
		})
	}
	_, err := ParseOverrides([]string{"a=1", "b=2"})
	if err == nil || strings.Count(err.Error(), "--set ") != 2 {
		t.Errorf("both bad flags should be named: %v", err)
	}
}

func TestOverrideErrors(t *testing.T) {
	for _, c := range []struct{ set, want string }{
		{"layer.conv1.convolution_param.kernel_size[3]=5", `layer "conv1": kernel_size has 1 elements, so the index 3 leaves a gap`},
		{"layer.conv1.convolution_param.kernel_size[1]=", `kernel_size has 1 elements`},
		{"layer.conv1.param[4].lr_mult=5", `param has 2 elements, so the index 4 leaves a gap`},
		{"layer.drop.param.lr_mult=0", `layer "drop": there is no param; name the one to add: param[0].lr_mult`},
		{"test_iter[1]=3", `--set test_iter[1]=3: test_iter has 0 elements`},
		{"layer.conf1.type=x", `no layer is named "conf1" (did you mean conv1?)`},
		{"layer.relu_7_b.type=x", `no layer is named "relu_7_b" (the layers are data, conv1, conv2/3x3.reduce, conv2/3x3, drop, drop2, acc, x.param, x)`},
		{"layer.pool*.pooling_param.stride=2", `no layer is named "pool*" (the layers are data`},
		{"layer.drop@TEST.type=x", `the layers named "drop" are not in the TEST phase`},
		{"layer.acc@TRAIN.type=x", `the layers named "acc" are not in the TRAIN phase`},
		{"layer.conv1@train.type=x", `no layer is named "conv1@train"`},
		{"layer.conv*@Dropout.type=x", `no layer of type "Dropout" is named "conv*"`},
	} {
		t.Run(c.set, func(t *testing.T) {
			o, err := ParseOverrides([]string{c.set})
			if err != nil {
				t.Fatal(err)
			}
			np, err := parseNet(overrideNet)
			if err != nil {
				t.Fatal(err)
			}
			err = o.ApplySolver(&caffepb.SolverParameter{})
			if err == nil {
				err = o.ApplyNet(np)
			}
			if err == nil {
				err = o.Unused()
			}
			if err == nil || !strings.HasPrefix(err.Error(), "--set "+c.set+": ") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want …%s", err, c.want)
			}
		})
	}
}

// TestOverridesSeveralNets: an override counts as used if any net has the layer.
func TestOverridesSeveralNets(t *testing.T) {
	o, err := ParseOverrides([]string{"layer.a.type=A", "layer.b.type=B", "layer.c.type=C", "layer.*.phase=TEST"})
	if err != nil {
		t.Fatal(err)
	}
	train := &caffepb.NetParameter{Layer: []*caffepb.LayerParameter{{Name: proto.String("a")}}}
	test := &caffepb.NetParameter{Layer: []*caffepb.LayerParameter{{Name: proto.String("b")}}}
	for _, np := range []*caffepb.NetParameter{train, test} {
		if err := o.ApplyNet(np); err != nil {
			t.Fatal(err)
		}
	}
	if train.Layer[0].GetType() != "A" || test.Layer[0].GetType() != "B" || train.Layer[0].GetPhase() != caffepb.Phase_TEST {
		t.Errorf("got %v and %v", train, test)
	}
	if err := o.Unused(); err == nil || err.Error() != `--set layer.c.type=C: no layer is named "c" (did you mean a or b?)` {
		t.Errorf("got %v", err)
	}
}

// TestOverridesShareNothing: a message given once is not shared by layers.
func TestOverridesShareNothing(t *testing.T) {
	o, err := ParseOverrides([]string{"layer.*.convolution_param={num_output: 3}", "layer.a.convolution_param.num_output=4"})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		np := &caffepb.NetParameter{Layer: []*caffepb.LayerParameter{{Name: proto.String("a")}, {Name: proto.String("b")}}}
		if err := o.ApplyNet(np); err != nil {
			t.Fatal(err)
		}
		if a, b := np.Layer[0].ConvolutionParam.GetNumOutput(), np.Layer[1].ConvolutionParam.GetNumOutput(); a != 4 || b != 3 {
			t.Errorf("num_output %d and %d, want 4 and 3", a, b)
		}
	}
}

func TestNilOverrides(t *testing.T) {
	var o *Overrides
	if err := o.ApplyNet(&caffepb.NetParameter{}); err != nil {
		t.Error(err)
	}
	if err := o.ApplySolver(&caffepb.SolverParameter{}); err != nil {
		t.Error(err)
	}
	if err := o.Unused(); err != nil {
		t.Error(err)
	}
}

// TestOverrideSeed changes the files of the main job as a user does.
func TestOverrideSeed(t *testing.T) {
	dir := sharedDir(t)
	np, err := ReadNet(dir + "/seed/train_val.prototxt")
	if err != nil {
		t.Fatal(err)
	}
	sp, err := ReadSolver(dir + "/seed/solver.prototxt")
	if err != nil {
		t.Fatal(err)
	}
	o, err := ParseOverrides([]string{"max_iter=2", "test_iter=2", "layer.data.data_param.batch_size=1", "layer.conv*.convolution_param.weight_filler.type=msra", "layer.data@TEST.transform_param.mirror=false"})
	if err != nil {
		t.Fatal(err)
	}
	if err := o.ApplySolver(sp); err != nil {
		t.Fatal(err)
	}
	if err := o.ApplyNet(np); err != nil {
		t.Fatal(err)
	}
	if err := o.Unused(); err != nil {
		t.Error(err)
	}
	if sp.GetMaxIter() != 2 || len(sp.TestIter) != 1 || np.Layer[0].DataParam.GetBatchSize() != 1 || np.Layer[1].DataParam.GetBatchSize() != 1 {
		t.Errorf("got %v and %v", sp, np.Layer[:2])
	}
}

func TestGlobMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true}, {"", "a", false}, {"a", "a", true}, {"a", "ab", false}, {"*", "", true}, {"*", "a/b.c", true},
		{"a*", "a", true}, {"a*", "ba", false}, {"*a", "ba", true}, {"*a", "ab", false}, {"a*a", "a", false}, {"a*a", "aa", true},
		{"a*b*c", "aXbYc", true}, {"a*b*c", "acb", false}, {"a**c", "ac", true}, {"*ab*ab", "ab", false}, {"*ab*ab", "abab", true},
		{"*b*", "abc", true}, {"*b*", "ac", false}, {"a*b", "aXbXb", true},
	} {
		if got := globMatch(c.pattern, c.s); got != c.want {
			t.Errorf("globMatch(%q, %q) = %v", c.pattern, c.s, got)
		}
	}
}

func FuzzParseOverrides(f *testing.F) {
	for _, s := range []string{"max_iter=1", "layer.a*@TEST.param[0].lr_mult=0", "layer.a.param=[{},<>]", "test_iter=1,2", "net='a\\x41'", "layer..=", "layer.a.include={phase:TEST", "test_iter[0]="} {
		f.Add(s)
	}
	b, err := os.ReadFile("testdata/v2.prototxt")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		o, err := ParseOverrides([]string{s, s})
		if err != nil {
			return
		}
		np := &caffepb.NetParameter{}
		if err := UnmarshalText("f", b, np); err != nil {
			t.Fatal(err)
		}
		_ = o.ApplyNet(np)
		_ = o.ApplySolver(&caffepb.SolverParameter{})
		_ = o.Unused()
	})
}
