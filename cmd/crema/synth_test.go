package main

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"crema/data"
	"crema/prototxt"
	"crema/prototxt/caffepb"
)

// eachImage decodes all records of a database.
func eachImage(t *testing.T, path string, f func(im *data.Image)) {
	t.Helper()
	db, err := data.OpenDB(path, data.LMDB)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	cur := db.Cursor()
	defer cur.Close()
	var im data.Image
	for _, v, err := cur.First(); err == nil; _, v, err = cur.Next() {
		if _, err := data.DecodeDatum(v, data.Native, &im); err != nil {
			t.Fatal(err)
		}
		f(&im)
	}
}

// countRecords returns how many records a database has and the shape of the
// first.
func countRecords(t *testing.T, path string) (n int, shape [3]int) {
	t.Helper()
	eachImage(t, path, func(im *data.Image) {
		if n == 0 {
			shape = [3]int{im.C, im.H, im.W}
		}
		n++
	})
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

// TestSynthTasks draws for every task what can be seen from outside: all files
// that are named are there, and what they hold.
func TestSynthTasks(t *testing.T) {
	type shape = [3]int
	for _, tc := range []struct {
		args  []string
		dbs   map[string]shape
		files []string // beside the databases
		say   []string
	}{
		{[]string{"-task=digits", "-test-count=7"},
			map[string]shape{"train_lmdb": {1, 28, 28}, "test_lmdb": {1, 28, 28}}, []string{"mean.binaryproto", "classes.txt"}, []string{"30 training and 7 test images 1x28x28 of 10 classes"}},
		{[]string{"-task=digits", "-shape=3x32x32", "-test-count=7", "-encoded"},
			map[string]shape{"train_lmdb": {3, 32, 32}, "test_lmdb": {3, 32, 32}}, []string{"mean.binaryproto", "classes.txt"}, nil},
		{[]string{"-task=pairs", "-test-count=7"},
			map[string]shape{"train_lmdb": {2, 28, 28}, "test_lmdb": {2, 28, 28}}, nil, []string{"30 training and 7 test pairs of images 1x28x28"}},
		{[]string{"-task=segmentation", "-test-count=7"},
			map[string]shape{"train_lmdb": {3, 64, 64}, "train_label_lmdb": {1, 64, 64}, "test_lmdb": {3, 64, 64}, "test_label_lmdb": {1, 64, 64}},
			[]string{"classes.txt"}, []string{"label images of 7 classes", "label 255"}},
		{[]string{"-task=segmentation", "-shape=3x40x32", "-classes=3", "-test-count=7", "-encoded"},
			map[string]shape{"train_lmdb": {3, 40, 32}, "train_label_lmdb": {1, 40, 32}, "test_lmdb": {3, 40, 32}, "test_label_lmdb": {1, 40, 32}},
			[]string{"classes.txt"}, []string{"label images of 3 classes"}},
		{[]string{"-task=text", "-streams=4", "-test-count=700"}, nil,
			[]string{"train.h5", "train.txt", "test.h5", "test.txt", "classes.txt"}, []string{"30 training and 700 test characters in 4 streams", "A sentence: ", "nats per character"}},
	} {
		t.Run(strings.Join(tc.args, " "), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "set")
			r := mustCrema(t, append([]string{"synth", "-output", dir, "-count=30"}, tc.args...)...)
			for db, want := range tc.dbs {
				count := 30
				if strings.HasPrefix(db, "test") {
					count = 7
				}
				if n, shape := countRecords(t, filepath.Join(dir, db)); n != count || shape != want {
					t.Errorf("%s: %d records %v, want %d %v", db, n, shape, count, want)
				}
				tc.files = append(tc.files, db)
			}
			for _, f := range tc.files {
				if _, err := os.Stat(filepath.Join(dir, f)); err != nil {
					t.Error(err)
				}
				if !strings.Contains(r.out, filepath.Join(dir, f)) {
					t.Errorf("output does not name %s: %q", f, r.out)
				}
			}
			if all, err := os.ReadDir(dir); err != nil || len(all) != len(tc.files) {
				t.Errorf("%d files, want %d, %v", len(all), len(tc.files), err)
			}
			for _, want := range tc.say {
				if !strings.Contains(r.out, want) {
					t.Errorf("output lacks %q: %q", want, r.out)
				}
			}
		})
	}
}

// TestLabelImagesStayExact: -encoded stores pictures as JPEG, but not labels.
func TestLabelImagesStayExact(t *testing.T) {
	read := func(args ...string) (labels [][]byte) {
		dir := filepath.Join(t.TempDir(), "set")
		mustCrema(t, append([]string{"synth", "-output", dir, "-count=5", "-task=segmentation"}, args...)...)
		eachImage(t, filepath.Join(dir, "train_label_lmdb"), func(im *data.Image) {
			labels = append(labels, slices.Clone(im.Pix))
		})
		return labels
	}
	if raw, jpeg := read(), read("-encoded"); len(raw) != 5 || !reflect.DeepEqual(raw, jpeg) {
		t.Errorf("%d raw label images, %d beside JPEG, not the same", len(raw), len(jpeg))
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
		{[]string{"-output", dir, "-count", "5", "-task", "detect"}, "-task=detect: must be one of classify, digits, pairs, segmentation, text"},
		{[]string{"-output", dir, "-count", "5", "-task", "digits", "-classes", "10"}, "-classes has no meaning for -task=digits"},
		{[]string{"-output", dir, "-count", "5", "-task", "pairs", "-encoded"}, "-encoded has no meaning for -task=pairs"},
		{[]string{"-output", dir, "-count", "5", "-task", "segmentation", "-layout", "ilsvrc12"}, "-layout has no meaning for -task=segmentation"},
		{[]string{"-output", dir, "-count", "5", "-task", "segmentation", "-classes", "8"}, "8 classes of pixels, must be 2 to 7"},
		{[]string{"-output", dir, "-count", "5", "-task", "segmentation", "-classes", "0"}, "0 classes of pixels"},
		{[]string{"-output", dir, "-count", "5", "-task", "text", "-shape", "1x28x28"}, "-shape has no meaning for -task=text"},
		{[]string{"-output", dir, "-count", "5", "-task", "text", "-streams", "0"}, "-streams=0"},
		{[]string{"-output", dir, "-count", "5", "-task", "text", "-streams", "1000000000"}, "must be 1 to 65536"},
		{[]string{"-output", dir, "-count", "5", "-streams", "4"}, "-streams has no meaning for -task=classify"},
		{[]string{"-output", dir, "-count", "5", "-task", "pairs", "-shape", "2x28x28"}, "channels"},
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
