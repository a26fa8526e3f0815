package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"crema/prototxt"
	"crema/prototxt/caffepb"
)

// runUpgrade runs the program with in as the contents of the file IN.
func runUpgrade(t *testing.T, tool string, in []byte) (status int, out []byte, log string) {
	t.Helper()
	dir := t.TempDir()
	from, to := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	if err := os.WriteFile(from, in, 0o644); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	status = run([]string{tool, from, to}, stdio{strings.NewReader(""), &stdout, &stderr})
	out, err := os.ReadFile(to)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return status, out, strings.ReplaceAll(stderr.String(), dir+"/", "")
}

func TestUpgradeText(t *testing.T) {
	for _, c := range []struct {
		name, tool, in string
		status         int
		out            string
		log            []string
	}{
		{
			"V1 net", "upgrade_net_proto_text", "layers { name: 'a' type: RELU blobs_lr: 2 }", 0,
			"layer {\n  name: \"a\"\n  type: \"ReLU\"\n  param {\n    lr_mult: 2\n  }\n}\n",
			[]string{"in: Upgraded deprecated V1 layers", "Wrote upgraded NetParameter to out"},
		},
		{
			"current net", "upgrade_net_proto_text", "layer{type:'ReLU'}", 0, "layer {\n  type: \"ReLU\"\n}\n",
			[]string{"File already in latest proto format: in", "Wrote upgraded NetParameter to out"},
		},
		{
			"something lost", "upgrade_net_proto_text", "layers { layer { name: 'a' type: 'relu' group: 2 } }", 1,
			"layer {\n  name: \"a\"\n  type: \"ReLU\"\n}\n",
			[]string{`in: Layer "a": a V0 layer of type "relu" has no parameter group; it is lost`, "crema upgrade_net_proto_text: the upgrade is not complete"},
		},
		{"mixed", "upgrade_net_proto_text", "layer{} layers{}", 1, "", []string{"crema upgrade_net_proto_text: in: old and new fields are mixed"}},
		{"syntax", "upgrade_net_proto_text", "layer{\n nme: 'a'\n", 1, "", []string{"in:2:2: LayerParameter has no field \"nme\" (did you mean name?)", "in:3:1: the file ends"}},
		{
			"solver", "upgrade_solver_proto_text", "base_lr: 0.1 solver_type: ADAM", 0, "base_lr: 0.1\ntype: \"Adam\"\n",
			[]string{`in: Replaced the deprecated solver_type by type: "Adam"`, "Wrote upgraded SolverParameter to out"},
		},
		{"current solver", "upgrade_solver_proto_text", "base_lr: 0.1", 0, "base_lr: 0.1\n", []string{"File already in latest proto format: in"}},
		{"both types", "upgrade_solver_proto_text", "solver_type: ADAM type: 'SGD'", 1, "", []string{"in: old and new fields are mixed"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, out, log := runUpgrade(t, c.tool, []byte(c.in))
			if status != c.status {
				t.Errorf("status %d, want %d", status, c.status)
			}
			if string(out) != c.out {
				t.Errorf("got\n%s\nwant\n%s", out, c.out)
			}
			for _, l := range c.log {
				if !strings.Contains(log, l) {
					t.Errorf("the log lacks %q:\n%s", l, log)
				}
			}
		})
	}
}

