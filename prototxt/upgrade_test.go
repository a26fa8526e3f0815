package prototxt

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"crema/prototxt/caffepb"
)

// TestUpgradeNet upgrades nets that have all old constructs. The .upgraded files
// were made by the upgrade code of Caffe itself.
func TestUpgradeNet(t *testing.T) {
	for _, c := range []struct {
		name  string
		notes []string // what they contain, in order
		ok    bool
	}{
		{"v0", []string{`"odd": a V0 layer of type "tanh" has no parameter num_output`, "V0 layers", "V1 layers"}, false},
		{"v1", []string{"transform_param", "V1 layers", "Input layer"}, true},
		{"v2", []string{"Input layer", "BatchNorm"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := "testdata/" + c.name + ".prototxt"
			np := &caffepb.NetParameter{}
			if err := ReadText(path, np); err != nil {
				t.Fatal(err)
			}
			notes, err := UpgradeNet(np)
			if err != nil {
				t.Fatal(err)
			}
			want, err := os.ReadFile("testdata/" + c.name + ".upgraded.prototxt")
			if err != nil {
				t.Fatal(err)
			}
			if got := MarshalText(np); !bytes.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			if len(notes) != len(c.notes) {
				t.Fatalf("notes %q, want %d", notes, len(c.notes))
			}
			for i, n := range notes {
				if !strings.Contains(n.Text, c.notes[i]) {
					t.Errorf("note %q should speak of %q", n.Text, c.notes[i])
				}
			}
			if notes.OK() != c.ok {
				t.Errorf("OK is %v", notes.OK())
			}

			// The text that was read by file name, with a log.
			var log bytes.Buffer
			np2, err := Reader{slog.New(slog.NewTextHandler(&log, nil))}.Net(path)
			if err != nil {
				t.Fatal(err)
			}
			if !proto.Equal(np, np2) {
				t.Error("Reader.Net gives another net")
			}
			if n := strings.Count(log.String(), path+": "); n != len(notes) {
				t.Errorf("%d lines logged, want %d:\n%s", n, len(notes), log.String())
			}
			if _, src, err := ReadNetPos(path); err != nil || len(src.Notes) != len(notes) {
				t.Errorf("ReadNetPos: %v, notes %v", err, src)
			}
			if c.name != "v2" { // whose BatchNorm is noted each time, as by Caffe
				if notes, err := UpgradeNet(np); err != nil || len(notes) > 0 {
					t.Errorf("upgrading again: %v %v", notes, err)
				}
			}
		})
	}
}

// TestUpgradeTypes: every V1 and V0 type upgrades to a type.
func TestUpgradeTypes(t *testing.T) {
	for n, name := range caffepb.V1LayerParameter_LayerType_name {
		np := &caffepb.NetParameter{Layers: []*caffepb.V1LayerParameter{{Type: caffepb.V1LayerParameter_LayerType(n).Enum()}}}
		if _, err := UpgradeNet(np); err != nil {
			t.Error(err)
			continue
		}
		// The two spellings differ in case and underscores, and SOFTMAX_LOSS.
		got := strings.ToUpper(np.Layer[0].GetType())
		want := strings.ReplaceAll(name, "_", "")
		switch name {
		case "NONE":
			want = ""
		case "SOFTMAX_LOSS":
			want = "SOFTMAXWITHLOSS"
		}
		if got != want {
			t.Errorf("%s became %q", name, np.Layer[0].GetType())
		}
	}
	for name, v1 := range v0Types {
		np := &caffepb.NetParameter{Layers: []*caffepb.V1LayerParameter{{Layer: &caffepb.V0LayerParameter{Type: proto.String(name)}}}}
		if _, err := UpgradeNet(np); err != nil {
			t.Error(err)
		} else if got := np.Layer[0].GetType(); got != v1Types[v1] {
			t.Errorf("%s became %q, want %q", name, got, v1Types[v1])
		}
	}
}

// TestV0Moves: the table names fields that exist, with types that fit, and all
// fields of V0 that Caffe carries over.
func TestV0Moves(t *testing.T) {
	fields := (&caffepb.V0LayerParameter{}).ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		for layerType := range v0Moves[fd.Name()] {
			v0 := &caffepb.V0LayerParameter{}
			r := v0.ProtoReflect()
			if fd.IsList() {
				r.Mutable(fd).List().Append(r.Mutable(fd).List().NewElement())
			} else {
				r.Set(fd, r.NewField(fd))
			}
			v0.Type = proto.String("relu")
			if layerType != anyType {
				v0.Type = proto.String(layerType)
			}
			np := &caffepb.NetParameter{Layers: []*caffepb.V1LayerParameter{{Layer: v0}}}
			notes, err := UpgradeNet(np)
			if err != nil || !notes.OK() {
				t.Errorf("%s of %s: %v %v", fd.Name(), layerType, notes, err)
			}
		}
		if len(v0Moves[fd.Name()]) == 0 && fd.Name() != "type" && fd.Name() != "new_num" && fd.Name() != "new_channels" {
			t.Errorf("nothing is known about %s", fd.Name())
		}
	}
}

