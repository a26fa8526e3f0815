package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"crema/asm"
	"crema/bench"
)

// A task is a piece of work that programs do in their own words.
type task struct {
	name  string
	flops float64 // operations, 0 if they do not matter
	bytes float64 // memory traffic at least, 0 likewise
	// request is what each program is asked; one not named gets def, or is
	// not asked if there is none.
	def     string
	request map[string]string
	heavy   bool // it is the whole of a program's work
}

// A part is one of the comparisons.
type part struct {
	title string
	peers func(*options) []string
	tasks func(*options) []task
	table func(*strings.Builder, *options, *results)
	plot  func(*results) (*chart, error)
}

var parts = map[string]*part{
	"sgemm": {"SGEMM", libraries, sgemmTasks, sgemmTable, flopsChart},
	"fc":    {"Fully connected layers", libraries, fcTasks, fcTable, nil},
	"conv":  {"3×3 convolutions", func(*options) []string { return []string{"oneDNN"} }, convTasks, convTable, flopsChart},
	"vgg":   {"VGG-16", func(o *options) []string { return o.torch }, vggTasks, vggTable, nil},
}

func libraries(*options) []string { return []string{"OpenBLAS", "oneDNN"} }

// results are the medians of a part with a number of threads.
type results struct {
	title    string
	threads  int
	programs []string // ours first
	tasks    []task
	// seconds and notes by task name and program.
	seconds map[string]map[string]float64
	notes   map[string]map[string]string
	peak    float64 // operations a second, 0 if unknown
}

// peakTurns is how often a peak loop turns: some 20 ms.
const peakTurns = 1 << 22

func (o *options) measure(threads int, p *part) (_ *results, err error) {
	names := p.peers(o)
	ps, err := o.launch.launch(threads, names)
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, q := range ps {
			err = errors.Join(err, q.stop())
		}
	}()
	r := &results{
		title: p.title, threads: threads, programs: append([]string{ours}, names...),
		seconds: map[string]map[string]float64{}, notes: map[string]map[string]string{},
	}
	isa := o.launch.isa
	if isa == "" {
		isa = best()
	}
	if _, flops := peakLoop(isa); flops > 0 {
		r.tasks = append(r.tasks, task{name: "peak", flops: float64(threads) * peakTurns * flops,
			request: map[string]string{ours: fmt.Sprint("peak ", peakTurns)}})
	}
	for _, t := range p.tasks(o) {
		if o.shapes == "" || strings.Contains(t.name, o.shapes) || t.heavy {
			r.tasks = append(r.tasks, t)
		}
	}
	samples := map[string]map[string][]float64{}
	for _, t := range r.tasks {
		samples[t.name], r.seconds[t.name], r.notes[t.name] = map[string][]float64{}, map[string]float64{}, map[string]string{}
	}
	for round := range o.rounds {
		for _, q := range ps {
			for _, t := range r.tasks {
				request, ok := t.request[q.name]
				if !ok {
					request = t.def
				}
				if request == "" {
					continue
				}
				a, err := q.ask(request)
				if err != nil {
					return nil, err
				}
				samples[t.name][q.name] = append(samples[t.name][q.name], a.seconds)
				if round == 0 { // memory grows with later requests
					r.notes[t.name][q.name] = a.note
				}
			}
			time.Sleep(pause)
		}
		fmt.Fprintf(os.Stderr, "%s, %s: round %d of %d\n", p.title, plural(threads, "thread"), round+1, o.rounds)
	}
	for name, by := range samples {
		for program, s := range by {
			r.seconds[name][program] = median(s)
		}
	}
	if s, ok := samples["peak"]; ok {
		r.peak = r.tasks[0].flops / slices.Min(s[ours])
		r.tasks = r.tasks[1:]
	}
	return r, nil
}

// best is the instruction set that crema chooses by itself.
func best() string { return asm.Available()[len(asm.Available())-1] }