func TestUpgradeBinary(t *testing.T) {
	old := &caffepb.NetParameter{Input: []string{"data"}, Layers: []*caffepb.V1LayerParameter{{
		Name: proto.String("ip"), Type: caffepb.V1LayerParameter_INNER_PRODUCT.Enum(), Blobs: []*caffepb.BlobProto{{Data: []float32{1, 2, 3}}},
	}}}
	in, err := proto.Marshal(old)
	if err != nil {
		t.Fatal(err)
	}
	status, out, log := runUpgrade(t, "upgrade_net_proto_binary", in)
	if status != 0 {
		t.Fatalf("status %d\n%s", status, log)
	}
	var np caffepb.NetParameter
	if err := proto.Unmarshal(out, &np); err != nil {
		t.Fatal(err)
	}
	const want = "layer {\n  name: \"ip\"\n  type: \"InnerProduct\"\n  blobs {\n    data: 1\n    data: 2\n    data: 3\n  }\n}\n"
	if got := string(prototxt.MarshalText(&np)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if status, _, log := runUpgrade(t, "upgrade_net_proto_binary", in[:len(in)-1]); status != 1 || !strings.Contains(log, `"in": file is cut short`) {
		t.Errorf("a cut file: status %d\n%s", status, log)
	}
}

func TestUpgradeUsage(t *testing.T) {
	for _, args := range [][]string{{"upgrade_net_proto_text"}, {"upgrade_net_proto_text", "a"}, {"upgrade_solver_proto_text", "a", "b", "c"}, {"upgrade_net_proto_binary", "-bogus", "a", "b"}} {
		var stdout, stderr bytes.Buffer
		if status := run(args, stdio{strings.NewReader(""), &stdout, &stderr}); status != 2 {
			t.Errorf("%q: status %d, want 2\n%s", args, status, stderr.String())
		}
	}
	var stdout, stderr bytes.Buffer
	if status := run([]string{"upgrade_net_proto_text", "--help"}, stdio{strings.NewReader(""), &stdout, &stderr}); status != 0 || !strings.Contains(stdout.String(), "IN OUT") {
		t.Errorf("--help: status %d, %q", status, stdout.String())
	}
}

// TestUpgradeInPlace: IN and OUT may be the same file.
func TestUpgradeInPlace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "net.prototxt")
	if err := os.WriteFile(path, []byte("layers { type: TANH }"), 0o644); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	if status := run([]string{"upgrade_net_proto_text", path, path}, stdio{strings.NewReader(""), &stdout, &stderr}); status != 0 {
		t.Fatalf("status %d\n%s", status, stderr.String())
	}
	b, err := os.ReadFile(path)
	if err != nil || string(b) != "layer {\n  type: \"TanH\"\n}\n" {
		t.Errorf("%v\n%s", err, b)
	}
}

// TestUpgradePipe: "-" is the standard input and output, and what a tool wrote it
// writes again as it is.
func TestUpgradePipe(t *testing.T) {
	v1, err := proto.Marshal(&caffepb.NetParameter{Layers: []*caffepb.V1LayerParameter{{Name: proto.String("ip"), Type: caffepb.V1LayerParameter_RELU.Enum()}}})
	if err != nil {
		t.Fatal(err)
	}
	for tool, in := range map[string]string{
		"upgrade_net_proto_text":    "layers { name: 'a' type: RELU } input: 'x' input_dim: 1 input_dim: 2 input_dim: 3 input_dim: 4",
		"upgrade_net_proto_binary":  string(v1),
		"upgrade_solver_proto_text": "base_lr: 0.1 solver_type: ADAM",
	} {
		pipe := func(in string) (string, string) {
			var stdout, stderr bytes.Buffer
			if status := run([]string{tool, "-", "-"}, stdio{strings.NewReader(in), &stdout, &stderr}); status != 0 {
				t.Fatalf("%s: status %d\n%s", tool, status, stderr.String())
			}
			return stdout.String(), stderr.String()
		}
		once, log := pipe(in)
		if once == "" || once == in || !strings.Contains(log, "standard input: ") || !strings.Contains(log, "to standard output") {
			t.Errorf("%s: wrote %q, log\n%s", tool, once, log)
		}
		twice, log := pipe(once)
		if twice != once || !strings.Contains(log, "File already in latest proto format: standard input") {
			t.Errorf("%s: the second time it wrote\n%s\nand the first time\n%s\nlog\n%s", tool, twice, once, log)
		}
		var stdout, stderr bytes.Buffer
		if status := run([]string{tool, "-", "-"}, stdio{strings.NewReader("what{"), &stdout, &stderr}); status != 1 || stdout.Len() > 0 || !strings.Contains(stderr.String(), "standard input") {
			t.Errorf("%s, bad input: status %d, %q, %s", tool, status, stdout.String(), stderr.String())
		}
	}
}
