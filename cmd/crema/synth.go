package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"crema/data"
	"crema/data/synth"
	"crema/internal/atomicfile"
	"crema/internal/glog"
	"crema/prototxt"

	"github.com/schollz/progressbar/v3"
)

func init() {
	register(command{
		name:    "synth",
		summary: "draw a labelled image set of any shape and number of classes",
		group:   groupData,
		run:     runSynth,
	})
}

// layouts says for each -layout where the parts of a set lie below -output.
var layouts = map[string]struct{ train, test, mean, classes string }{
	"plain": {"train_lmdb", "test_lmdb", "mean.binaryproto", "classes.txt"},
	// The names in Caffe's ImageNet files, below a root of data sets.
	"ilsvrc12": {
		"imagenet/ilsvrc12_train_lmdb", "imagenet/ilsvrc12_val_lmdb",
		"imagenet/ilsvrc12/imagenet_mean.binaryproto", "imagenet/ilsvrc12/classes.txt",
	},
}

// runSynth draws a set of signs (package synth) into LMDBs, with a mean file
// of the training images and the names of the classes, one a line.
func runSynth(args []string, s stdio) error {
	fs := newFlags("synth", "", s)
	lf := addLogFlags(fs)
	shapeText := fs.String("shape", "3x256x256", "shape of the images, `CxHxW`; C is 1 or 3")
	classes := fs.Int("classes", 1000, "`number` of classes")
	count := fs.Int("count", 0, "`number` of images to train on")
	testCount := fs.Int("test-count", 0, "`number` of images to test on (default a tenth of -count)")
	output := fs.String("output", "", "`folder` to write to; made if it does not exist")
	seed := fs.Uint64("seed", 1, "another `seed` gives other images of the same classes")
	layout := fs.String("layout", "plain", "`names` below -output: plain (train_lmdb, test_lmdb, mean.binaryproto) or ilsvrc12 (those of Caffe's ImageNet files)")
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
	shape, err := parseShape(*shapeText)
	if err != nil {
		return usageError{fmt.Errorf("-shape=%s: %w", *shapeText, err)}
	}
	set, err := synth.NewSigns(shape, *classes, *seed)
	if err != nil {
		return usageError{err}
	}
	if *count < 1 {
		return usageError{fmt.Errorf("-count=%d: give a number of images, at least 1", *count)}
	}
	if *testCount < 0 {
		return usageError{fmt.Errorf("-test-count=%d: must be at least 1", *testCount)}
	}
	names, ok := layouts[*layout]
	if !ok {
		return usageError{fmt.Errorf("-layout=%s: must be plain or ilsvrc12", *layout)}
	}
	enc := synth.Raw
	if *encoded {
		if enc, err = parseEncoding(*encodeType); err != nil {
			return usageError{err}
		}
	}
	d := drawing{
		set: set, encoding: enc, train: *count, test: *testCount,
		trainDB: filepath.Join(*output, names.train), testDB: filepath.Join(*output, names.test),
		mean: filepath.Join(*output, names.mean), classes: filepath.Join(*output, names.classes),
	}
	if d.test == 0 {
		d.test = max(d.train/10, 1)
	}
	// Nothing is overwritten, and that is said before an hour of drawing.
	for _, p := range []string{d.trainDB, d.testDB, d.mean, d.classes} {
		if _, err := os.Lstat(p); err == nil {
			return fmt.Errorf("%s exists already; delete it or choose another -output", p)
		}
	}
	err = withLog(lf, s, func(ctx context.Context, log *runLog) error { return d.draw(ctx, log) })
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "%d training and %d test images %v of %d classes: %s, %s, %s, %s\n",
		d.train, d.test, shape, set.Classes(), d.trainDB, d.testDB, d.mean, d.classes)
	return nil
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

// A drawing is a set to be stored and where its parts go.
type drawing struct {
	set                            synth.Set
	encoding                       synth.Encoding
	train, test                    int // numbers of images
	trainDB, testDB, mean, classes string
}

// draw writes those parts that do not exist. Every part appears complete or
// not at all, so a drawing that was cut short can be taken up again.
func (d *drawing) draw(ctx context.Context, log *runLog) error {
	for _, p := range []struct {
		path  string
		write func() error
	}{
		{d.trainDB, func() error { return d.drawDB(ctx, log, d.trainDB, "train", d.train) }},
		{d.testDB, func() error { return d.drawDB(ctx, log, d.testDB, "test", d.test) }},
		{d.mean, func() error {
			mean, err := data.ComputeMean(ctx, d.trainDB, data.LMDB, log.Logger)
			if err != nil {
				return err
			}
			return prototxt.WriteBinary(d.mean, mean)
		}},
		{d.classes, d.writeClasses},
	} {
		if _, err := os.Lstat(p.path); err == nil {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(p.path), 0o755); err != nil {
			return err
		}
		if err := p.write(); err != nil {
			return err
		}
	}
	return nil
}

func (d *drawing) drawDB(ctx context.Context, log *runLog, path, split string, count int) error {
	glog.Infof(log.Logger, "Drawing %d images %v into %s", count, d.set.Shape(), path)
	begin := time.Now()
	bar := log.console.startCount(count, "images")
	defer bar.stop()
	err := synth.Write(ctx, path, d.set, split, count, synth.WriteOptions{Encoding: d.encoding, Progress: bar.update})
	if err != nil {
		return err
	}
	bar.stop()
	glog.Infof(log.Logger, "Drew %d images in %.3g s", count, time.Since(begin).Seconds())
	return nil
}

func (d *drawing) writeClasses() error {
	return atomicfile.Write(d.classes, func(w io.Writer) error {
		for i := range d.set.Classes() {
			if _, err := fmt.Fprintln(w, d.set.ClassName(i)); err != nil {
				return err
			}
		}
		return nil
	})
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
