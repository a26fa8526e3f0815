package prototxt

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"crema/prototxt/caffepb"
)

// TestGroupedProblems: a mistake that a file repeats is one line.
func TestGroupedProblems(t *testing.T) {
	var b strings.Builder
	for i := range 500 {
		fmt.Fprintf(&b, "layer { name: \"n%d\"\n  norm_param { scale: 1 } pad: 1 type: CONVOLUTION\n}\n", i)
	}
	err := UnmarshalText("ssd.prototxt", []byte(b.String()), &caffepb.NetParameter{})
	var te *TextError
	if !errors.As(err, &te) || len(te.Problems) != 1500 {
		t.Fatalf("%T with %d problems", err, len(te.Problems))
	}
	want := `ssd.prototxt:2:3: LayerParameter has no field "norm_param" (a field of SSD (github.com/weiliu89/caffe, branch ssd), not of Caffe); and 499 more times, the last at line 1499
ssd.prototxt:2:27: LayerParameter has no field "pad" (it belongs inside convolution_param or pooling_param); and 499 more times, the last at line 1499
ssd.prototxt:2:40: type takes a string in quotes, not CONVOLUTION (it is of the old form "layers"; write type: "Convolution"); and 499 more times, the last at line 1499`
	if got := err.Error(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	b.Reset()
	for i := range 100 {
		fmt.Fprintf(&b, "bogus%d: 1\n", i)
	}
	got := UnmarshalText("x", []byte(b.String()), &caffepb.NetParameter{}).Error()
	if n := strings.Count(got, "\n"); n != maxKinds || !strings.HasSuffix(got, "x: and 80 problems of 80 other kinds") {
		t.Errorf("%d lines:\n%s", n+1, got)
	}
	// Values of one field are of one kind; those of an enum are not.
	got = UnmarshalText("x", []byte("input_dim: a\ninput_dim: b\nstate { phase: A }"), &caffepb.NetParameter{}).Error()
	if got != "x:1:12: input_dim takes a whole number, not a; and again at line 2\nx:3:16: phase takes TRAIN or TEST, not A" {
		t.Error(got)
	}
	if got := UnmarshalText("a\tb", []byte("x: 1"), &caffepb.NetParameter{}).Error(); !strings.HasPrefix(got, `"a\tb":1:1: `) {
		t.Error(got)
	}
}

// TestV1Types: the names of V1's types are listed at most once, and not where
// something better can be said.
func TestV1Types(t *testing.T) {
	layer := func(t string) string { return "layers { type: " + t + " }\n" }
	for _, c := range []struct{ name, text, want string }{
		{"another spelling", layer("Convolution"), "x:1:16: type takes one of 40 names, not Convolution (in \"layers\" write CONVOLUTION; \"Convolution\" belongs to the newer form \"layer\")"},
		{"the newer form", layer(`"InnerProduct"`), "x:1:16: type takes one of 40 names, not the string \"InnerProduct\" (in \"layers\" write INNER_PRODUCT;"},
		{"in quotes", layer(`"RELU"`), "not the string \"RELU\" (write RELU without quotes)"},
		{"a fork's", layer("ROI_POOLING") + layer("BN") + layer("BN"), "x:1:16: type takes one of 40 names, not ROI_POOLING (a layer type of Fast and Faster R-CNN (github.com/rbgirshick/caffe-fast-rcnn), not of Caffe)\n" +
			"x:2:16: type takes one of 40 names, not BN (a layer type of SegNet (github.com/alexgkendall/caffe-segnet), not of Caffe); and again at line 3"},
		{"a typing error", layer("CONVOLUTIN"), "(did you mean CONVOLUTION?)"},
	} {
		got := UnmarshalText("x", []byte(c.text), &caffepb.NetParameter{}).Error()
		if !strings.Contains(got, c.want) || strings.Contains(got, "THRESHOLD") {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
	got := UnmarshalText("x", []byte(layer("FOO_BAR_BAZ")+layer("QUX_QUUX")+layer("QUX_QUUX")), &caffepb.NetParameter{}).Error()
	if strings.Count(got, "THRESHOLD") != 1 || strings.Count(got, "\n") != 1 {
		t.Error(got)
	}
}

func TestForks(t *testing.T) {
	seen := map[string]bool{}
	for i := range forks {
		f := &forks[i]
		for message, names := range f.fields {
			md := caffepb.File_caffe_proto.Messages().ByName(protoreflect.Name(message))
			if md == nil {
				t.Errorf("%s: no message %s", f.name, message)
				continue
			}
			for name := range strings.FieldsSeq(names) {
				if md.Fields().ByName(protoreflect.Name(name)) != nil {
					t.Errorf("%s: %s.%s is a field of Caffe", f.name, message, name)
				}
				if forkOfField(message, name) == "" {
					t.Errorf("%s.%s is not found", message, name)
				}
			}
		}
		for name := range strings.FieldsSeq(f.types) {
			for _, v1 := range v1Types {
				if v1 == name {
					t.Errorf("%s: %s is a type of Caffe", f.name, name)
				}
			}
			seen[name] = true
			if ForkOfType(name) == "" {
				t.Errorf("%s is not found", name)
			}
		}
	}
	for name, want := range map[string]string{"Permute": "SSD", "ROIPooling": "R-CNN", "PSROIPooling": "R-FCN", "Upsample": "SegNet", "Interp": "PSPNet", "Axpy": "NVIDIA", "MULTI_BOX_LOSS": "SSD",
		"Reorg": "Intel", "Correlation": "FlowNet", "Convolution": "", "CONVOLUTION": "", "Nothing": "", "permute": ""} {
		if got := ForkOfType(name); !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got := forkOfField("V1LayerParameter", "upsample_param"); !strings.Contains(got, "SegNet") {
		t.Errorf("V1: %q", got)
	}
}

// TestOtherKinds: text files that are no net or no solver are named for what
// they are.
func TestOtherKinds(t *testing.T) {
	weights, err := proto.Marshal(someWeights())
	if err != nil {
		t.Fatal(err)
	}
	utf16 := []byte("\xff\xfe")
	for _, c := range []byte("net: \"x\"\n") {
		utf16 = append(utf16, c, 0)
	}
	write := func(b []byte) string {
		path := filepath.Join(t.TempDir(), "x.prototxt")
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct {
		name, text  string
		net, solver string // what each reader says; "" for what the parser says
	}{
		{"solver", "net: \"x.prototxt\"\nbase_lr: 0.01\nmax_iter: 5\n", "this is a solver (prototxt), not a net (prototxt): give the file that its field net names", "-"},
		{"net", "name: \"x\"\nlayer { name: \"a\" type: \"ReLU\" }\n", "-", "this is a net (prototxt), not a solver (prototxt): the solver is another file"},
		{"label map", strings.Repeat("item { name: \"a\" label: 1 display_name: \"b\" }\n", 1024), "this is a label map of SSD", "this is a label map of SSD"},
		{"weights", string(weights), "this is a net with trained weights (.caffemodel), not a net (prototxt): the net's prototxt is another file", "give it as --weights"},
		{"utf-16", string(utf16), "this is text in UTF-16, not a net (prototxt): save it as UTF-8", "this is text in UTF-16"},
		{"nothing", "", "the file is empty", "the file is empty"},
		{"blank lines", " \n\n", "the file is empty", "the file is empty"},
		{"list", "a.jpg 1\nb.jpg 2\n", "a list of files and labels", "a list of files and labels"},
		{"page", "<!DOCTYPE html><html>", "a web page, not a net (prototxt): a download that went wrong", "a web page"},
		{"a field out of place", "layer { name: \"a\" }\ndebug_info: true\ntest_iter: 1\n", "x.prototxt:3:1: NetParameter has no field \"test_iter\"", "this is a net"},
		{"two files in one", "base_lr: 1\nlayer { name: \"a\" }\n", "NetParameter has no field \"base_lr\"", "SolverParameter has no field \"layer\""},
	} {
		path := write([]byte(c.text))
		_, _, err := ReadNetPos(path)
		_, err2 := ReadNet(path)
		_, _, err3 := ReadSolverPos(path)
		_, err4 := ReadSolver(path)
		for i, err := range []error{err, err2, err3, err4} {
			want := c.net
			if i > 1 {
				want = c.solver
			}
			if want == "-" {
				if err != nil {
					t.Errorf("%s, reader %d: %v", c.name, i, err)
				}
			} else if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s, reader %d: %v, want …%s…", c.name, i, err, want)
			}
		}
	}
}
