package trainlog

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// A Log is what the log of a run, or of several in a row, tells.
type Log struct {
	// Train and Test are the outputs of the training net at each display and of
	// the test nets at each test, in the log's order. A run that was resumed
	// repeats iterations: see [Log.Superseded].
	Train, Test Table
	// Losses are those of the lines "Iteration N, loss = L", which are means of
	// the last average_loss iterations; Rates those of "Iteration N, lr = R".
	Losses, Rates []Point
}

// A Table has rows of the values of its columns.
type Table struct {
	Columns []Column
	Rows    []Row
}

// A Column is an output of a net.
type Column struct {
	// Name is the output's; behind it "#K" for its K-th line if one before it
	// in the same group has that name, and "netI." before it for test nets but
	// the first.
	Name string
	// Loss says that the output counts in the loss.
	Loss bool
}

// A Row is a group of outputs.
type Row struct {
	Iter int
	// Seconds since the first line with "Solving", or the first line.
	Seconds float64
	// Rate is the learning rate of the last line that tells one before the row;
	// that is the rate of the display before. NaN if there was none.
	Rate float64
	// Values has one for each column of the table, or fewer; NaN stands also
	// for an output that the row does not have if Has is false for it.
	Values []float64
	Has    []bool
}

// A Point is a value at an iteration.
type Point struct {
	Iter           int
	Seconds, Value float64
}

// What lines may tell. A number is what C++ writes. The prefix of a line may have
// something before it: what containers add.
const number = `([-+]?(?:[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?|nan|inf))`

var (
	linePrefix  = regexp.MustCompile(`(?:^|\s)[IWEF]([0-9]{4}|[0-9]{8}) +([0-9]{1,2}):([0-9]{2}):([0-9]{2})\.([0-9]{6})\b`)
	iterationRE = regexp.MustCompile(`Iteration ([0-9]+)`)
	outputRE    = regexp.MustCompile(`(Train|Test) net output #([0-9]+): (\S+) = ` + number + `(.*loss\))?`)
	lossRE      = regexp.MustCompile(`Iteration [0-9]+.*, loss = ` + number)
	rateRE      = regexp.MustCompile(`\blr = ` + number)
	testNetRE   = regexp.MustCompile(`Testing net \(#([0-9]+)\)`)
)

// ReadFile reads a log file. Dates of four digits are of the year that the file
// was changed in at first. A file without a line of output is an error.
func ReadFile(path string) (*Log, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	l, err := Parse(f, st.ModTime().Year())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return l, nil
}

// Parse reads a log whose dates without a year begin in the given one.
func Parse(r io.Reader, year int) (*Log, error) {
	p := &parser{year: year, iter: -1, rate: math.NaN()}
	lines := 0
	b := bufio.NewReader(r)
	for {
		line, err := b.ReadString('\n')
		if line != "" {
			p.line(strings.TrimRight(line, "\r\n"))
			lines++
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	for _, g := range []*grouper{&p.train, &p.test} {
		g.flush()
		// The first row's rate was not yet told; nearly always it is the second's.
		if rows := g.table.Rows; len(rows) > 1 {
			rows[0].Rate = rows[1].Rate
		}
	}
	p.log.Train, p.log.Test = p.train.table, p.test.table
	if len(p.log.Train.Rows)+len(p.log.Test.Rows)+len(p.log.Losses) == 0 {
		return nil, fmt.Errorf("not the log of a training run: none of its %d lines has an output of a net or a loss", lines)
	}
	return &p.log, nil
}

type parser struct {
	log         Log
	year        int
	solving     bool // start is the line with "Solving"
	start, last time.Time
	iter        int // -1 before the first
	net         int // that is tested
	rate        float64
	train, test grouper
}

// line takes in a line.
func (p *parser) line(s string) {
	at, ok := p.time(s)
	if !ok {
		return // other programs' output, lines that continue a message
	}
	if solving := strings.Contains(s, "Solving"); p.start.IsZero() || solving && !p.solving {
		p.start, p.solving = at, solving
	}
	if m := iterationRE.FindStringSubmatch(s); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			p.iter = n
		}
	}
	if p.iter < 0 {
		return
	}
	seconds := float64(at.Sub(p.start).Microseconds()) / 1e6
	if m := rateRE.FindStringSubmatch(s); m != nil {
		p.rate = parseNumber(m[1])
		p.log.Rates = append(p.log.Rates, Point{p.iter, seconds, p.rate})
	}
	if m := lossRE.FindStringSubmatch(s); m != nil {
		p.log.Losses = append(p.log.Losses, Point{p.iter, seconds, parseNumber(m[1])})
	}
	if m := testNetRE.FindStringSubmatch(s); m != nil {
		p.net, _ = strconv.Atoi(m[1])
	}
	if m := outputRE.FindStringSubmatch(s); m != nil {
		g, net := &p.train, 0
		if m[1] == "Test" {
			g, net = &p.test, p.net
		}
		k, _ := strconv.Atoi(m[2])
		g.add(Row{Iter: p.iter, Seconds: seconds, Rate: p.rate}, net, k, Column{m[3], m[5] != ""}, parseNumber(m[4]))
	}
}

