package main

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"

	"crema/bench"
	"crema/internal/atomicfile"
)

// heading writes the title of a table for a number of threads.
func heading(b *strings.Builder, r *results) {
	fmt.Fprintf(b, "\n**%s**", plural(r.threads, "thread"))
	if r.peak > 0 {
		fmt.Fprintf(b, ", FMA peak %.0f GFLOP/s", r.peak/1e9)
	}
	b.WriteString("\n\n")
}

// row writes a row of a Markdown table.
func row(b *strings.Builder, cells ...string) {
	b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
}

// header writes the first two rows: the first column holds names, the others
// numbers.
func header(b *strings.Builder, cells ...string) {
	row(b, cells...)
	b.WriteString("|---" + strings.Repeat("|---:", len(cells)-1) + "|\n")
}

// A mean is a geometric mean.
type mean struct {
	sum float64
	n   int
}

func (m *mean) add(v float64) {
	if v > 0 {
		m.sum += math.Log(v)
		m.n++
	}
}

func (m *mean) value() float64 { return math.Exp(m.sum / float64(max(m.n, 1))) }

func (m *mean) String() string {
	if m.n == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", m.value())
}

// orDash is the mean, or a dash if there is none.
func orDash(m *mean) string {
	if m.n == 0 {
		return "–"
	}
	return m.String()
}

// gflops is a task's speed in a program, "" if it was not asked.
func (r *results) gflops(t task, program string) string {
	s, ok := r.seconds[t.name][program]
	if !ok {
		return ""
	}
	return fmt.Sprintf("%.0f", t.flops/s/1e9)
}

func (r *results) percentOfPeak(t task) string {
	if r.peak == 0 {
		return ""
	}
	return fmt.Sprintf("%.0f", 100*t.flops/r.seconds[t.name][ours]/r.peak)
}

// speeds writes the table that sgemm and conv have: a row per task with all
// programs' GFLOP/s and the ratio to the best peer; why, if not nil, adds a
// last column.
func speeds(b *strings.Builder, r *results, tasks []task, first, last string, why func(task) string) {
	cells := append([]string{first}, r.programs...)
	cells = append(cells, "% of peak", "ratio")
	if why != nil {
		cells = append(cells, last)
	}
	header(b, cells...)
	for _, t := range tasks {
		ratio, _ := r.speedup(t.name)
		cells := []string{t.name}
		for _, p := range r.programs {
			cells = append(cells, r.gflops(t, p))
		}
		cells = append(cells, r.percentOfPeak(t), fmt.Sprintf("%.2f", ratio))
		if why != nil {
			cells = append(cells, why(t))
		}
		row(b, cells...)
	}
}

func sgemmTable(b *strings.Builder, o *options, r *results) {
	heading(b, r)
	byName := map[string]task{}
	for _, t := range r.tasks {
		byName[t.name] = t
	}
	var natural []task
	var square, vgg mean
	squares := len(bench.Squares())
	for i, g := range gemms() {
		t, ok := byName[gemmName(g)]
		if !ok {
			continue
		}
		natural = append(natural, t)
		ratio, _ := r.speedup(t.name)
		if i < squares {
			square.add(ratio)
		} else {
			vgg.add(ratio)
		}
	}
	speeds(b, r, natural, "GFLOP/s", "", nil)
	fmt.Fprintf(b, "\nGeometric mean of the ratios to the best peer: squares %v, VGG-16's shapes %v.", orDash(&square), orDash(&vgg))
	if len(natural) > 0 {
		n := r.notes[natural[0].name]
		fmt.Fprintf(b, " crema's kernel: %s; OpenBLAS's kernels: %s.", n[ours], n["OpenBLAS"])
	}
	b.WriteString("\n")
	if !o.full {
		return
	}
	b.WriteString("\nRatio to the best peer in the four transpositions:\n\n")
	header(b, "m×n×k", "NN", "NT", "TN", "TT")
	var means [4]mean
	for _, g := range gemms() {
		cells := []string{g.Name}
		for i, v := range g.Transpositions() {
			if _, ok := byName[gemmName(v)]; !ok {
				break
			}
			ratio, _ := r.speedup(gemmName(v))
			means[i].add(ratio)
			cells = append(cells, fmt.Sprintf("%.2f", ratio))
		}
		if len(cells) > 1 {
			for len(cells) < 5 {
				cells = append(cells, "")
			}
			row(b, cells...)
		}
	}
	row(b, "geometric mean", means[0].String(), means[1].String(), means[2].String(), means[3].String())
}

