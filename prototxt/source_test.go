package prototxt

import (
	"os"
	"path/filepath"
	"testing"
)

func TestReadSolverPos(t *testing.T) {
	name := filepath.Join(t.TempDir(), "solver.prototxt")
	text := "base_lr: 0.1\nsolver_type: ADAM\nstepvalue: 5 stepvalue: 9\nnet_param {\n  layer { name: \"a\" }\n}\n"
	if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	sp, src, err := ReadSolverPos(name)
	if err != nil {
		t.Fatal(err)
	}
	if sp.GetType() != "Adam" || sp.SolverType != nil {
		t.Errorf("not upgraded: type %q", sp.GetType())
	}
	for _, c := range []struct {
		path, want string
		has        bool
	}{
		{"base_lr", ":1:1", true},
		{"stepvalue[1]", ":3:14", true},
		{"stepvalue", ":3:1", false},
		{"net_param.layer[0].name", ":5:11", true},
		{"net_param.layer[0].type", ":5:3", false},
		{"net_param.layer[1]", ":4:1", false},
		{"gamma", "", false},
	} {
		if got := src.At(c.path); got != name+c.want {
			t.Errorf("At(%s) = %s, want %s", c.path, got, name+c.want)
		}
		if got := src.Has(c.path); got != c.has {
			t.Errorf("Has(%s) = %v", c.path, got)
		}
	}
	if _, _, err := ReadSolverPos(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a missing file is no error")
	}
}
