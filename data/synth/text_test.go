package synth

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"crema/hdf5"
)

// readText returns the datasets of a text file, rows×streams.
func readText(t *testing.T, path string, rows, streams int) map[string][]float32 {
	t.Helper()
	f, err := hdf5.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	root, err := f.Root()
	if err != nil {
		t.Fatal(err)
	}
	m := map[string][]float32{}
	for _, name := range root.Names() {
		d, err := root.Dataset(name)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(d.Shape(), []int{rows, streams}) {
			t.Fatalf("%s is %v, want %d×%d", name, d.Shape(), rows, streams)
		}
		if m[name], err = d.ReadAll(); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func TestWriteText(t *testing.T) {
	dir := t.TempDir()
	const rows, streams = 3000, 5
	var seen []int
	st, err := WriteText(t.Context(), filepath.Join(dir, "a.h5"), "train", rows, streams, 1, func(done int) { seen = append(seen, done) })
	if err != nil {
		t.Fatal(err)
	}
	if len(seen) == 0 || seen[len(seen)-1] != rows || st.Rows != rows {
		t.Errorf("progress %v, stats %+v", seen, st)
	}
	m := readText(t, filepath.Join(dir, "a.h5"), rows, streams)
	if len(m) != 3 {
		t.Fatalf("%d datasets", len(m))
	}
	count := map[float32]float64{}
	var all []string
	for s := range streams {
		var text strings.Builder
		for r := range rows {
			i := r*streams + s
			if r > 0 && m["data"][i] != m["target"][i-streams] {
				t.Fatalf("stream %d, row %d: input %g follows target %g", s, r, m["data"][i], m["target"][i-streams])
			}
			// A sentence begins after a newline, and only there.
			if begins := m["data"][i] == 0; begins != (m["cont"][i] == 0) || m["cont"][i] != 0 && m["cont"][i] != 1 {
				t.Fatalf("stream %d, row %d: input %g, cont %g", s, r, m["data"][i], m["cont"][i])
			}
			text.WriteByte(TextSymbols[int(m["target"][i])])
			count[m["target"][i]]++
		}
		lines := strings.Split(text.String(), "\n")
		if s == 0 && lines[0] != st.Example {
			t.Errorf("example %q, the text begins %q", st.Example, lines[0])
		}
		all = append(all, lines[:len(lines)-1]...)
	}
	unigram := 0.0
	for _, n := range count {
		p := n / (rows * streams)
		unigram -= p * math.Log(p)
	}
	if math.Abs(unigram-st.Unigram) > 1e-9 {
		t.Errorf("unigram entropy %g, counted %g", st.Unigram, unigram)
	}
	// The chance of each sentence, told from its words alone.
	surprise, said := 0.0, 0.0
	for _, line := range all {
		p := &listener{t: t, words: strings.Fields(line)}
		p.verb(p.noun(0), 0)
		if len(p.words) > 0 {
			t.Fatalf("%q goes on with %q", line, p.words)
		}
		surprise, said = surprise+p.surprise, said+float64(len(line)+1)
	}
	// The generator counts the last sentence of each stream whole.
	if math.Abs(surprise/said-st.Grammar) > 0.01 {
		t.Errorf("entropy of the grammar %g, from the sentences %g", st.Grammar, surprise/said)
	}
	if st.Grammar > st.Unigram/4 {
		t.Errorf("little to learn: %+v", st)
	}
	t.Logf("%+v; for example %q", st, all[:3])
}

// A listener takes a sentence apart by the grammar.
type listener struct {
	t        *testing.T
	words    []string
	surprise float64
}

// hears takes a word off, which must be one of the list with an ending.
func (l *listener) hears(words []string, ending string) bool {
	if len(l.words) == 0 || !strings.HasSuffix(l.words[0], ending) || !slices.Contains(words, strings.TrimSuffix(l.words[0], ending)) {
		return false
	}
	l.words = l.words[1:]
	l.surprise += math.Log(float64(len(words)))
	return true
}

func (l *listener) must(words []string, ending string) {
	if !l.hears(words, ending) {
		l.t.Fatalf("%q is none of %q with %q", l.words, words, ending)
	}
}

func (l *listener) choice(yes bool, p float64) bool {
	if !yes {
		p = 1 - p
	}
	l.surprise -= math.Log(p)
	return yes
}

func (l *listener) noun(depth int) (many bool) {
	many = l.choice(l.hears(plural, ""), 0.5)
	ending := map[bool]string{true: "s"}[many]
	if !many {
		l.must(singular, "")
	}
	l.choice(l.hears(adjectives, ""), 0.4)
	l.must(nouns, ending)
	that := len(l.words) > 0 && l.words[0] == "that"
	if depth == 2 {
		if that {
			l.t.Fatalf("a clause in a clause in a clause: %q", l.words)
		}
		return many
	}
	if !l.choice(that, []float64{0.3, 0.15}[depth]) {
		return many
	}
	l.words = l.words[1:]
	w := l.words[0]
	isVerb := slices.Contains(goes, strings.TrimSuffix(w, "s")) || slices.Contains(does, strings.TrimSuffix(w, "s"))
	if l.choice(isVerb, 0.5) {
		l.verb(many, depth+1)
	} else {
		l.must(does, third(l.noun(depth+1)))
	}
	return many
}

func (l *listener) verb(many bool, depth int) {
	if l.choice(l.hears(goes, third(many)), 0.5) {
		return
	}
	l.must(does, third(many))
	l.noun(depth)
}

// TestTextIsItsOwn: a stream does not depend on how much is drawn, or beside
// what.
func TestTextIsItsOwn(t *testing.T) {
	dir := t.TempDir()
	draw := func(split string, rows, streams int, seed uint64) []float32 {
		path := filepath.Join(dir, "x.h5")
		if _, err := WriteText(t.Context(), path, split, rows, streams, seed, nil); err != nil {
			t.Fatal(err)
		}
		m := readText(t, path, rows, streams)
		var first []float32
		for r := range rows {
			first = append(first, m["data"][r*streams])
		}
		return first
	}
	a := draw("train", 300, 3, 1)
	if b := draw("train", 100, 1, 1); !slices.Equal(a[:100], b) {
		t.Error("the text depends on the number of rows or streams")
	}
	if b := draw("test", 300, 3, 1); slices.Equal(a, b) {
		t.Error("both splits have the same text")
	}
	if b := draw("train", 300, 3, 2); slices.Equal(a, b) {
		t.Error("two seeds give the same text")
	}
}

func TestWriteTextErrors(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := WriteText(ctx, filepath.Join(dir, "x.h5"), "train", 10, 2, 1, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := WriteText(t.Context(), filepath.Join(dir, "none", "x.h5"), "train", 10, 2, 1, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such folder: %v", err)
	}
	for _, n := range [][2]int{{0, 1}, {1, 0}, {-5, 2}} {
		if _, err := WriteText(t.Context(), filepath.Join(dir, "x.h5"), "train", n[0], n[1], 1, nil); err == nil {
			t.Errorf("%v rows and streams: no error", n)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v stays, %v", left, err)
	}
}
