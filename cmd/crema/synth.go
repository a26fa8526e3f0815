package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"crema/data/synth"
	"crema/internal/glog"

	"github.com/schollz/progressbar/v3"
)

func init() {
	register(command{
		name:    "synth",
		summary: "draw a data set: images of any shape and number of classes, pairs, scenes to segment, text",
		group:   groupData,
		run:     runSynth,
	})
}

// runSynth draws a set for a task (package synth) into new files below -output
// and says their names and what is in them.
func runSynth(args []string, s stdio) error {
	fs := newFlags("synth", "", s)
	lf := addLogFlags(fs)
	var o synthOptions
	taskName := fs.String("task", "classify", "what to draw, a `task`:"+synthTasksUsage()+"\n")
	shape := fs.String("shape", "", "shape of the images, `CxHxW`; C is 1 or 3 (default by the task: "+synthDefaults(func(t synthTask) string { return t.shape })+")")
	fs.IntVar(&o.classes, "classes", 0, "`number` of classes (default by the task: "+synthDefaults(func(t synthTask) string { return zeroAsNone(t.classes) })+")")
	fs.IntVar(&o.streams, "streams", defaultStreams, "`number` of texts side by side, the columns of text's datasets")
	fs.IntVar(&o.train, "count", 0, "`number` of images to train on, of pairs, or of characters")
	fs.IntVar(&o.test, "test-count", 0, "`number` of them to test on (default a tenth of -count)")
	fs.StringVar(&o.dir, "output", "", "`folder` to write to; made if it does not exist")
	fs.Uint64Var(&o.seed, "seed", 1, "another `seed` gives other images of the same classes")
	fs.StringVar(&o.layout, "layout", "plain", "`names` below -output: plain (train_lmdb, test_lmdb, mean.binaryproto) or ilsvrc12 (those of Caffe's ImageNet files)")
	encoded := fs.Bool("encoded", false, "store encoded images instead of raw pixels")
	encodeType := fs.String("encode_type", "jpg", "`format` of encoded images: jpg or png")
	pos, err := parseFlags(fs, args)
	if err != nil {
		return err
	}
	if len(pos) > 0 {
		return usageError{fmt.Errorf("unexpected argument %q", pos[0])}
	}
	if err := need(fs, "output"); err != nil {
		return err
	}
	task, ok := synthTasks[*taskName]
	if !ok {
		return usageError{fmt.Errorf("-task=%s: must be one of %s", *taskName, strings.Join(synthTaskNames(), ", "))}
	}
	if err := task.refuse(fs, *taskName); err != nil {
		return err
	}
	if o.classes == 0 && !given(fs, "classes") {
		o.classes = task.classes
	}
	if task.shape != "" {
		if *shape == "" {
			*shape = task.shape
		}
		if o.shape, err = parseShape(*shape); err != nil {
			return usageError{fmt.Errorf("-shape=%s: %w", *shape, err)}
		}
	}
	if o.train < 1 {
		return usageError{fmt.Errorf("-count=%d: give a number of images (pairs, characters), at least 1", o.train)}
	}
	if o.test < 0 {
		return usageError{fmt.Errorf("-test-count=%d: must be at least 1", o.test)}
	}
	if o.test == 0 {
		o.test = max(o.train/10, 1)
	}
	if *encoded {
		if o.encoding, err = parseEncoding(*encodeType); err != nil {
			return usageError{err}
		}
	}
	d, err := task.plan(o)
	if err != nil {
		return usageError{err}
	}
	// Nothing is overwritten, and that is said before an hour of drawing.
	for _, p := range d.paths() {
		if _, err := os.Lstat(p); err == nil {
			return fmt.Errorf("%s exists already; delete it or choose another -output", p)
		}
	}
	err = withLog(lf, s, func(ctx context.Context, log *runLog) error { return d.draw(ctx, log) })
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "%s: %s\n", d.what, strings.Join(d.paths(), ", "))
	for _, n := range d.notes {
		fmt.Fprintln(s.out, n)
	}
	return nil
}

