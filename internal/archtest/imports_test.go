// Package archtest checks that imports between crema's packages go down only.
package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// allowed lists for each package of crema the others it may import, beside
// those that everyone may (everywhere). A new package must be entered here.
var allowed = map[string][]string{
	"asm":                 {"internal/cpu"},
	"gemm":                {"asm", "internal/cpu"},
	"conv":                {"gemm", "asm"},
	"prototxt":            {"prototxt/caffepb"},
	"prototxt/caffepb":    {},
	"lmdb":                {},
	"hdf5":                {},
	"lmdb/lmdbgo":         {"lmdb"},
	"data":                {"data/leveldb", "hdf5", "prototxt", "prototxt/caffepb", "lmdb", "tensor"},
	"data/leveldb":        {},
	"data/synth":          {"data", "hdf5", "prototxt", "prototxt/caffepb", "lmdb"},
	"layers":              {"internal/pylayer", "hdf5", "conv", "gemm", "asm", "data", "prototxt", "prototxt/caffepb", "tensor"},
	"graph":               {"hdf5", "layers", "prototxt", "prototxt/caffepb", "tensor", "asm"},
	"solver":              {"hdf5", "graph", "layers", "prototxt", "prototxt/caffepb", "tensor", "asm"},
	"netinfo":             {"graph", "hdf5", "data", "prototxt", "prototxt/caffepb", "tensor"},
	"npy":                 {},
	"features":            {"data", "hdf5", "npy", "prototxt/caffepb", "tensor"},
	"infer":               {"npy", "graph", "data", "prototxt/caffepb", "tensor"},
	"trainlog":            {"plot"},
	"netdraw":             {"internal/sans", "netinfo", "tensor"},
	"doctor":              {"solver", "netinfo", "graph", "layers", "gemm", "data", "lmdb", "data/leveldb", "plot", "prototxt", "prototxt/caffepb", "tensor"},
	"plot":                {"internal/sans"},
	"watch":               {"solver", "graph", "layers", "plot", "watch/tfevents", "prototxt", "prototxt/caffepb", "tensor"},
	"watch/tfevents":      {},
	"watch/web":           {"watch", "plot", "prototxt", "prototxt/caffepb"},
	"models":              {},
	"bench":               {},
	"cmd/crema":           {"doctor", "netinfo", "netdraw", "trainlog", "infer", "features", "watch", "watch/web", "plot", "solver", "graph", "layers", "conv", "gemm", "asm", "data", "data/synth", "lmdb", "prototxt", "prototxt/caffepb", "models", "tensor", "internal/cpu"},
	"internal/archtest":   {},
	"internal/atomicfile": {},
	"internal/cpu":        {},
	"internal/glog":       {},
	"internal/hugepage":   {},
	"internal/infile":     {},
	"internal/par":        {},
	"internal/pylayer":    {"tensor"},
	"internal/pytest":     {"internal/pylayer"},
	"internal/race":       {},
	"internal/rng":        {},
	"internal/memory":     {},
	"internal/sans":       {},
	"internal/seal":       {},
	"internal/summary":    {},
	"tensor":              {},
	"internal/kerneltest": {"asm"},
	"internal/ref":        {},
}

// everywhere may be imported by every package but those of testsOnly.
var everywhere = []string{"internal/par", "internal/rng", "internal/glog", "internal/atomicfile", "internal/memory", "internal/seal", "internal/infile", "internal/race", "internal/hugepage", "internal/summary"}

// testsOnly must not be imported by what users link.
var testsOnly = []string{"internal/pytest", "internal/ref", "internal/kerneltest", "cmd/crema", "bench"}

type pkg struct {
	ImportPath string
	Imports    []string
}

// list returns the packages of the module that build with the given flags.
func list(t *testing.T, flags ...string) []pkg {
	t.Helper()
	cmd := exec.Command("go", append(append([]string{"list", "-e", "-json=ImportPath,Imports"}, flags...), "crema/...")...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var ps []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		ps = append(ps, p)
	}
	return ps
}

func TestImports(t *testing.T) {
	for _, flags := range [][]string{nil, {"-tags=noasm"}, {"-tags=lmdbgo"}} {
		for _, p := range list(t, flags...) {
			name := strings.TrimPrefix(p.ImportPath, "crema/")
			ok, known := allowed[name]
			if !known {
				t.Errorf("package %s is not in the list of allowed imports", name)
				continue
			}
			for _, imp := range p.Imports {
				imp, ours := strings.CutPrefix(imp, "crema/")
				if !ours || slices.Contains(ok, imp) || slices.Contains(everywhere, imp) {
					continue
				}
				t.Errorf("%s imports %s (flags %v)", name, imp, flags)
			}
		}
	}
}

// TestTestsOnly checks the table itself: nothing that users link may be
// allowed a package meant for tests.
func TestTestsOnly(t *testing.T) {
	for name, imps := range allowed {
		for _, imp := range imps {
			if slices.Contains(testsOnly, imp) && !slices.Contains(testsOnly, name) {
				t.Errorf("%s is allowed %s", name, imp)
			}
		}
	}
}

// TestNoAvo checks that the module users require does not require the
// assembly generator.
func TestNoAvo(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "all").Output()
	if err != nil {
		t.Fatalf("go list -m all: %v", err)
	}
	if strings.Contains(string(out), "mmcloughlin/avo") {
		t.Error("go.mod requires avo")
	}
}
