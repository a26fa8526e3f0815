package data

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"crema/prototxt/caffepb"
)

// cutJPEG is a JPEG file of 40×40 pixels and its first half.
func cutJPEG(t *testing.T) (whole, half []byte) {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, photo(1).SubImage(image.Rect(0, 0, 40, 40)), nil); err != nil {
		t.Fatal(err)
	}
	whole = b.Bytes()
	data := bytes.Index(whole, []byte{0xff, markerSOS})
	return whole, whole[:(data+len(whole))/2]
}

// TestDamageLog: everything that reads pictures names those that are cut off,
// each once, and reads them all the same.
func TestDamageLog(t *testing.T) {
	whole, half := cutJPEG(t)
	const records, cut = 5, 3
	file := func(i int) []byte {
		if i == cut {
			return half
		}
		return whole
	}
	path := makeDB(t, LMDB, records, func(i int) []byte {
		if i == cut+1 { // the scratch of the one before must not speak for it
			return marshal(t, rawDatum(3, 40, 40, 0, make([]byte, 3*40*40)))
		}
		return marshal(t, &caffepb.Datum{Data: file(i), Encoded: proto.Bool(true)})
	})
	dir := t.TempDir()
	var list strings.Builder
	var files []ListedFile
	for i := range records {
		name := fmt.Sprintf("%d.jpg", i)
		if err := os.WriteFile(filepath.Join(dir, name), file(i), 0o644); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&list, "%s %d\n", name, i)
		files = append(files, ListedFile{Name: name, Label: int32(i)})
	}
	if err := os.WriteFile(filepath.Join(dir, "list"), []byte(list.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	windows := &WindowFile{Path: "w.txt", Images: []WindowImage{{Name: "3.jpg", Size: [3]int{3, 40, 40}}}, Background: []Window{{X2: 9, Y2: 9}}}
	readAll := func(src Source, err error) error {
		if err != nil {
			return err
		}
		defer src.Close()
		var im Image
		for range 3 * records {
			var r record
			if err := src.next(&r); err != nil {
				return err
			}
			if _, err := src.decode(&r, &im); err != nil {
				return err
			}
		}
		return nil
	}
	for _, c := range []struct {
		name, record string
		run          func(log *slog.Logger) error
	}{
		{"database", `record \"00000003\"`, func(log *slog.Logger) error {
			db, err := OpenDB(path, LMDB)
			if err != nil {
				return err
			}
			return readAll(NewDBSource(path, db, Native, log))
		}},
		{"list", "3.jpg", func(log *slog.Logger) error {
			return readAll(NewListSource(files, ListOptions{Root: dir + "/", Mode: Color, Log: log}))
		}},
		{"list, resized", "3.jpg", func(log *slog.Logger) error {
			return readAll(NewListSource(files, ListOptions{Root: dir + "/", Mode: Color, Height: 8, Width: 8, Log: log}))
		}},
		{"windows", "3.jpg", func(log *slog.Logger) error {
			return readAll(NewWindowSource(windows, WindowOptions{Root: dir + "/", BatchSize: 2, Log: log}))
		}},
		{"mean", `record \"00000003\"`, func(log *slog.Logger) error {
			_, err := ComputeMean(t.Context(), path, LMDB, log)
			return err
		}},
		{"convert", "3.jpg", func(log *slog.Logger) error {
			_, err := ConvertImages(t.Context(), dir, filepath.Join(dir, "list"), filepath.Join(t.TempDir(), "db"), ConvertOptions{Backend: LMDB, ResizeWidth: 20, ResizeHeight: 20, Log: log})
			return err
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b bytes.Buffer
			if err := c.run(slog.New(slog.NewTextHandler(&b, nil))); err != nil {
				t.Fatal(err)
			}
			var told []string
			for line := range strings.Lines(b.String()) {
				if strings.Contains(line, "level=WARN") {
					told = append(told, line)
				}
			}
			if len(told) != 1 || !strings.Contains(told[0], c.record) || !strings.Contains(told[0], "% of the picture is missing and left grey") {
				t.Errorf("warnings %q, want one about %s", told, c.record)
			}
		})
	}
}

// TestDamageLogEnds: a source of damaged pictures does not fill the log.
func TestDamageLogEnds(t *testing.T) {
	var b bytes.Buffer
	l := damageLog{log: slog.New(slog.NewTextHandler(&b, nil))}
	for i := range 1000 {
		l.note(fmt.Sprint("picture ", i%100), "is bad")
	}
	if n := strings.Count(b.String(), "is bad"); n != maxWarnings {
		t.Errorf("%d pictures named, want %d", n, maxWarnings)
	}
	if n := strings.Count(b.String(), "no further ones"); n != 1 {
		t.Errorf("the end announced %d times", n)
	}
}

// TestConvertMissing: so it is with files that are missing.
func TestConvertMissing(t *testing.T) {
	whole, _ := cutJPEG(t)
	dir := t.TempDir()
	var list strings.Builder
	for i := range 100 {
		fmt.Fprintf(&list, "%d.jpg 1\n", i)
	}
	for name, b := range map[string][]byte{"list": []byte(list.String()), "50.jpg": whole} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	res, err := ConvertImages(t.Context(), dir, filepath.Join(dir, "list"), filepath.Join(dir, "db"), ConvertOptions{Backend: LMDB, Log: slog.New(slog.NewTextHandler(&b, nil))})
	if err != nil || res.Stored != 1 || res.Skipped != 99 {
		t.Fatalf("%+v, %v", res, err)
	}
	if n := strings.Count(b.String(), "Could not open"); n != maxWarnings {
		t.Errorf("%d files named, want %d", n, maxWarnings)
	}
	for _, want := range []string{"no further ones", "Skipped 99 files"} {
		if strings.Count(b.String(), want) != 1 {
			t.Errorf("not one line %q in the log:\n%s", want, b.String())
		}
	}
}
