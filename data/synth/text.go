package synth

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"crema/hdf5"
	"crema/internal/rng"
)

// TextSymbols are the characters that text is made of; a character's number in
// files is its place here. A sentence ends with a newline.
const TextSymbols = "\n abcdefghijklmnopqrstuvwxyz"

// symbolNumber holds each character's place in TextSymbols.
var symbolNumber = func() (n [256]float32) {
	for i := range TextSymbols {
		n[TextSymbols[i]] = float32(i)
	}
	return n
}()

// TextStats say what there is to learn in a text. Entropies are in nats per
// character, as losses are.
type TextStats struct {
	Rows int // characters of each stream
	// Unigram is the entropy of single characters: the loss of a model that
	// knows how often each occurs and nothing of what came before.
	Unigram float64
	// Grammar is that of the grammar itself, given all that came before in the
	// sentence. No model is better, but by chance.
	Grammar float64
	Example string // a sentence
}

// WriteText draws sentences and writes them as a new HDF5 file for HDF5Data
// layers and recurrent nets. Its datasets have a row for each step of time and
// a column for each stream, a text of its own:
//
//	data    the number of a character
//	cont    0 where a sentence begins, else 1: what the recurrent layers of
//	        Caffe take to forget what was before
//	target  the number of the character that comes next
//
// The character that a sentence begins with is the newline before it. All are
// float32, rows×streams. The text of a stream depends only on the seed, the
// split and the stream's number. If ctx ends before the file is complete,
// nothing stays; progress is called after some rows, with their number so far,
// and may be nil.
func WriteText(ctx context.Context, path, split string, rows, streams int, seed uint64, progress func(done int)) (_ TextStats, err error) {
	if rows < 1 || streams < 1 {
		return TextStats{}, fmt.Errorf("%s: %d rows of %d streams, must be at least 1", path, rows, streams)
	}
	w := hdf5.NewRowWriter(path)
	defer w.Discard()
	at := make([]*stream, streams)
	for i := range at {
		at[i] = &stream{speaker: speaker{r: rng.New(seed, "text/"+split, uint64(i))}, last: '\n'}
	}
	var counts [len(TextSymbols)]int
	// So many rows are a megabyte.
	chunk := min(rows, max(1, 1<<18/streams))
	data, cont, target := make([]float32, chunk*streams), make([]float32, chunk*streams), make([]float32, chunk*streams)
	for done := 0; done < rows; {
		if err := ctx.Err(); err != nil {
			return TextStats{}, fmt.Errorf("%s: after %d of %d rows: %w", path, done, rows, err)
		}
		n := min(chunk, rows-done)
		for i := range n * streams {
			s := at[i%streams]
			c, begins := s.next()
			data[i], target[i], cont[i] = symbolNumber[s.last], symbolNumber[c], 1
			if begins {
				cont[i] = 0
			}
			counts[int(target[i])]++
			s.last = c
		}
		shape := []int{n, streams}
		for _, d := range []struct {
			name string
			v    []float32
		}{{"data", data}, {"cont", cont}, {"target", target}} {
			if err := w.Append(d.name, shape, d.v[:n*streams]); err != nil {
				return TextStats{}, err
			}
		}
		if done += n; progress != nil {
			progress(done)
		}
	}
	stats := TextStats{Rows: rows, Example: at[0].first}
	for _, n := range counts {
		if p := float64(n) / float64(rows*streams); p > 0 {
			stats.Unigram -= p * math.Log(p)
		}
	}
	var surprise, said float64
	for _, s := range at {
		surprise, said = surprise+s.surprise, said+float64(s.said)
	}
	stats.Grammar = surprise / said
	return stats, w.Close()
}

// A stream is an endless text, sentence after sentence.
type stream struct {
	speaker
	last  byte   // the character before
	first string // the first sentence
	text  string // the sentence that is being given out
	pos   int
	said  int // characters of all sentences so far
}

// next returns the next character and whether a sentence begins with it.
func (s *stream) next() (c byte, begins bool) {
	if s.pos == len(s.text) {
		s.text, s.pos = s.sentence(), 0
		s.said += len(s.text)
		if s.first == "" {
			s.first = strings.TrimSuffix(s.text, "\n")
		}
	}
	s.pos++
	return s.text[s.pos-1], s.pos == 1
}

// The words of the grammar. No word is in two lists, so that every sentence
// can be said in one way only, and the chance of a sentence is the product of
// the chances of the choices that made it.
var (
	adjectives = []string{"old", "small", "red", "quiet", "proud", "hungry"}
	nouns      = []string{"dog", "cat", "bird", "farmer", "girl", "king", "robot"} // and with an s
	plural     = []string{"the", "two", "some", "many"}
	singular   = []string{"a", "this", "every"}
	goes       = []string{"sleep", "run", "wait", "sing"} // and with an s in the singular
	does       = []string{"see", "love", "hear", "follow"}
)

// A speaker says sentences of a small English: verbs agree with their subjects
// across the relative clauses between them, which is what there is to remember.
//
//	sentence  subject verb
//	subject   determiner [adjective] noun [that (verb | subject does)]
//	verb      goes | does object, an object being as a subject
type speaker struct {
	r        *rand.Rand
	words    []string
	surprise float64 // -ln of the chance of all that was said
}

// sentence says one, with the newline after it.
func (s *speaker) sentence() string {
	s.words = s.words[:0]
	s.verb(s.noun(0), 0)
	return strings.Join(s.words, " ") + "\n"
}

// say says one of the words.
func (s *speaker) say(words []string, ending string) {
	s.surprise += math.Log(float64(len(words)))
	s.words = append(s.words, words[s.r.IntN(len(words))]+ending)
}

// chance decides with probability p.
func (s *speaker) chance(p float64) bool {
	yes := s.r.Float64() < p
	if !yes {
		p = 1 - p
	}
	if p > 0 {
		s.surprise -= math.Log(p)
	}
	return yes
}

// noun says a subject or an object, depth clauses deep, and returns whether it
// is more than one.
func (s *speaker) noun(depth int) (many bool) {
	many = s.chance(0.5)
	ending := ""
	if many {
		s.say(plural, "")
		ending = "s"
	} else {
		s.say(singular, "")
	}
	if s.chance(0.4) {
		s.say(adjectives, "")
	}
	s.say(nouns, ending)
	// Clauses within clauses are rarer, and end.
	if p := []float64{0.3, 0.15, 0}[depth]; !s.chance(p) {
		return many
	}
	s.words = append(s.words, "that")
	if s.chance(0.5) {
		s.verb(many, depth+1)
	} else {
		s.say(does, third(s.noun(depth+1)))
	}
	return many
}

// verb says a verb of a subject of one or many, and its object if it takes one.
func (s *speaker) verb(many bool, depth int) {
	if s.chance(0.5) {
		s.say(goes, third(many))
		return
	}
	s.say(does, third(many))
	s.noun(depth)
}

// third is the ending of verbs.
func third(many bool) string {
	if many {
		return ""
	}
	return "s"
}
