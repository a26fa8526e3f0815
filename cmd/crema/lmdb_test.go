package main

import (
	"bytes"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"crema/data"
	"crema/prototxt/caffepb"
)

// wants reports the strings that s lacks.
func wants(t *testing.T, s string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(s, w) {
			t.Errorf("no %q in\n%s", w, s)
		}
	}
}

func TestLMDBStat(t *testing.T) {
	r := mustCrema(t, "lmdb", "stat", golden(t, "runs", "photos_jpeg_lmdb"))
	wants(t, r.out, "LMDB, 132 KiB", "33 of 4.00 KiB: 1 branch, 30 leaf, 0 overflow, 0 free; depth 2", "records    60\n", "00000000 to 00000059, of 8 bytes",
		"60 of 3×40×48 JPEG", "7 different, from 0 to 6, 8 to 9 records each")
	// Flags may come first, and the kind be given.
	r = mustCrema(t, "lmdb", "-backend", "leveldb", "stat", golden(t, "layers", "leveldb_1", "db"))
	wants(t, r.out, "LevelDB", "1 tables, 1 logs", "records    10\n", "10 of 3×14×17 raw")
}

func TestLMDBList(t *testing.T) {
	db := golden(t, "runs", "digits_test_lmdb")
	r := mustCrema(t, "lmdb", "list", db, "-from=00000398")
	if lines := strings.Count(r.out, "\n"); lines != 2 || strings.Contains(r.out, "more") {
		t.Errorf("%d lines:\n%s", lines, r.out)
	}
	wants(t, r.out, "00000398 ", "00000399 ", "1×28×28 raw", "784 bytes")
	r = mustCrema(t, "lmdb", "list", db, "-limit", "3")
	wants(t, r.out, "00000000                     label 9 ", "more: list them with -from 00000003")
	if r = mustCrema(t, "lmdb", "list", db, "-limit", "0"); strings.Count(r.out, "\n") != 400 {
		t.Errorf("%d lines, want 400", strings.Count(r.out, "\n"))
	}
}

func TestLMDBShow(t *testing.T) {
	dir := t.TempDir()
	photos := golden(t, "runs", "photos_jpeg_lmdb")
	for _, key := range []string{"00000007", "7", "0000000"} {
		r := mustCrema(t, "lmdb", "show", photos, key)
		want := "key        00000007"
		if key == "0000000" { // the beginning of several
			want = "key        00000000"
		}
		wants(t, r.out, want, "label      0", "3×40×48 JPEG", "blue  ", "green  ", "red  ")
	}
	r := mustCrema(t, "lmdb", "show", golden(t, "runs", "pairs_train_lmdb"))
	wants(t, r.out, "key        00000000", "2×28×28 raw, 1568 bytes", "channel 1  from 0 to 255")

	// The file as it is.
	jpg := filepath.Join(dir, "7.jpg")
	mustCrema(t, "lmdb", "show", photos, "7", "-out", jpg)
	file, err := os.ReadFile(jpg)
	if err != nil {
		t.Fatal(err)
	}
	var im data.Image
	if err := data.DecodeImage(file, data.Native, &im); err != nil || im.C != 3 || im.H != 40 || im.W != 48 {
		t.Errorf("exported file: %d×%d×%d, %v", im.C, im.H, im.W, err)
	}
	// The same picture as PNG.
	one := filepath.Join(dir, "7.png")
	mustCrema(t, "lmdb", "show", photos, "7", "-out", one)
	file, err = os.ReadFile(one)
	if err != nil {
		t.Fatal(err)
	}
	var same data.Image
	if err := data.DecodeImage(file, data.Native, &same); err != nil || !bytes.Equal(im.Pix, same.Pix) {
		t.Errorf("the PNG file is another picture (%v)", err)
	}
	// Six in rows: 3 by 2 is nearest to the shape of a screen.
	sheet := filepath.Join(dir, "sheet.PNG")
	r = mustCrema(t, "lmdb", "show", photos, "5", "50", "-count", "3", "-out", sheet)
	wants(t, r.out, "wrote 6 pictures")
	f, err := os.Open(sheet)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	if m.Bounds().Dx() != 3*48+2*2 || m.Bounds().Dy() != 2*40+2 {
		t.Errorf("sheet of %v", m.Bounds())
	}
}

