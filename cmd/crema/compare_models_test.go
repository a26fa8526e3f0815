package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"crema/graph"
)

func TestCompareModels(t *testing.T) {
	run := golden(t, "runs", "solver", "hdf5_snapshots")
	first, last, other := filepath.Join(run, "init.caffemodel"), filepath.Join(run, "final.caffemodel.h5"), golden(t, "runs", "solver", "sgd_step", "final.caffemodel")
	if r := mustCrema(t, "compare_models", first, first); !strings.Contains(r.out, "4 of 4 parameters that both have are the same\n") {
		t.Errorf("got\n%s", r.out)
	}
	r := crema("compare_models", first, last)
	if r.status != statusDiffer || r.err != "" || !strings.Contains(r.out, "0 of 4 parameters that both have are the same\n") || !strings.Contains(r.out, "20×12  240 of 240") {
		t.Errorf("status %d, %q\n%s", r.status, r.err, r.out)
	}
	if r := mustCrema(t, "compare_models", first, last, "--tolerance=2"); !strings.Contains(r.out, "4 of 4 parameters that both have are the same (within 2)\n") {
		t.Errorf("got\n%s", r.out)
	}
	r = crema("compare_models", first, other)
	if r.status != statusDiffer || !strings.Contains(r.out, "only in "+first+": layer ip1, ip2\n") || !strings.Contains(r.out, "no layer with parameters is in both") {
		t.Errorf("status %d\n%s", r.status, r.out)
	}
	r = crema("compare_models", first, last, "--json")
	var c graph.Comparison
	if err := json.Unmarshal([]byte(r.out), &c); err != nil || len(c.Params) != 4 || c.Params[0].Different != 240 || r.status != statusDiffer {
		t.Errorf("status %d, %v: %+v", r.status, err, c)
	}
	wantError(t, crema("compare_models", first), 2, "two weight files")
	wantError(t, crema("compare_models", first, first, "--tolerance=-1"), 2, "-tolerance=-1")
	wantError(t, crema("compare_models", first, "none.caffemodel"), 1, "none.caffemodel")
}
