package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"crema/plot"
	"crema/trainlog"
)

func init() {
	register(command{name: "plot_log", args: "OUTPUT_FILE LOG...",
		summary: "draw loss, accuracy and learning rate of training logs as SVG or PNG", group: groupLook, run: runPlotLog})
}

// runPlotLog draws logs over each other, a chart for each quantity, all in one
// picture.
func runPlotLog(args []string, s stdio) error {
	fs := newFlags("plot_log", "OUTPUT_FILE LOG...", s)
	lf := addLogFlags(fs)
	var o trainlog.ChartOptions
	show := fs.String("show", "", "`quantities`, separated by commas, each with a chart: loss, accuracy, rate, or the name of an output (default the first three)")
	fs.BoolVar(&o.BySeconds, "seconds", false, "draw by seconds, not by iterations")
	fs.IntVar(&o.Smooth, "smooth", 1, "also draw means of this `number` of displays of training")
	fs.BoolVar(&o.LogY, "logy", false, "make the axis of the loss logarithmic")
	pos, err := parseFlags(fs, args)
	if err != nil {
		return err
	}
	if len(pos) < 2 {
		return usageError{fmt.Errorf("wants OUTPUT_FILE LOG..., got %d arguments", len(pos))}
	}
	out, files := pos[0], pos[1:]
	if err := plot.CheckName(out); err != nil {
		return usageError{err}
	}
	if o.Smooth < 1 {
		return usageError{fmt.Errorf("-smooth=%d: must be at least 1", o.Smooth)}
	}
	o.Show = splitList(*show)
	return withLog(lf, s, func(_ context.Context, log *runLog) error {
		var logs []trainlog.Named
		for i, name := range shortNames(files) {
			l, err := trainlog.ReadFile(files[i])
			if err != nil {
				return err
			}
			logs = append(logs, trainlog.Named{Name: name, Log: l})
		}
		charts, err := trainlog.Charts(logs, o)
		if err != nil {
			return fmt.Errorf("-show: %w", err)
		}
		if len(charts) == 0 {
			return fmt.Errorf("%s: nothing to draw", strings.Join(files, ", "))
		}
		charts[0].Title = strings.Join(shortNames(files), ", ") + ": " + charts[0].Title
		if len(files) > 3 {
			charts[0].Title = fmt.Sprintf("%d logs: %s", len(files), strings.SplitAfterN(charts[0].Title, ": ", 2)[1])
		}
		if err := plot.SaveStack(out, charts); err != nil {
			return err
		}
		log.Info("Drew " + out)
		return nil
	})
}

// shortNames returns the files' names without folders or, if two are the same,
// as they are.
func shortNames(files []string) []string {
	seen := map[string]bool{}
	var short []string
	for _, f := range files {
		b := filepath.Base(f)
		if seen[b] {
			return files
		}
		seen[b] = true
		short = append(short, b)
	}
	return short
}