func TestUpgradeNetErrors(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"layer{} layers{}", `old and new fields are mixed: the net has both "layer" and "layers"`},
		{"layer{} layers{layer{}}", `old and new fields are mixed`},
		{"layers{layer{name:'a' type:'bogus'}}", `layer "a" has the unknown V0 type "bogus"`},
		{"layers{bottom:'x' layer{name:'a' type:'conv'}}", `layer 0 ("a") reads the blob "x", which no layer before it makes`},
		{"layers{top:'p' bottom:'x' layer{name:'p' type:'padding'}}", `layer 0 ("p") reads the blob "x"`},
		{"input:'x' layers{bottom:'x' top:'p' layer{name:'p' type:'padding'}} layers{bottom:'p' layer{name:'r' type:'relu'}}", `the padding layer "p" is read by "r" of type "relu"`},
		{"input:'x' layers{bottom:'x' top:'p' top:'q' layer{name:'p' type:'padding'}} layers{bottom:'p' layer{name:'c' type:'conv'}}", `"p" and the layer "c" must have one bottom`},
		{"input:'x' layers{top:'p' layer{name:'p' type:'padding'}} layers{bottom:'p' layer{name:'c' type:'conv'}}", `"p" and the layer "c" must have one bottom`},
		{"input:'a' input:'b' input_dim:[1,2,3,4]", `the input "b" has no shape`},
		{"input:'a' input:'b' input_shape{dim:1}", `the input "b" has no shape`},
		{"input:'a' input_dim:[1,2,3]", `the input "a" has no shape`},
	} {
		t.Run(c.in, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "net.prototxt")
			if err := os.WriteFile(path, []byte(c.in), 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := ReadNet(path)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), path) {
				t.Errorf("got %v, want %s: …%s", err, path, c.want)
			}
			if strings.Contains(c.want, "mixed") && !errors.Is(err, ErrInconsistent) {
				t.Error("no ErrInconsistent")
			}
		})
	}
	np := &caffepb.NetParameter{Layers: []*caffepb.V1LayerParameter{{Type: caffepb.V1LayerParameter_LayerType(999).Enum()}}}
	if _, err := UpgradeNet(np); err == nil || !strings.Contains(err.Error(), "unknown V1 type 999") {
		t.Errorf("a type of a later version: %v", err)
	}
}

// TestUpgradeInputs: an old weight file names inputs without shapes; too many
// shapes are said.
func TestUpgradeInputs(t *testing.T) {
	np := &caffepb.NetParameter{Input: []string{"data"}, Layer: []*caffepb.LayerParameter{{Name: proto.String("a")}}}
	if notes, err := UpgradeNet(np); err != nil || !notes.OK() || len(np.Layer) != 1 || len(np.Input) != 0 {
		t.Errorf("%v %v %v", np, notes, err)
	}
	np = &caffepb.NetParameter{Input: []string{"a"}, InputDim: []int32{1, 2, 3, 4, 5}}
	notes, err := UpgradeNet(np)
	if err != nil || len(notes) != 2 || notes[0].Level != slog.LevelWarn {
		t.Errorf("%v %v", notes, err)
	}
	if got := np.Layer[0].InputParam.Shape; len(got) != 1 || len(got[0].Dim) != 4 {
		t.Errorf("shapes %v", got)
	}
}

func TestUpgradeSolver(t *testing.T) {
	for _, c := range []struct{ in, want, err string }{
		{"solver_type: NESTEROV", "type: \"Nesterov\"\n", ""},
		{"solver_type: 0 base_lr: 1", "base_lr: 1\ntype: \"SGD\"\n", ""},
		{"solver_type: ADAM", "type: \"Adam\"\n", ""},
		{"solver_type: ADAGRAD", "type: \"AdaGrad\"\n", ""},
		{"solver_type: RMSPROP", "type: \"RMSProp\"\n", ""},
		{"solver_type: ADADELTA", "type: \"AdaDelta\"\n", ""},
		{"type: 'Adam'", "type: \"Adam\"\n", ""},
		{"max_iter: 1", "max_iter: 1\n", ""},
		{"solver_type: ADAM type: 'SGD'", "", `both the old solver_type and type are given; keep type: "SGD"`},
		{"max_itr: 1", "", `:1:1: SolverParameter has no field "max_itr" (did you mean max_iter?)`},
	} {
		t.Run(c.in, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "solver.prototxt")
			if err := os.WriteFile(path, []byte(c.in), 0o644); err != nil {
				t.Fatal(err)
			}
			sp, err := ReadSolver(path)
			switch {
			case c.err != "":
				if err == nil || !strings.Contains(err.Error(), c.err) || !strings.Contains(err.Error(), path) {
					t.Errorf("got %v", err)
				}
			case err != nil:
				t.Error(err)
			case string(MarshalText(sp)) != c.want:
				t.Errorf("got %s", MarshalText(sp))
			}
		})
	}
	if _, err := ReadSolver("none/solver.prototxt"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}
