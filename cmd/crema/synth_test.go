package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"crema/data"
	"crema/prototxt"
	"crema/prototxt/caffepb"
)

// countRecords reads a database and returns how many records it has and the
// shape of the first.
func countRecords(t *testing.T, path string) (n int, shape [3]int) {
	t.Helper()
	db, err := data.OpenDB(path, data.LMDB)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	cur := db.Cursor()
	defer cur.Close()
	for _, v, err := cur.First(); err == nil; _, v, err = cur.Next() {
		var im data.Image
		if _, err := data.DecodeDatum(v, data.Native, &im); err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			shape = [3]int{im.C, im.H, im.W}
		}
		n++
	}
	return n, shape
}

func TestSynth(t *testing.T) {
	for _, tc := range []struct {
		name                 string
		args                 []string
		train, test          int
		shape                [3]int
		trainDB, testDB      string
		mean, classes, class string // class: the last line of the classes file
	}{
		{"plain", []string{"-shape", "3x32x40", "-classes", "30", "-count", "64"}, 64, 6, [3]int{3, 32, 40},
			"train_lmdb", "test_lmdb", "mean.binaryproto", "classes.txt", "F on rows"},
		{"one image", []string{"--shape=1x8x8", "--classes=1", "--count=1"}, 1, 1, [3]int{1, 8, 8},
			"train_lmdb", "test_lmdb", "mean.binaryproto", "classes.txt", "A"},
		{"ilsvrc12", []string{"-shape", "3x16x16", "-count", "20", "-test-count", "30", "-layout", "ilsvrc12", "-encoded", "-encode_type", "png"},
			20, 30, [3]int{3, 16, 16},
			"imagenet/ilsvrc12_train_lmdb", "imagenet/ilsvrc12_val_lmdb", "imagenet/ilsvrc12/imagenet_mean.binaryproto", "imagenet/ilsvrc12/classes.txt", "TF on rows"},
		{"jpeg", []string{"-shape", "3x16x16", "-classes", "4", "-count", "12", "-encoded"}, 12, 1, [3]int{3, 16, 16},
			"train_lmdb", "test_lmdb", "mean.binaryproto", "classes.txt", "D"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "new", "folder")
			r := mustCrema(t, append([]string{"synth", "-output", dir}, tc.args...)...)
			if !strings.Contains(r.out, filepath.Join(dir, tc.trainDB)) {
				t.Errorf("output does not name the database: %q", r.out)
			}
			for db, want := range map[string]int{tc.trainDB: tc.train, tc.testDB: tc.test} {
				if n, shape := countRecords(t, filepath.Join(dir, db)); n != want || shape != tc.shape {
					t.Errorf("%s: %d records %v, want %d %v", db, n, shape, want, tc.shape)
				}
			}
			var mean caffepb.BlobProto
			if err := prototxt.ReadBinary(filepath.Join(dir, tc.mean), &mean); err != nil {
				t.Fatal(err)
			}
			if got := [3]int{int(mean.GetChannels()), int(mean.GetHeight()), int(mean.GetWidth())}; got != tc.shape {
				t.Errorf("mean is %v, want %v", got, tc.shape)
			}
			names, err := os.ReadFile(filepath.Join(dir, tc.classes))
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(strings.TrimSpace(string(names)), "\n")
			if last := lines[len(lines)-1]; last != tc.class {
				t.Errorf("the last of %d classes is %q, want %q", len(lines), last, tc.class)
			}
			// Once more: nothing may be overwritten.
			if r := crema(append([]string{"synth", "-output", dir}, tc.args...)...); r.status != 1 || !strings.Contains(r.lastLine(), "exists already") {
				t.Errorf("over an existing set: status %d, %s", r.status, r.lastLine())
			}
		})
	}
}

func TestSynthUsage(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "set")
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"-count", "5"}, "-output"},
		{[]string{"-output", dir}, "-count=0"},
		{[]string{"-output", dir, "-count", "-3"}, "-count=-3"},
		{[]string{"-output", dir, "-count", "5", "-test-count", "-1"}, "-test-count=-1"},
		{[]string{"-output", dir, "-count", "5", "-shape", "3x32"}, "-shape=3x32"},
		{[]string{"-output", dir, "-count", "5", "-shape", "3x32xy"}, `"y"`},
		{[]string{"-output", dir, "-count", "5", "-shape", "4x32x32"}, "channels"},
		{[]string{"-output", dir, "-count", "5", "-shape", "3x4x32"}, "height and width"},
		{[]string{"-output", dir, "-count", "5", "-classes", "0"}, "0 classes"},
		{[]string{"-output", dir, "-count", "5", "-layout", "flat"}, "-layout=flat"},
		{[]string{"-output", dir, "-count", "5", "-encoded", "-encode_type", "gif"}, "gif"},
		{[]string{"-output", dir, "-count", "5", "more"}, `"more"`},
		{[]string{"-output", dir, "-count", "five"}, "five"},
		{[]string{"-output", dir, "-count", "5", "-colour"}, "-colour"},
	} {
		r := crema(append([]string{"synth"}, tc.args...)...)
		if r.status != 2 || !strings.Contains(r.lastLine(), tc.want) {
			t.Errorf("%v: status %d, %q; want 2 and %q", tc.args, r.status, r.lastLine(), tc.want)
		}
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("a call that was refused made a folder")
	}
}
