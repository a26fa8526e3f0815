package layers

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"crema/prototxt/caffepb"
)

var _ dataLayer = (*WindowData)(nil)

// windowsData reads the windows of windowDir, of class 4 and 5 and of the
// background.
const windowsData = `name: "data" type: "WindowData" top: "data" top: "label"
	transform_param { crop_size: 8 mirror: true mean_value: 104 mean_value: 117 mean_value: 123 %s }
	data_param { prefetch: 3 } window_data_param { source: "windows.txt" %s }`

// windowDir has the pictures of a recorded case and some more windows.
func windowDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../testdata/golden/layers/windowdata_cache")); err != nil {
		t.Fatal(err)
	}
	const list = "# 0\nimg_0.png\n3\n24\n30\n4\n4 0.8 3 2 10 9\n2 0.45 0 0 9 9\n5 1 20 10 29 23\n4 0.1 2 2 3 23\n" +
		"# 1\nimg_1.png\n3\n20\n17\n3\n5 0.2 0 1 7 8\n2 0.3 0 0 9 9\n4 0.6 8 8 16 19\n"
	if err := os.WriteFile(filepath.Join(dir, "windows.txt"), []byte(list), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestWindowDataResume: batches depend on seed and phase, not on caching, and a
// run that is stopped and resumed gives the same ones.
func TestWindowDataResume(t *testing.T) {
	dir := windowDir(t)
	text := fmt.Sprintf(windowsData, "", "batch_size: 5 fg_fraction: 0.4 context_pad: 1")
	run := func(text string, phase caffepb.Phase, seed uint64) [][]float32 {
		l, top := mustOpenData(t, text, phase, seed, dir)
		if want := []int{5, 3, 8, 8}; !slices.Equal(top[0].Shape(), want) || !slices.Equal(top[1].Shape(), want[:1]) {
			t.Fatalf("tops are %v and %v", top[0].Shape(), top[1].Shape())
		}
		return forwards(t, l, top, 8)
	}
	same := func(a, b [][]float32) bool {
		return slices.EqualFunc(a, b, func(x, y []float32) bool { return slices.Equal(x, y) })
	}
	want := run(text, caffepb.Phase_TRAIN, 1)
	for _, b := range want {
		labels := b[len(b)-5:]
		if labels[0] != 0 || labels[1] != 0 || labels[2] != 0 || labels[3] < 4 || labels[4] < 4 {
			t.Errorf("labels %v, want three of background, then classes 4 or 5", labels)
		}
	}
	cached := fmt.Sprintf(windowsData, "", "batch_size: 5 fg_fraction: 0.4 context_pad: 1 cache_images: true")
	if !same(want, run(cached, caffepb.Phase_TRAIN, 1)) {
		t.Error("batches depend on cache_images")
	}
	if same(want, run(text, caffepb.Phase_TRAIN, 2)) {
		t.Error("batches do not depend on the seed")
	}
	if same(want, run(text, caffepb.Phase_TEST, 1)) {
		t.Error("batches do not depend on the phase")
	}
	for at := range 8 {
		a, top := mustOpenData(t, text, caffepb.Phase_TRAIN, 1, dir)
		forwards(t, a, top, at)
		c := a.Cursor()
		if c.GetForwards() != uint64(at) || c.GetRecords() != uint64(5*at) {
			t.Errorf("cursor after %d batches: %v", at, c)
		}
		b, top := mustOpenData(t, text, caffepb.Phase_TRAIN, 1, dir)
		if err := b.SetCursor(c); err != nil {
			t.Fatal(err)
		}
		if !same(forwards(t, b, top, 8-at), want[at:]) {
			t.Errorf("batches differ after a resume at %d", at)
		}
	}
}

func TestWindowDataLog(t *testing.T) {
	_, _, log, err := openData(t, fmt.Sprintf(windowsData, "scale: 2 force_gray: true", `batch_size: 5 crop_mode: "sqare" crop_size: 9 mirror: true mean_file: "m"`),
		caffepb.Phase_TRAIN, 1, windowDir(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"num: 0 img_0.png 3 24 30 windows to process: 4", "Number of images: 2", "class 0 has 4 samples", "class 4 has 2 samples",
		"class 5 has 1 samples", "Amount of context padding: 0", "output data size: 5,3,8,8",
		"does not use transform_param.scale", "does not use transform_param.force_gray", "does not use window_data_param.crop_size",
		"does not use window_data_param.mirror", "does not use window_data_param.mean_file", "unknown crop_mode",
	} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %q in the log:\n%s", want, log)
		}
	}
}

func TestWindowDataErrors(t *testing.T) {
	dir := windowDir(t)
	if err := os.WriteFile(filepath.Join(dir, "wide.txt"), []byte("# 0\nimg_0.png\n3\n24\n30\n1\n0 0 3 2 30 9\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "lost.txt"), []byte("# 0\nlost.png\n3\n24\n30\n1\n0 0 3 2 10 9\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	mean, err := os.ReadFile("../testdata/golden/layers/windowdata_pad/mean.binaryproto")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "mean.binaryproto"), mean, 0o644); err != nil {
		t.Fatal(err)
	}
	const head = `type: "WindowData" top: "d" top: "l" `
	for _, c := range []struct{ name, text, want string }{
		{"no crop_size", head + `window_data_param { source: "windows.txt" batch_size: 1 crop_size: 8 }`, "transform_param.crop_size must be set"},
		{"no batch_size", head + `transform_param { crop_size: 8 } window_data_param { source: "windows.txt" }`, "batch_size"},
		{"no source", head + `transform_param { crop_size: 8 } window_data_param { batch_size: 1 }`, "source is not set"},
		{"no file", head + `transform_param { crop_size: 8 } window_data_param { batch_size: 1 source: "none.txt" }`, "none.txt"},
		{"not a window file", head + `transform_param { crop_size: 8 } window_data_param { batch_size: 1 source: "net.prototxt" }`, "net.prototxt:1:"},
		{"context", head + `transform_param { crop_size: 8 } window_data_param { batch_size: 1 source: "windows.txt" context_pad: 4 }`, "context_pad 4"},
		{"values", head + `transform_param { crop_size: 8 mean_value: 1 mean_value: 2 } window_data_param { batch_size: 1 source: "windows.txt" }`, "2 mean_value"},
		{"mean", head + `transform_param { crop_size: 41 mean_file: "mean.binaryproto" } window_data_param { batch_size: 1 source: "windows.txt" }`, "too small for crop_size 41"},
		{"no foreground", head + `transform_param { crop_size: 8 } window_data_param { batch_size: 4 source: "windows.txt" fg_threshold: 2 bg_threshold: 2 }`, "no foreground windows"},
		{"cached file lost", head + `transform_param { crop_size: 8 } window_data_param { batch_size: 1 source: "lost.txt" cache_images: true fg_fraction: 0 }`, "lost.png"},
		{"file lost", head + `transform_param { crop_size: 8 } window_data_param { batch_size: 1 source: "lost.txt" fg_fraction: 0 }`, `lost.txt:7: "`},
		{"outside", head + `transform_param { crop_size: 8 } window_data_param { batch_size: 1 source: "wide.txt" fg_fraction: 0 }`, `wide.txt:7": the window from column 3, row 2 to 30, 9 reaches outside its picture of 30×24`},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, top, _, err := openData(t, c.text, caffepb.Phase_TRAIN, 1, dir)
			if err == nil {
				err = l.Forward(nil, top)
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}
