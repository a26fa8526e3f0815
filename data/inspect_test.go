package data

import (
	"bytes"
	"image"
	"image/png"
	"testing"

	"google.golang.org/protobuf/proto"

	"crema/prototxt/caffepb"
)

func TestInspectDatum(t *testing.T) {
	var file bytes.Buffer
	if err := png.Encode(&file, image.NewRGBA(image.Rect(0, 0, 6, 4))); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		d    *caffepb.Datum
		mode ColorMode
		want DatumInfo
	}{
		{"bytes", rawDatum(1, 2, 3, 7, []byte("123456")), Native, DatumInfo{C: 1, H: 2, W: 3, Label: 7, Bytes: 6}},
		{"floats", &caffepb.Datum{Channels: proto.Int32(1), Height: proto.Int32(1), Width: proto.Int32(2), Label: proto.Int32(-1), FloatData: []float32{1, 2}},
			Native, DatumInfo{C: 1, H: 1, W: 2, Label: -1, Float: true, Bytes: 8}},
		{"file", &caffepb.Datum{Data: file.Bytes(), Encoded: proto.Bool(true), Label: proto.Int32(3)}, Gray, DatumInfo{C: 1, H: 4, W: 6, Label: 3, Encoded: true, Format: "PNG", Bytes: file.Len()}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := InspectDatum(marshal(t, c.d), c.mode)
			if err != nil || got != c.want {
				t.Errorf("%+v (%v), want %+v", got, err, c.want)
			}
		})
	}
	if _, err := InspectDatum([]byte("\xff\xff"), Native); err == nil {
		t.Error("garbage is no error")
	}
}

func TestRecordCount(t *testing.T) {
	for _, b := range []Backend{LMDB, LevelDB} {
		db, err := OpenDB(makeDB(t, b, 13, numbered(t)), b)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		n, ok := RecordCount(db)
		if ok != (b == LMDB) || ok && n != 13 {
			t.Errorf("%v: %d, %v", b, n, ok)
		}
	}
}
