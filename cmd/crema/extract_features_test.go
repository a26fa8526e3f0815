package main

import (
	"io"
	"path/filepath"
	"strings"
	"testing"

	"crema/data"
	"crema/prototxt/caffepb"

	"google.golang.org/protobuf/proto"
)

// records reads a database of Datums.
func records(t *testing.T, path string) (keys []string, all []*caffepb.Datum) {
	t.Helper()
	db, err := data.OpenDB(path, data.LMDB)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	cur := db.Cursor()
	defer cur.Close()
	for key, value, err := cur.First(); err != io.EOF; key, value, err = cur.Next() {
		if err != nil {
			t.Fatal(err)
		}
		d := &caffepb.Datum{}
		if err := proto.Unmarshal(value, d); err != nil {
			t.Fatal(err)
		}
		keys, all = append(keys, string(key)), append(all, d)
	}
	return keys, all
}

// TestExtractFeatures compares with the databases that Caffe's extract_features
// wrote, by its own command.
func TestExtractFeatures(t *testing.T) {
	root := golden(t)
	t.Chdir(root)
	args := strings.Fields(readFile(t, filepath.Join(root, "tools", "extract_features", "command.txt")))
	if len(args) != 8 || args[0] != "extract_features" {
		t.Fatalf("the recorded command is %q", args)
	}
	dir := t.TempDir()
	wants := strings.Split(args[4], ",")
	var outs []string
	for _, w := range wants {
		outs = append(outs, filepath.Join(dir, filepath.Base(w)))
	}
	args[4] = strings.Join(outs, ",")
	r := mustCrema(t, args...)
	for _, line := range []string{"Extracted features of 63 query images for feature blob pool1", "Successfully extracted the features!"} {
		if !strings.Contains(r.err, line) {
			t.Errorf("the log lacks %q", line)
		}
	}
	for i, w := range wants {
		wantKeys, want := records(t, filepath.Join(root, w))
		gotKeys, got := records(t, outs[i])
		if len(want) != 63 || len(got) != len(want) {
			t.Fatalf("%s: %d records, want %d", w, len(got), len(want))
		}
		for k := range want {
			if gotKeys[k] != wantKeys[k] {
				t.Fatalf("%s: key %q, want %q", w, gotKeys[k], wantKeys[k])
			}
			g, x := got[k].FloatData, want[k].FloatData
			if e := maxErr(g, x); !(e <= 1e-5) {
				t.Errorf("%s, record %d: off by %.2g", w, k, e)
			}
			got[k].FloatData, want[k].FloatData = nil, nil
			if !proto.Equal(got[k], want[k]) {
				t.Errorf("%s, record %d: %v, want %v", w, k, got[k], want[k])
			}
		}
	}
	// The same with flags, and in files.
	npy := filepath.Join(dir, "fc.npy")
	mustCrema(t, "extract_features", "--weights", args[1], "--model="+args[2], "fc", npy, "1", "NPY")
	if !exists(npy) {
		t.Error("no array was written")
	}
}

func TestExtractFeaturesErrors(t *testing.T) {
	t.Chdir(golden(t))
	dir := t.TempDir()
	const weights, model = "tools/extract_features/weights.caffemodel", "tools/extract_features/net.prototxt"
	out := filepath.Join(dir, "out")
	for _, c := range []struct {
		name   string
		args   []string
		status int
		words  []string
	}{
		{"too few", []string{weights, model, "fc", out}, 2, []string{"WEIGHTS MODEL BLOBS"}},
		{"too many", []string{weights, model, "fc", out, "1", "lmdb", "now"}, 2, []string{"WEIGHTS MODEL BLOBS"}},
		{"batches", []string{weights, model, "fc", out, "some", "lmdb"}, 2, []string{`"some"`}},
		{"type", []string{weights, model, "fc", out, "1", "csv"}, 2, []string{`"csv"`, "hdf5"}},
		{"unknown blob", []string{weights, model, "fc,fd", out + "," + out + "2", "1", "lmdb"}, 1, []string{model, `"fd"`, "pool1"}},
		{"fewer outputs", []string{weights, model, "fc,pool1", out, "1", "lmdb"}, 1, []string{"2 blobs for 1 outputs"}},
		{"missing weights", []string{"none.caffemodel", model, "fc", out, "1", "lmdb"}, 1, []string{"none.caffemodel"}},
		{"output that exists", []string{weights, model, "fc", dir, "1", "lmdb"}, 1, []string{dir, "exists"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			wantError(t, crema(append([]string{"extract_features"}, c.args...)...), c.status, c.words...)
			if entries, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(entries) > 0 {
				t.Errorf("left behind: %q (%v)", entries, err)
			}
		})
	}
	// A GPU is asked for in vain.
	if r := mustCrema(t, "extract_features", weights, model, "fc", out, "1", "lmdb", "GPU", "1"); !strings.Contains(r.err, "-gpu=0 is ignored") {
		t.Error("the log does not say that the CPU is used")
	}
}
