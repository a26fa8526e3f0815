package watch

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"
)

// TestThinning feeds a long run with spikes and gaps and checks that they are
// still to be seen, that the list stays short and that its order is kept.
func TestThinning(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 2, maxRows - 1, maxRows, maxRows + 1, 3 * maxRows, 300_000} {
		var c course
		spikes := map[int]float64{}
		thinned := false
		for i := range n {
			loss := 2 + rng.Float64()
			switch {
			case i%(n/7+5) == 3:
				loss = 50 + float64(i)
			case i%(n/7+5) == 4 && i > n/2:
				loss = -40 - float64(i)
			}
			if math.Abs(loss) > 10 {
				spikes[i] = loss
			}
			thinned = c.add(row{iter: i, loss: loss}) || thinned
		}
		if len(c.rows) > maxRows || n < maxRows && len(c.rows) != n || len(c.rows) < min(n, maxRows/4) {
			t.Errorf("of %d rows %d are kept", n, len(c.rows))
		}
		if thinned != (n >= maxRows) {
			t.Errorf("%d rows: says thinned %t", n, thinned)
		}
		if !slices.IsSortedFunc(c.rows, func(a, b row) int { return a.iter - b.iter }) {
			t.Errorf("of %d rows the kept are not in order", n)
		}
		kept := map[int]float64{}
		for _, r := range append(slices.Clone(c.rows), c.pending...) {
			kept[r.iter] = r.loss
		}
		for i, v := range spikes {
			if kept[i] != v {
				t.Errorf("of %d rows the spike at %d is not kept", n, i)
			}
		}
	}
}

func TestExtremes(t *testing.T) {
	nan := math.NaN()
	for _, c := range []struct{ in, want []float64 }{
		{[]float64{3}, []float64{3}},
		{[]float64{3, 1}, []float64{3, 1}},
		{[]float64{3, 1, 2}, []float64{3, 1}},
		{[]float64{2, 5, 1, 3}, []float64{5, 1}},
		{[]float64{2, nan, 1, 9}, []float64{nan, 1}},
		{[]float64{4, 4, 4, 4}, []float64{4, 4}},
		{[]float64{nan, nan, nan}, []float64{nan, nan}},
		{[]float64{5, 5, 5, 4}, []float64{5, 4}},
	} {
		var rows []row
		for i, v := range c.in {
			rows = append(rows, row{iter: i, loss: v})
		}
		var got []float64
		seen := map[int]bool{}
		for _, r := range extremes(rows) {
			got = append(got, r.loss)
			if seen[r.iter] {
				t.Errorf("%v: row %d twice", c.in, r.iter)
			}
			seen[r.iter] = true
		}
		if !slices.EqualFunc(got, c.want, func(a, b float64) bool { return a == b || a != a && b != b }) {
			t.Errorf("%v: %v, want %v", c.in, got, c.want)
		}
	}
}

func TestCut(t *testing.T) {
	var c course
	for i := range maxRows + 3 {
		c.add(row{iter: i})
	}
	if len(c.pending) != 3 {
		t.Fatalf("%d rows wait, want 3", len(c.pending))
	}
	if c.cut(maxRows+3) || !c.cut(maxRows+1) || len(c.pending) != 1 {
		t.Errorf("%d rows wait after the cut, want 1", len(c.pending))
	}
	if !c.cut(10) || len(c.pending) > 0 || c.rows[len(c.rows)-1].iter >= 10 {
		t.Errorf("rows %v, waiting %v", c.rows, c.pending)
	}
}

func TestTestCourse(t *testing.T) {
	var c testCourse
	for i := range 10 * maxTests {
		c.add(10*i, float64(i))
	}
	if n := len(c.iters); n >= maxTests || n < maxTests/2 || len(c.values) != n {
		t.Fatalf("%d results are kept", n)
	}
	step := c.iters[1] - c.iters[0]
	for i, it := range c.iters {
		if it != i*step || c.values[i] != float64(it)/10 {
			t.Fatalf("result %d is of %d with value %g; want steps of %d", i, it, c.values[i], step)
		}
	}
}

