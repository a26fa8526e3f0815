package layers

import (
	"strings"
	"testing"
)

const memoryText = `type: "MemoryData" memory_data_param { batch_size: 2 channels: 1 height: 1 width: 3 }`

func TestMemoryData(t *testing.T) {
	l, top := newLayer(t, testContext(train), memoryText, nil, 2)
	wantShape(t, "data", top[0], 2, 1, 1, 3)
	wantShape(t, "labels", top[1], 2)
	if err := l.Forward(nil, top); err == nil || !strings.Contains(err.Error(), "no data yet") {
		t.Errorf("Forward before Set: %v", err)
	}
	m := l.(*MemoryData)
	data := []float32{0, 1, 2, 10, 11, 12, 20, 21, 22, 30, 31, 32}
	if err := m.Set(data, []float32{5, 6, 7, 8}, 4); err != nil {
		t.Fatal(err)
	}
	// Two batches, and again from the first.
	for pass := range 5 {
		if got, want := m.Cursor().GetRecords(), uint64(pass%2*2); got != want {
			t.Errorf("cursor before pass %d is %d, want %d", pass, got, want)
		}
		forward(t, l, nil, top)
		if pass%2 == 0 {
			equal(t, "data", top[0].Data(), 0, 1, 2, 10, 11, 12)
			equal(t, "labels", top[1].Data(), 5, 6)
		} else {
			equal(t, "data", top[0].Data(), 20, 21, 22, 30, 31, 32)
			equal(t, "labels", top[1].Data(), 7, 8)
		}
	}
	// The tops are copies: layers may work in place on them.
	top[0].Data()[0] = 99
	if data[0] != 0 {
		t.Error("the caller's data changed")
	}
	// A cursor goes on where it was taken.
	if err := m.Set(data, []float32{5, 6, 7, 8}, 4); err != nil {
		t.Fatal(err)
	}
	c := m.Cursor()
	*c.Records = 2
	if err := m.SetCursor(c); err != nil {
		t.Fatal(err)
	}
	forward(t, l, nil, top)
	equal(t, "labels after SetCursor", top[1].Data(), 7, 8)
	*c.Records = 4
	if err := m.SetCursor(c); err != nil {
		t.Fatal(err)
	}
	if err := l.Forward(nil, top); err == nil {
		t.Error("a cursor beyond the data was accepted")
	}
	*c.Records = 1 << 40
	if err := m.SetCursor(c); err == nil {
		t.Error("a cursor of 2^40 was accepted")
	}
}

// TestMemoryDataTransform: a transform_param changes nothing, not even if its
// mean file does not exist, but is not passed over in silence.
func TestMemoryDataTransform(t *testing.T) {
	log, buf := logBuffer()
	ctx := testContext(train)
	ctx.Log = log
	l, top := newLayer(t, ctx, memoryText+` name: "in" transform_param { scale: 2 crop_size: 1 mirror: true mean_file: "none" }`, nil, 2)
	if err := l.(*MemoryData).Set([]float32{0, 1, 2, 10, 11, 12}, []float32{5, 6}, 2); err != nil {
		t.Fatal(err)
	}
	forward(t, l, nil, top)
	equal(t, "data", top[0].Data(), 0, 1, 2, 10, 11, 12)
	if !strings.Contains(buf.String(), "Layer in of type MemoryData does not use transform_param: ignored") {
		t.Errorf("no warning in the log:\n%s", buf)
	}
}

func TestMemoryDataSetErrors(t *testing.T) {
	l, _ := newLayer(t, testContext(train), memoryText, nil, 2)
	m := l.(*MemoryData)
	for _, c := range []struct {
		values, labels, n int
		want              string
	}{
		{9, 3, 3, "multiple of the batch size 2"},
		{0, 0, 0, "multiple of the batch size 2"},
		{5, 2, 2, "5 values given for 2 records of 3"},
		{6, 3, 2, "3 labels given for 2 records"},
	} {
		err := m.Set(make([]float32, c.values), make([]float32, c.labels), c.n)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Set of %d values, %d labels, %d records: %v, want %q", c.values, c.labels, c.n, err, c.want)
		}
	}
	if err := new(MemoryData).Set(nil, nil, 1); err == nil {
		t.Error("Set before Setup was accepted")
	}
}

func TestMemoryDataErrors(t *testing.T) {
	for text, want := range map[string]string{
		`type: "MemoryData" memory_data_param { batch_size: 2 channels: 1 height: 1 }`: "width must be between 1",
		`type: "MemoryData"`: "batch_size must be between 1",
		`type: "MemoryData" memory_data_param { batch_size: 65536 channels: 65536 height: 1 width: 1 }`: "more than",
	} {
		wantError(t, train, text, nil, 2, want)
	}
	wantError(t, train, memoryText, nil, 1, "exactly 2 top")
}