func convTable(b *strings.Builder, _ *options, r *results) {
	heading(b, r)
	speeds(b, r, r.tasks, "GFLOP/s of the direct method", "crema by; oneDNN by", func(t task) string {
		return r.notes[t.name][ours] + "; " + r.notes[t.name]["oneDNN"]
	})
	var all mean
	by := map[string]*mean{}
	for _, t := range r.tasks {
		ratio, _ := r.speedup(t.name)
		all.add(ratio)
		_, d, _ := strings.Cut(t.name, " ")
		if by[d] == nil {
			by[d] = &mean{}
		}
		by[d].add(ratio)
	}
	fmt.Fprintf(b, "\nGeometric mean of the ratios: %v", &all)
	for _, d := range bench.Directions {
		if m := by[d.String()]; m != nil {
			fmt.Fprintf(b, ", %s %v", d, m)
		}
	}
	b.WriteString(".\n")
	total := map[string]float64{}
	complete := true
	for _, c := range bench.Convs(6) {
		for _, d := range bench.Directions {
			if d == bench.Data && c.C == 3 {
				continue
			}
			for _, p := range r.programs {
				s, ok := r.seconds[c.Name+" "+d.String()][p]
				complete = complete && ok
				total[p] += float64(c.Layers) * s
			}
		}
	}
	if complete {
		fmt.Fprintf(b, "The thirteen layers in all directions: crema %.3f s, oneDNN %.3f s.\n", total[ours], total["oneDNN"])
	}
}

func fcTable(b *strings.Builder, _ *options, r *results) {
	heading(b, r)
	cells := append([]string{"batch 6, ms"}, r.programs...)
	header(b, append(cells, "ratio", "crema GB/s", "% of the limit")...)
	limit := map[string]float64{}
	for _, t := range r.tasks {
		cells := []string{t.name}
		for _, p := range r.programs {
			if s, ok := r.seconds[t.name][p]; ok {
				cells = append(cells, fmt.Sprintf("%.2f", s*1e3))
			} else {
				cells = append(cells, "")
			}
		}
		ratio, _ := r.speedup(t.name)
		speed := t.bytes / r.seconds[t.name][ours]
		ratioCell, percent := "", ""
		if t.flops == 0 {
			limit[t.name] = speed
		} else {
			layer, direction, _ := strings.Cut(t.name, " ")
			bound := limit[layer+readLimit]
			if strings.HasSuffix(direction, "update") {
				bound = limit[layer+modifyLimit]
			}
			ratioCell, percent = fmt.Sprintf("%.2f", ratio), fmt.Sprintf("%.0f", 100*speed/bound)
		}
		row(b, append(cells, ratioCell, fmt.Sprintf("%.1f", speed/1e9), percent)...)
	}
}

func vggTable(b *strings.Builder, _ *options, r *results) {
	heading(b, r)
	cells := []string{"seconds"}
	for _, t := range r.tasks {
		cells = append(cells, t.name)
	}
	header(b, append(cells, "resident memory while training")...)
	for _, p := range r.programs {
		cells := []string{p}
		for _, t := range r.tasks {
			cells = append(cells, fmt.Sprintf("%.3f", r.seconds[t.name][p]))
		}
		row(b, append(cells, r.notes[r.tasks[0].name][p])...)
	}
	cells = []string{"fastest PyTorch over crema"}
	for _, t := range r.tasks {
		ratio, _ := r.speedup(t.name)
		cells = append(cells, fmt.Sprintf("%.2f", ratio))
	}
	row(b, append(cells, "")...)
}

// block finds what stands between the markers of a name in a document.
func block(doc []byte, name string) (begin, end int, err error) {
	first, last := []byte("<!-- bench:"+name+" -->\n"), []byte("<!-- /bench:"+name+" -->")
	begin, end = bytes.Index(doc, first), bytes.Index(doc, last)
	if begin < 0 || end < begin {
		return 0, 0, fmt.Errorf("no lines %s and %s", bytes.TrimSpace(first), last)
	}
	return begin + len(first), end, nil
}

// checkBlock reports whether a document has the markers of a name.
func checkBlock(file, name string) error {
	doc, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if _, _, err := block(doc, name); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

// replaceBlock replaces what stands between the markers of a name in a
// document.
func replaceBlock(file, name, text string) error {
	doc, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	begin, end, err := block(doc, name)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	out := slices.Concat(doc[:begin], []byte("\n"+strings.Trim(text, "\n")+"\n\n"), doc[end:])
	return atomicfile.WriteBytes(file, out)
}