// TestSamples checks that the samples that are kept stay evenly apart.
func TestSamples(t *testing.T) {
	r := &Recorder{apart: 1}
	for i := range 5 * maxSamples {
		r.addSample(sample{iter: i})
	}
	if n := len(r.samples); n >= maxSamples || n < maxSamples/2 {
		t.Fatalf("%d samples are kept", n)
	}
	step := r.samples[1].iter
	for i, s := range r.samples {
		if s.iter != i*step {
			t.Fatalf("sample %d is of %d; want steps of %d", i, s.iter, step)
		}
	}
}

func TestJSON(t *testing.T) {
	in := Series{Iter: []int{1, 2, 3}, Loss: Column{1.5, math.NaN(), math.Inf(1)}, Rate: Column{}}
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var back struct {
		Loss Column `json:"loss"`
		Rate Column `json:"rate"`
	}
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if len(back.Loss) != 3 || back.Loss[0] != 1.5 || !math.IsNaN(back.Loss[1]) || !math.IsNaN(back.Loss[2]) || len(back.Rate) != 0 {
		t.Errorf("%s came back as %+v", b, back)
	}
	st := State{Loss: nan, Remaining: 3}
	if b, err = json.Marshal(st); err != nil {
		t.Fatal(err)
	}
	var st2 State
	if err := json.Unmarshal(b, &st2); err != nil || !math.IsNaN(float64(st2.Loss)) || st2.Remaining != 3 {
		t.Errorf("%s came back as %+v, error %v", b, st2, err)
	}
	if err := json.Unmarshal([]byte(`{"loss":["x"]}`), &back); err == nil {
		t.Error("a column of text: no error")
	}
}

// TestPace simulates a task and checks that it takes no more than its share.
func TestPace(t *testing.T) {
	begin := time.Unix(1000, 0)
	p := pace{share: 0.01}
	var spent time.Duration
	now, times := begin, 0
	for now.Sub(begin) < 100*time.Second {
		if p.due(now, now.Sub(begin)) {
			cost := 3 * time.Millisecond
			if times++; times == 5 {
				cost = time.Second // once held up
			}
			p.begin(now)
			p.add(cost / 2)
			p.add(cost / 2)
			spent += cost
			now = now.Add(cost)
		}
		now = now.Add(time.Millisecond)
	}
	if spent -= time.Second; spent > 1100*time.Millisecond || times < 250 {
		t.Errorf("%v spent on %d times in 100 s, without the second", spent, times)
	}
	for _, c := range []struct{ age, wait time.Duration }{
		{0, 2 * time.Second}, {time.Minute, 2 * time.Second}, {time.Hour, 36 * time.Second}, {1000 * time.Hour, time.Minute},
	} {
		q := pace{share: 1, part: 0.01, low: 2 * time.Second, high: time.Minute}
		q.begin(begin)
		if q.due(begin.Add(c.wait-1), c.age) || !q.due(begin.Add(c.wait), c.age) {
			t.Errorf("at the age of %v, the time between two times is not %v", c.age, c.wait)
		}
	}
}

func TestSmooth(t *testing.T) {
	var m float64
	for i := range 400 {
		smooth(&m, 5, i, 20)
	}
	if math.Abs(m-5) > 1e-9 {
		t.Errorf("mean of fives is %g", m)
	}
	smooth(&m, math.NaN(), 400, 20)
	if smooth(&m, 7, 401, 20); m != 7 {
		t.Errorf("after a NaN the mean begins anew: %g, want 7", m)
	}
	var s []float64
	m = 0
	for i, v := range []float64{9, 3, 3, 3, 3} {
		s = append(s, smooth(&m, v, i, 20))
	}
	if want := []float64{9, 3, 3, 3, 3}; !reflect.DeepEqual(s, want) {
		t.Errorf("the first means are %v, want %v", s, want)
	}
}
