package trainlog

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"crema/plot"
)

const goldenLog = "../testdata/golden/runs/solver/sgd_step/log.txt"

// TestGolden compares with what Caffe's parse_log.py makes of a log of Caffe,
// with dates of four digits as it wants them, and of eight as newer glog has
// them.
func TestGolden(t *testing.T) {
	text, err := os.ReadFile(goldenLog)
	if err != nil {
		t.Fatal(err)
	}
	short := strings.ReplaceAll(string(text), "I20261123 ", "I1123 ")
	if short == string(text) {
		t.Fatal("the log has no date of eight digits")
	}
	for _, c := range []struct{ name, text string }{{"four digits", short}, {"eight digits", string(text)}, {"prefixed", strings.ReplaceAll(short, "I1123 ", "web-1  | I1123 ")}} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "run.log")
			if err := os.WriteFile(path, []byte(c.text), 0o666); err != nil {
				t.Fatal(err)
			}
			l, err := ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			out := filepath.Join(dir, "out")
			if err := os.Mkdir(out, 0o777); err != nil {
				t.Fatal(err)
			}
			names, err := l.WriteCSV(path, out, ',')
			if err != nil {
				t.Fatal(err)
			}
			if want := []string{filepath.Join(out, "run.log.train"), filepath.Join(out, "run.log.test")}; !slices.Equal(names, want) {
				t.Errorf("wrote %q, want %q", names, want)
			}
			for _, ext := range []string{".train", ".test"} {
				want, err := os.ReadFile("testdata/sgd_step_" + ext[1:] + ".csv")
				if err != nil {
					t.Fatal(err)
				}
				got, err := os.ReadFile(filepath.Join(out, "run.log"+ext))
				if err != nil {
					t.Fatal(err)
				}
				if string(got) != string(want) {
					t.Errorf("%s: got\n%s\nwant\n%s", ext, got, want)
				}
			}
		})
	}
}

// log makes a log of lines, with a time that goes on by a second each.
func logOf(lines ...string) string {
	var b strings.Builder
	for i, l := range lines {
		if !strings.HasPrefix(l, "raw ") {
			l = "I0203 04:05:" + string(rune('0'+i/10)) + string(rune('0'+i%10)) + ".000000  7 solver.cpp:1] " + l
		}
		b.WriteString(strings.TrimPrefix(l, "raw ") + "\n")
	}
	return b.String()
}

func table(t *testing.T, tb *Table) string {
	t.Helper()
	var b strings.Builder
	if err := tb.writeCSV(&b, ','); err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(b.String(), "\r\n", "\n")
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		name        string
		log         string
		train, test string
	}{
		{"a single row, and what is not finite", logOf("Solving x", "Iteration 0, loss = nan", "    Train net output #0: loss = nan (* 1 = nan loss)", "    Train net output #1: peak = -inf", "Iteration 0, lr = 1e-05"),
			"NumIters,Seconds,LearningRate,loss,peak\n0.0,2.0,nan,nan,-inf\n", ""},
		{"several values of one blob", logOf("Iteration 0, Testing net (#0)", "Test net output #0: class = 0.1", "Test net output #1: class = 0.2", "Iteration 5, Testing net (#0)", "Test net output #0: class = 0.3", "Test net output #1: class = 0.4"),
			"", "NumIters,Seconds,LearningRate,class,class#1\n0.0,1.0,nan,0.1,0.2\n5.0,4.0,nan,0.3,0.4\n"},
		{"two test nets", logOf("Iteration 0, lr = 0.5", "Iteration 9, Testing net (#0)", "Test net output #0: acc = 0.25", "Iteration 9, Testing net (#1)", "Test net output #0: acc = 1"),
			"", "NumIters,Seconds,LearningRate,acc,net1.acc\n9.0,2.0,0.5,0.25,1.0\n"},
		{"cut off inside a row", logOf("Solving", "Iteration 1 (2 iter/s, 1s/2 iters), loss = 3", "Train net output #0: a = 1", "Train net output #1: b = 2", "Iteration 2, loss = 3", "Train net output #0: a = 3"),
			"NumIters,Seconds,LearningRate,a,b\n1.0,2.0,nan,1.0,2.0\n2.0,5.0,nan,3.0,\n", ""},
		{"lines of others", logOf("raw Solving nothing", "Solving", "raw Iteration 77", "Iteration 3, loss = 1", "raw Train net output #0: a = 9", "Train net output #0: a = 1.5e+20"),
			"NumIters,Seconds,LearningRate,a\n3.0,4.0,nan,1.5e+20\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := Parse(strings.NewReader(c.log), 2024)
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range []struct {
				what, want string
				table      *Table
			}{{"train", c.train, &l.Train}, {"test", c.test, &l.Test}} {
				if x.want == "" {
					if len(x.table.Rows) > 0 {
						t.Errorf("%s: %d rows, want none", x.what, len(x.table.Rows))
					}
					continue
				}
				if got := table(t, x.table); got != x.want {
					t.Errorf("%s: got\n%s\nwant\n%s", x.what, got, x.want)
				}
			}
		})
	}
}

