package data

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestReadList(t *testing.T) {
	two := []ListedFile{{Name: "a.png", Label: 1}, {Name: "sub dir/b c.png", Label: -7}}
	for _, c := range []struct {
		name, text string
		want       []ListedFile
	}{
		{"plain", "a.png 1\nsub dir/b c.png -7\n", two},
		{"no end of line", "a.png 1\nsub dir/b c.png -7", two},
		{"tabs", "a.png\t1\nsub dir/b c.png\t-7\n", two},
		{"CRLF", "a.png 1\r\nsub dir/b c.png -7\r\n", two},
		{"byte order mark", "\ufeffa.png 1\nsub dir/b c.png -7\n", two},
		{"all of it", "\ufeff\r\na.png \t1 \t\r\n\r\n \t\r\nsub dir/b c.png\t\t-7\r\n\r\n", two},
		{"no label", "a.png\nb.png\r\n", []ListedFile{{Name: "a.png", Bare: true}, {Name: "b.png", Bare: true}}},
		{"letters beyond ASCII", "ä/ü.png 3\n", []ListedFile{{Name: "ä/ü.png", Label: 3}}},
		{"space in front", " a.png 1\n", []ListedFile{{Name: " a.png", Label: 1}}},
		{"limits", "a 2147483647\nb -2147483648\n", []ListedFile{{Name: "a", Label: 2147483647}, {Name: "b", Label: -2147483648}}},
		{"nothing", "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := readList(strings.NewReader(c.text))
			for i := range got {
				got[i].Line = 0
			}
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("%+v, %v, want %+v", got, err, c.want)
			}
		})
	}
}

func TestReadListLines(t *testing.T) {
	files, err := readList(strings.NewReader("\r\na 1\n\nb 2\nc"))
	if err != nil {
		t.Fatal(err)
	}
	var lines []int32
	for _, f := range files {
		lines = append(lines, f.Line)
	}
	if want := []int32{2, 4, 5}; !slices.Equal(lines, want) {
		t.Errorf("lines %v, want %v", lines, want)
	}
}

func TestReadListErrors(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"one", "a.png 1\n\nb.png x\n", `list.txt:3: label "x" (what follows the last space or tab) is not a whole number in range`},
		{"many", "a.png 1\nb.png x\nc.png 1.5\nd.png 2\n", `list.txt:2: label "x" (what follows the last space or tab) is not a whole number in range (the first of 2 such lines of 4)`},
		{"too large", "a 2147483648\n", `list.txt:1: label "2147483648"`},
		{"UTF-16", "\xff\xfea\x00 \x001\x00\n\x00", "list.txt: the list is in UTF-16: save it as UTF-8"},
		{"binary", "a\x00b 1\n", "list.txt:1: a zero byte"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "list.txt")
			if err := os.WriteFile(path, []byte(c.text), 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := ReadList(path)
			if err == nil || !strings.Contains(err.Error()+"\n", c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func FuzzReadList(f *testing.F) {
	f.Add([]byte("\ufeffa b.png\t1\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		files, err := readList(bytes.NewReader(b))
		if err == nil && len(files) > bytes.Count(b, []byte("\n"))+1 {
			t.Errorf("%d files of %q", len(files), b)
		}
	})
}