// time returns when a line was written, and false if it is not a line of a log.
func (p *parser) time(s string) (time.Time, bool) {
	m := linePrefix.FindStringSubmatch(s)
	if m == nil {
		return time.Time{}, false
	}
	var f [6]int // month, day, hour, minute, second, microsecond
	date := m[1]
	year := p.year
	if len(date) == 8 { // glog from 0.6 on
		year, _ = strconv.Atoi(date[:4])
		date = date[4:]
	}
	for i, v := range []string{date[:2], date[2:], m[2], m[3], m[4], m[5]} {
		f[i], _ = strconv.Atoi(v)
	}
	at := func() time.Time {
		return time.Date(year, time.Month(f[0]), f[1], f[2], f[3], f[4], f[5]*1000, time.UTC)
	}
	t := at()
	if len(m[1]) == 4 && !p.last.IsZero() && t.Month() < p.last.Month() {
		p.year++
		year = p.year
		t = at()
	}
	p.last = t
	return t, true
}

func parseNumber(s string) float64 {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil && v == 0 {
		return math.NaN()
	}
	return v
}

// A grouper puts outputs that belong together into rows.
type grouper struct {
	table   Table
	columns map[Column]int
	row     *Row
	net, k  int // of the last output
}

// add adds an output: the k-th of a net. Row has what a row begins with.
func (g *grouper) add(row Row, net, k int, c Column, value float64) {
	// A group begins with the first output of the first net.
	if g.row != nil && (g.row.Iter != row.Iter || net < g.net || net == g.net && k <= g.k) {
		g.flush()
	}
	if g.row == nil {
		g.row = &row
	}
	g.net, g.k = net, k
	if net > 0 {
		c.Name = fmt.Sprintf("net%d.%s", net, c.Name)
	}
	if i, ok := g.columns[c]; ok && i < len(g.row.Has) && g.row.Has[i] {
		c.Name = fmt.Sprintf("%s#%d", c.Name, k)
	}
	i, ok := g.columns[c]
	if !ok {
		if g.columns == nil {
			g.columns = map[Column]int{}
		}
		i = len(g.table.Columns)
		g.columns[c] = i
		g.table.Columns = append(g.table.Columns, c)
	}
	for len(g.row.Values) <= i {
		g.row.Values = append(g.row.Values, math.NaN())
		g.row.Has = append(g.row.Has, false)
	}
	g.row.Values[i], g.row.Has[i] = value, true
}

func (g *grouper) flush() {
	if g.row != nil {
		g.table.Rows = append(g.table.Rows, *g.row)
		g.row = nil
	}
}

// Superseded returns the log without what a resumed run computed again: where
// the iteration goes back, everything from there on was lost and is left out.
func (l *Log) Superseded() *Log {
	c := &Log{Losses: newest(l.Losses, pointIter), Rates: newest(l.Rates, pointIter)}
	c.Train = Table{l.Train.Columns, newest(l.Train.Rows, rowIter)}
	c.Test = Table{l.Test.Columns, newest(l.Test.Rows, rowIter)}
	return c
}

func pointIter(p Point) int { return p.Iter }
func rowIter(r Row) int     { return r.Iter }

// newest leaves out elements at whose iteration, or before it, a later one is.
func newest[T any](all []T, iter func(T) int) []T {
	var kept []T
	for _, x := range all {
		for len(kept) > 0 && iter(kept[len(kept)-1]) >= iter(x) {
			kept = kept[:len(kept)-1]
		}
		kept = append(kept, x)
	}
	return kept
}