// given reports whether a flag was on the command line.
func given(fs *flag.FlagSet, name string) (yes bool) {
	fs.Visit(func(f *flag.Flag) { yes = yes || f.Name == name })
	return yes
}

// parseShape reads CxHxW.
func parseShape(s string) (synth.Shape, error) {
	part := strings.Split(s, "x")
	if len(part) != 3 {
		return synth.Shape{}, errors.New("want channels, height and width, such as 3x256x256")
	}
	var n [3]int
	for i, p := range part {
		var err error
		if n[i], err = strconv.Atoi(p); err != nil {
			return synth.Shape{}, fmt.Errorf("%q is not a number", p)
		}
	}
	shape := synth.Shape{Channels: n[0], Height: n[1], Width: n[2]}
	return shape, shape.Check()
}

func parseEncoding(s string) (synth.Encoding, error) {
	switch strings.ToLower(s) {
	case "jpg", "jpeg":
		return synth.JPEG, nil
	case "png":
		return synth.PNG, nil
	}
	return 0, fmt.Errorf("-encode_type=%s: must be jpg or png", s)
}

// A part is a file or database that is drawn.
type part struct {
	path  string
	write func(ctx context.Context, log *runLog) error
}

// A drawing is what is drawn in one go.
type drawing struct {
	parts []part
	what  string   // is in the parts, in a few words
	notes []string // more to say when it is drawn
}

// paths returns those of the parts.
func (d *drawing) paths() []string {
	var paths []string
	for _, p := range d.parts {
		paths = append(paths, p.path)
	}
	return paths
}

// draw writes those parts that do not exist. Every part appears complete or
// not at all, so a drawing that was cut short can be taken up again.
func (d *drawing) draw(ctx context.Context, log *runLog) error {
	for _, p := range d.parts {
		if _, err := os.Lstat(p.path); err == nil {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(p.path), 0o755); err != nil {
			return err
		}
		if err := p.write(ctx, log); err != nil {
			return err
		}
	}
	return nil
}

// counted runs work that draws count items into path, with a progress line and
// a line in the log before and after.
func counted(log *runLog, path string, count int, items string, work func(progress func(done int)) error) error {
	glog.Infof(log.Logger, "Drawing %d %s into %s", count, items, path)
	begin := time.Now()
	unit, _, _ := strings.Cut(items, " ")
	bar := log.console.startCount(count, unit)
	defer bar.stop()
	if err := work(bar.update); err != nil {
		return err
	}
	bar.stop()
	glog.Infof(log.Logger, "Drew %d %s in %.3g s", count, unit, time.Since(begin).Seconds())
	return nil
}

// A countBar is the progress line of work that counts up to a total. Its
// methods do nothing on a nil countBar, which is what a console that is no
// terminal gives.
type countBar struct {
	c   *console
	bar *progressbar.ProgressBar
}

// startCount shows a progress line for total items of a unit.
func (c *console) startCount(total int, unit string) *countBar {
	if c.columns == nil {
		return nil
	}
	bar := progressbar.NewOptions(total,
		progressbar.OptionSetWriter(c.w),
		progressbar.OptionUseANSICodes(true),
		progressbar.OptionSetWidth(20),
		progressbar.OptionShowCount(),
		progressbar.OptionShowIts(),
		progressbar.OptionSetItsString(unit),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionSetTheme(progressbar.ThemeASCII))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bar = bar
	return &countBar{c, bar}
}

// update says that done items are done.
func (b *countBar) update(done int) {
	if b == nil {
		return
	}
	b.c.mu.Lock()
	defer b.c.mu.Unlock()
	b.bar.Set(done)
}

// stop removes the progress line.
func (b *countBar) stop() {
	if b == nil {
		return
	}
	b.c.hideProgress()
	b.bar.Exit()
}