// TestYear: the year goes on where months go back; the last of February of a
// leap year is a day.
func TestYear(t *testing.T) {
	l, err := Parse(strings.NewReader("I1231 23:59:59.500000 1 s.cpp:1] Solving\nI0101 00:00:00.500000 1 s.cpp:1] Iteration 7, loss = 2\n"+
		"I0228 23:59:59.500000 1 s.cpp:1] Iteration 8, loss = 2\nI0229 00:00:00.000000 1 s.cpp:1] Iteration 9, loss = 2\n"), 2023)
	if err != nil {
		t.Fatal(err)
	}
	if got := l.Losses[0]; got != (Point{7, 1, 2}) {
		t.Errorf("new year: %+v", got)
	}
	if d := l.Losses[2].Seconds - l.Losses[1].Seconds; d != 0.5 {
		t.Errorf("to February 29: %v seconds, want 0.5", d)
	}
}

func TestNoLog(t *testing.T) {
	for _, text := range []string{"", "hello\nworld\n", logOf("Solving", "Iteration 3, lr = 1")} {
		if _, err := Parse(strings.NewReader(text), 2024); err == nil || !strings.Contains(err.Error(), "not the log of a training run") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := ReadFile("testdata/none"); !os.IsNotExist(err) {
		t.Errorf("a missing file: %v", err)
	}
}

// TestSuperseded: a run that went on to 3 and was resumed from 2.
func TestSuperseded(t *testing.T) {
	out := func(i string, v string) []string {
		return []string{"Iteration " + i + ", loss = " + v, "Train net output #0: loss = " + v + " (* 1 = 1 loss)", "Iteration " + i + ", lr = 0.1"}
	}
	lines := slices.Concat([]string{"Solving"}, out("1", "10"), out("2", "20"), out("3", "30"), []string{"Resuming from x", "Solving"}, out("2", "21"), out("4", "40"))
	l, err := Parse(strings.NewReader(logOf(lines...)), 2024)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(l.Train.Rows); n != 5 {
		t.Errorf("%d rows, want all 5", n)
	}
	s := l.Superseded()
	var got, rates []float64
	for _, r := range s.Train.Rows {
		got = append(got, r.Values[0])
	}
	for _, r := range s.Rates {
		rates = append(rates, float64(r.Iter))
	}
	if !slices.Equal(got, []float64{10, 21, 40}) || !slices.Equal(rates, []float64{1, 2, 4}) || len(s.Losses) != 3 {
		t.Errorf("kept %v, rates at %v, %d losses", got, rates, len(s.Losses))
	}
	if !s.Train.Columns[0].Loss {
		t.Error("the output is not known to be part of the loss")
	}
}

func TestPythonFloat(t *testing.T) {
	for v, want := range map[float64]string{0: "0.0", 10: "10.0", 1e15: "1000000000000000.0", 1e16: "1e+16", 1.5e22: "1.5e+22", 0.0001: "0.0001", 0.00001: "1e-05", -2.5: "-2.5",
		0.1: "0.1", math.Inf(-1): "-inf", 1.25e-7: "1.25e-07"} {
		if got := pythonFloat(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
}

func TestCharts(t *testing.T) {
	l, err := ReadFile(goldenLog)
	if err != nil {
		t.Fatal(err)
	}
	names := func(c *plot.Chart) (s []string) {
		for _, x := range c.Series {
			s = append(s, x.Name)
		}
		return s
	}
	charts, err := Charts([]Named{{"a", l}}, ChartOptions{})
	if err != nil || len(charts) != 3 {
		t.Fatalf("%d charts, %v", len(charts), err)
	}
	for i, want := range [][]string{{"training", "test loss"}, {"test acc1", "test acc5"}, {""}} {
		if got := names(charts[i]); !slices.Equal(got, want) {
			t.Errorf("chart %d: %q, want %q", i, got, want)
		}
	}
	loss := charts[0].Series[0]
	if len(loss.X) != 31 || loss.X[30] != 30 || loss.Y[30] != 2.17341 {
		t.Errorf("loss: %d points, the last at %v is %v", len(loss.X), loss.X[30], loss.Y[30])
	}
	// The line of a rate is at the iteration that it was used in.
	if rate := charts[2].Series[0]; rate.Y[11] != 0.006 || rate.Y[12] != 0.003 {
		t.Errorf("rate at 11 and 12: %v, %v", rate.Y[11], rate.Y[12])
	}

	charts, err = Charts([]Named{{"a", l}, {"b", l}}, ChartOptions{Show: []string{"acc5", ShowLoss}, BySeconds: true, Smooth: 3})
	if err != nil || len(charts) != 2 {
		t.Fatalf("%d charts, %v", len(charts), err)
	}
	if got := names(charts[0]); !slices.Equal(got, []string{"a test acc5", "b test acc5"}) {
		t.Errorf("acc5: %q", got)
	}
	if s := charts[0].Series[1]; s.X[0] != 0.028479 || s.Color != 2 {
		t.Errorf("by seconds: begins at %v, color %d", s.X[0], s.Color)
	}
	if got := names(charts[1]); !slices.Equal(got[:2], []string{"a training", "a training, mean of 3"}) {
		t.Errorf("smoothed: %q", got)
	}
	if s := charts[1].Series; math.Abs(s[1].Y[2]-(s[0].Y[0]+s[0].Y[1]+s[0].Y[2])/3) > 1e-12 || s[1].Y[0] != s[0].Y[0] {
		t.Errorf("means: %v of %v", s[1].Y[:3], s[0].Y[:3])
	}
	if _, err := Charts([]Named{{"a", l}}, ChartOptions{Show: []string{"acc"}}); err == nil || !strings.Contains(err.Error(), "acc1, acc5") {
		t.Errorf("an unknown output: %v", err)
	}
}
