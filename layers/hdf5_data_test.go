package layers

import (
	"slices"
	"strings"
	"testing"

	"crema/prototxt/caffepb"
)

var _ dataLayer = (*HDF5Data)(nil)

const h5Rows = `name: "d" type: "HDF5Data" top: "label" top: "data" hdf5_data_param { source: "list.txt" batch_size: 7 shuffle: true }`

// TestHDF5DataResume: a run that is stopped and resumed, or set back, gives the
// same batches; other seeds give others.
func TestHDF5DataResume(t *testing.T) {
	const dir, batches = "../testdata/golden/layers/hdf5data_gzip", 20
	run := func(seed uint64) [][]float32 {
		l, top := mustOpenData(t, h5Rows, caffepb.Phase_TRAIN, seed, dir)
		wantShape(t, "label", top[0], 7)
		wantShape(t, "data", top[1], 7, 2, 3, 4)
		return forwards(t, l, top, batches)
	}
	same := func(a, b [][]float32) bool {
		return slices.EqualFunc(a, b, func(x, y []float32) bool { return slices.Equal(x, y) })
	}
	want := run(1)
	if same(want, run(2)) {
		t.Error("batches do not depend on the seed")
	}
	set, setTop := mustOpenData(t, h5Rows, caffepb.Phase_TRAIN, 1, dir)
	for at := range batches {
		a, top := mustOpenData(t, h5Rows, caffepb.Phase_TRAIN, 1, dir)
		forwards(t, a, top, at)
		c := a.Cursor()
		if c.GetForwards() != uint64(at) || c.GetRecords() != uint64(7*at) {
			t.Errorf("cursor after %d batches: %v", at, c)
		}
		// The batch that was read ahead does not count.
		if err := set.SetCursor(c); err != nil {
			t.Fatal(err)
		}
		if !same(forwards(t, set, setTop, batches-at), want[at:]) {
			t.Errorf("batches differ after a resume at %d", at)
		}
	}
}

// TestHDF5DataAllocates: no memory is taken for a batch as long as no new file
// is opened.
func TestHDF5DataAllocates(t *testing.T) {
	l, top := mustOpenData(t, `name: "d" type: "HDF5Data" top: "data" top: "label" hdf5_data_param { source: "list.txt" batch_size: 2 }`,
		caffepb.Phase_TRAIN, 1, "../testdata/golden/layers/hdf5data_train")
	forwards(t, l, top, 3)
	if n := testing.AllocsPerRun(20, func() {
		if err := l.Forward(nil, top); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%g allocations for each batch", n)
	}
}

func TestHDF5DataErrors(t *testing.T) {
	const dir = "../testdata/golden/layers/hdf5data_one"
	const head = `name: "d" type: "HDF5Data" top: "data" `
	for _, c := range []struct{ name, text, want string }{
		{"transform", head + `transform_param { scale: 2 } hdf5_data_param { source: "list.txt" batch_size: 1 }`, "transform_param: HDF5Data does not transform data"},
		{"empty transform", head + `transform_param { } hdf5_data_param { source: "list.txt" batch_size: 1 }`, "transform_param: HDF5Data does not transform data"},
		{"no batch_size", head + `hdf5_data_param { source: "list.txt" }`, "hdf5_data_param: batch_size"},
		{"large batch_size", head + `hdf5_data_param { source: "list.txt" batch_size: 2147483647 }`, `top "data": shape`},
		{"no source", head + `hdf5_data_param { batch_size: 1 }`, "hdf5_data_param: source is not set"},
		{"no list", head + `hdf5_data_param { source: "none.txt" batch_size: 1 }`, "none.txt"},
		{"not a list", head + `hdf5_data_param { source: "part_0.h5" batch_size: 1 }`, "is itself an HDF5 file"},
		{"no dataset", `name: "d" type: "HDF5Data" top: "weight" hdf5_data_param { source: "list.txt" batch_size: 1 }`, "/weight: not found; the file has byte, count, data, extra, label"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, _, err := openData(t, c.text, caffepb.Phase_TRAIN, 1, dir)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}
