package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// asProgram makes this test binary behave as the program itself, for the tests
// that need a process of their own.
const asProgram = "CREMA_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// result is how a command ended.
type result struct {
	status   int
	out, err string
}

// lastLine returns the last line of stderr: the error, if there was one.
func (r result) lastLine() string {
	lines := strings.Split(strings.TrimSuffix(r.err, "\n"), "\n")
	return lines[len(lines)-1]
}

// messages returns the log messages on stderr, checking that each line is in
// glog's format; lines that continue a message are left out.
func (r result) messages(t *testing.T) []string {
	t.Helper()
	var msgs []string
	for line := range strings.Lines(r.err) {
		if m := glogLine.FindStringSubmatch(strings.TrimSuffix(line, "\n")); m != nil {
			msgs = append(msgs, m[2])
		}
	}
	return msgs
}

// crema runs the program in this process.
func crema(args ...string) result {
	var out, errOut bytes.Buffer
	status := run(args, stdio{strings.NewReader(""), &out, &errOut})
	return result{status, out.String(), errOut.String()}
}

// mustCrema is crema that has to succeed.
func mustCrema(t *testing.T, args ...string) result {
	t.Helper()
	r := crema(args...)
	if r.status != 0 {
		t.Fatalf("crema %s: status %d: %s", strings.Join(args, " "), r.status, r.lastLine())
	}
	return r
}

// golden returns the absolute path of a file under testdata/golden.
func golden(t *testing.T, elem ...string) string {
	t.Helper()
	p, err := filepath.Abs(filepath.Join(append([]string{"..", "..", "testdata", "golden"}, elem...)...))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(p); err != nil {
		t.Fatal(err)
	}
	return p
}

// writeFile writes a file into a folder and returns its path.
func writeFile(t *testing.T, dir, name, text string) string {
	t.Helper()
	p := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return p
}

// wantError checks status and that the last line, and the only one that is not
// the log's, has all of the words.
func wantError(t *testing.T, r result, status int, words ...string) {
	t.Helper()
	if r.status != status {
		t.Errorf("status %d, want %d (%s)", r.status, status, r.lastLine())
	}
	for _, w := range words {
		if !strings.Contains(r.lastLine(), w) {
			t.Errorf("error %q does not mention %q", r.lastLine(), w)
		}
	}
	if !strings.HasPrefix(r.lastLine(), "crema ") {
		t.Errorf("error %q does not begin with the program's name", r.lastLine())
	}
}

var _ io.Writer = (*console)(nil)
