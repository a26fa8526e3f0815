package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"crema/graph"
	"crema/internal/glog"
	"crema/netinfo"
	"crema/tensor"
)

// statusDiffer is the exit status of compare_models where the files differ.
const statusDiffer = 3

func init() {
	register(command{name: "compare_models", args: "WEIGHTS WEIGHTS",
		summary: "tell how the parameters of two weight files differ", group: groupLook, run: runCompareModels})
}

// runCompareModels compares two files of weights, binary or HDF5. Its status is 0
// if they are the same, 3 if not.
func runCompareModels(args []string, s stdio) error {
	fs := newFlags("compare_models", "WEIGHTS WEIGHTS", s)
	lf := addLogFlags(fs)
	tolerance := fs.Float64("tolerance", 0, "largest `difference` that counts as the same, as a share of a parameter's largest magnitude")
	asJSON := fs.Bool("json", false, "write JSON")
	pos, err := parseFlags(fs, args)
	if err != nil {
		return err
	}
	if len(pos) != 2 {
		return usageError{fmt.Errorf("wants two weight files, got %d arguments", len(pos))}
	}
	if !(*tolerance >= 0) {
		return usageError{fmt.Errorf("-tolerance=%g: must not be negative", *tolerance)}
	}
	return withLog(lf, s, func(context.Context, *runLog) error {
		c, err := graph.CompareWeights(pos[0], pos[1])
		if err != nil {
			return err
		}
		if *asJSON {
			e := json.NewEncoder(s.out)
			e.SetIndent("", " ")
			err = e.Encode(c)
		} else {
			err = writeComparison(s.out, c, pos, *tolerance)
		}
		if err != nil {
			return err
		}
		if !c.Same(*tolerance) {
			return exitError(statusDiffer)
		}
		return nil
	})
}

// writeComparison writes a line for each parameter, and what only one file has.
func writeComparison(w io.Writer, c *graph.Comparison, files []string, tolerance float64) error {
	rows := [][]string{{"layer", "", "shape", "differ", "largest difference", "mean", "by largest value"}}
	differ := 0
	for i := range c.Params {
		d := &c.Params[i]
		row := []string{d.Layer, strconv.Itoa(d.Index), tensor.FormatShape(d.Shape)}
		switch {
		case d.Problem != "":
			row = append(row, d.Problem)
		case d.Different == 0:
			row = append(row, "-")
		default:
			row = append(row, fmt.Sprintf("%d of %d", d.Different, d.Count), glog.G(d.Max), glog.G(d.Mean), glog.G(d.Relative()))
		}
		if d.NotFinite > 0 {
			row = append(row, fmt.Sprintf("%d not finite in one file", d.NotFinite))
		}
		if !d.Same(tolerance) {
			differ++
		}
		rows = append(rows, row)
	}
	var b strings.Builder
	if len(c.Params) > 0 {
		if err := netinfo.WriteColumns(&b, rows, 3); err != nil {
			return err
		}
		b.WriteByte('\n')
	}
	for i, only := range [][]string{c.OnlyA, c.OnlyB} {
		if len(only) > 0 {
			fmt.Fprintf(&b, "only in %s: layer %s\n", files[i], strings.Join(only, ", "))
		}
	}
	within := ""
	if tolerance > 0 {
		within = fmt.Sprintf(" (within %g)", tolerance)
	}
	if len(c.Params) == 0 {
		b.WriteString("no layer with parameters is in both\n")
	} else {
		fmt.Fprintf(&b, "%d of %d parameters that both have are the same%s\n", len(c.Params)-differ, len(c.Params), within)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