func median(s []float64) float64 {
	s = slices.Sorted(slices.Values(s))
	n := len(s)
	return (s[(n-1)/2] + s[n/2]) / 2
}

// speedup is the best peer's time over ours, with the peer's name; 0 if none
// was asked.
func (r *results) speedup(task string) (ratio float64, peer string) {
	least := 0.0
	for _, p := range r.programs[1:] {
		if s, ok := r.seconds[task][p]; ok && (least == 0 || s < least) {
			least, peer = s, p
		}
	}
	return least / r.seconds[task][ours], peer
}

func letter(t bool) string {
	if t {
		return "T"
	}
	return "N"
}

func gemmRequest(g bench.GEMM) string {
	return fmt.Sprintf("sgemm %s %s %d %d %d", letter(g.TransA), letter(g.TransB), g.M, g.N, g.K)
}

// gemms returns the square products and those of VGG-16's convolutions.
func gemms() []bench.GEMM {
	all := bench.Squares()
	for _, c := range bench.Convs(1) {
		for _, d := range bench.Directions {
			if d == bench.Data && c.C == 3 {
				continue // the gradient of the image is not needed
			}
			all = append(all, c.GEMM(d))
		}
	}
	return all
}

func gemmName(g bench.GEMM) string { return g.Name + " " + g.Transposition() }

func sgemmTasks(o *options) []task {
	var all []task
	for _, g := range gemms() {
		variants := []bench.GEMM{g}
		if o.full {
			variants = g.Transpositions()
		}
		for _, v := range variants {
			all = append(all, task{name: gemmName(v), flops: v.Flops(), def: gemmRequest(v)})
		}
	}
	return all
}

// What limits a fully connected layer, in the names of tasks.
const (
	readLimit   = " read"
	modifyLimit = " read-modify-write"
)

func fcTasks(*options) []task {
	var all []task
	for _, f := range bench.FCs(6) {
		// Arrays as large as the layer's weights, and the same memory: of small
		// ones a part is still in the level-3 cache.
		n := f.In * f.Out
		all = append(all,
			task{name: f.Name + readLimit, bytes: 4 * float64(n), request: map[string]string{ours: fmt.Sprint("read ", n)}, heavy: true},
			task{name: f.Name + modifyLimit, bytes: 16 * float64(n), request: map[string]string{ours: fmt.Sprint("rmw ", n)}, heavy: true})
		for _, d := range bench.Directions {
			g := f.GEMM(d)
			t := task{name: g.Name, flops: g.Flops(), bytes: 4 * float64(f.In*f.Out), def: gemmRequest(g)}
			direction := d.String()
			if d == bench.Weights {
				// Ours makes the step as well: weights and history are read and written.
				direction, t.name, t.bytes = "update", f.Name+" weights + update", 4*t.bytes
			}
			t.request = map[string]string{ours: fmt.Sprintf("fc %s %d %d %d", direction, f.N, f.In, f.Out)}
			all = append(all, t)
		}
	}
	return all
}

func convTasks(o *options) []task {
	var all []task
	layout := "blocked"
	if o.nchw {
		layout = "nchw"
	}
	for _, c := range bench.Convs(6) {
		for _, d := range bench.Directions {
			if d == bench.Data && c.C == 3 {
				continue
			}
			request := fmt.Sprintf("conv %s %d %d %d %d", d, c.N, c.C, c.H, c.K)
			all = append(all, task{name: c.Name + " " + d.String(), flops: c.Flops(), def: request,
				request: map[string]string{ours: request + " " + layout}})
		}
	}
	return all
}

func vggTasks(*options) []task {
	return []task{
		{name: "training iteration, batch 6", def: "vgg train 6", heavy: true},
		{name: "forward, batch 6", def: "vgg forward 6", heavy: true},
		{name: "forward, batch 1", def: "vgg forward 1", heavy: true},
	}
}