// TestLMDBVerify: all golden databases are sound; a wrong record and a damaged
// picture are named and give a status.
func TestLMDBVerify(t *testing.T) {
	for _, name := range []string{"digits_test_lmdb", "photos_jpeg_lmdb", "photos_png_lmdb", "photos_raw_lmdb", "pairs_test_lmdb"} {
		wants(t, mustCrema(t, "lmdb", "verify", golden(t, "runs", name)).out, "records, all sound")
	}
	wants(t, mustCrema(t, "lmdb", "verify", golden(t, "layers", "leveldb_2", "db")).out, "records, all sound")

	dir := t.TempDir()
	jpg := filepath.Join(dir, "0.jpg")
	mustCrema(t, "lmdb", "show", golden(t, "runs", "photos_jpeg_lmdb"), "0", "-out", jpg)
	whole, err := os.ReadFile(jpg)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "db")
	w, err := data.CreateDB(path, data.LMDB)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []struct {
		key  string
		file []byte
	}{{"a good", whole}, {"b\x00cut", whole[:len(whole)-200]}, {"c_bad", []byte("text")}} {
		v, err := proto.Marshal(&caffepb.Datum{Data: r.file, Encoded: proto.Bool(true)})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Put([]byte(r.key), v); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Put([]byte("d"), []byte("no Datum")); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	r := crema("lmdb", "verify", path)
	if r.status != 1 {
		t.Errorf("status %d", r.status)
	}
	wants(t, r.out, `record "b\x00cut": damaged: the JPEG file is cut off`, "record c_bad: neither a JPEG", "record d: not a Datum")
	wants(t, r.lastLine(), "2 of 4 records are wrong")
	if r := crema("lmdb", "verify", path, "-limit=1"); strings.Count(r.out, "record ") != 1 || !strings.Contains(r.out, "… and more") {
		t.Errorf("with a limit of 1:\n%s", r.out)
	}
	// The other verbs live with them too.
	r = mustCrema(t, "lmdb", "list", path)
	wants(t, r.out, `"a good" `, `"b\x00cut" `, "c_bad  ", "neither a JPEG", "not a Datum")
	wants(t, mustCrema(t, "lmdb", "stat", path).out, "2 of 3×40×48 JPEG", "2; the first is c_bad: neither")
	r = mustCrema(t, "lmdb", "show", path, "-count=4")
	wants(t, r.out, "damaged    the JPEG file is cut off", "wrong      neither", "wrong      not a Datum")
	wants(t, mustCrema(t, "lmdb", "show", path, "b", "-out", filepath.Join(dir, "b.png")).err, `record "b\x00cut": the JPEG file is cut off`)
}

func TestLMDBErrors(t *testing.T) {
	dir := t.TempDir()
	raw := golden(t, "runs", "photos_raw_lmdb")
	for _, c := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"stat"}, 2, "stat wants DB"},
		{[]string{"look", raw}, 2, `unknown verb "look": stat, list, show or verify`},
		{[]string{"stat", raw, "more"}, 2, `unexpected argument "more"`},
		{[]string{"stat", dir}, 1, "neither LMDB's data.mdb nor LevelDB's CURRENT"},
		{[]string{"stat", filepath.Join(dir, "none")}, 1, "no such file"},
		{[]string{"stat", raw, "-backend=leveldb"}, 1, "set backend to LMDB"},
		{[]string{"stat", raw, "-backend=mdb"}, 2, `unknown backend "mdb"`},
		{[]string{"list", raw, "-limit=-1"}, 2, "must not be negative"},
		{[]string{"show", raw, "60"}, 1, `no record whose key is or begins with "60"`},
		{[]string{"show", raw, "-count=0"}, 2, "must be positive"},
		{[]string{"show", raw, "-out", filepath.Join(dir, "a.jpg")}, 2, "the picture (3×40×48 raw) can be written as .png only"},
		{[]string{"show", raw, "-count=2", "-out", filepath.Join(dir, "a.jpg")}, 2, "only be written as one .png file"},
		{[]string{"show", raw, "1", "-out", filepath.Join(dir, "no", "a.png")}, 1, "no such file"},
	} {
		r := crema(append([]string{"lmdb"}, c.args...)...)
		if r.status != c.status || !strings.Contains(r.lastLine(), c.want) {
			t.Errorf("%q: status %d, %q; want %d and %q", c.args, r.status, r.lastLine(), c.status, c.want)
		}
	}
	if r := crema("lmdb", "--help"); r.status != 0 || !strings.Contains(r.out, "verify DB") {
		t.Errorf("help: status %d, %q", r.status, r.out)
	}
	if r := crema("lmdb", "show", "--help"); r.status != 0 || !strings.Contains(r.out, "-out file") {
		t.Errorf("help: status %d, %q", r.status, r.out)
	}
	if files, _ := os.ReadDir(dir); len(files) != 0 {
		t.Errorf("files left behind: %v", files)
	}
}
