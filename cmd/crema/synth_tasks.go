package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"crema/data"
	"crema/data/synth"
	"crema/internal/atomicfile"
	"crema/prototxt"
)

// synthOptions are what the flags of synth say.
type synthOptions struct {
	dir         string
	train, test int // numbers of images, pairs or characters
	seed        uint64
	shape       synth.Shape
	classes     int
	layout      string
	encoding    synth.Encoding
	streams     int
}

// A synthTask is a kind of data set that synth draws.
type synthTask struct {
	summary string
	shape   string // default of -shape; empty if there are no images
	classes int    // default of -classes; 0 if they are not a matter of choice
	takes   string // flags that not every task has a use for
	plan    func(o synthOptions) (*drawing, error)
}

// defaultStreams is the batch size that text's recurrent nets get.
const (
	defaultStreams = 32
	maxStreams     = 1 << 16
)

// synthTasks are the tasks by the names that -task takes.
var synthTasks = map[string]synthTask{
	"classify": {
		summary: "letters on patterns, one class an image",
		shape:   "3x256x256", classes: 1000, takes: "shape classes layout encoded encode_type",
		plan: func(o synthOptions) (*drawing, error) {
			set, err := synth.NewSigns(o.shape, o.classes, o.seed)
			if err != nil {
				return nil, err
			}
			return planImages(set, o)
		},
	},
	"digits": {
		summary: "digits as MNIST has them",
		shape:   "1x28x28", takes: "shape encoded encode_type",
		plan: func(o synthOptions) (*drawing, error) {
			set, err := synth.NewPlainDigits(o.shape, o.seed)
			if err != nil {
				return nil, err
			}
			return planImages(set, o)
		},
	},
	"pairs": {
		summary: "pairs of such digits in the channels of one image, label 1 if they are the same",
		shape:   "1x28x28", takes: "shape",
		plan: planPairs,
	},
	"segmentation": {
		summary: "figures on patterns, and label images of their pixels",
		shape:   "3x64x64", classes: synth.MaxSceneClasses, takes: "shape classes encoded encode_type",
		plan: planScenes,
	},
	"text": {
		summary: "sentences, as HDF5 files for recurrent nets",
		takes:   "streams",
		plan:    planText,
	},
}

func synthTaskNames() []string { return slices.Sorted(maps.Keys(synthTasks)) }

// synthTasksUsage lists the tasks, one a line.
func synthTasksUsage() string {
	var s string
	for _, n := range synthTaskNames() {
		s += fmt.Sprintf("\n  %-13s %s", n, synthTasks[n].summary)
	}
	return s
}

// synthDefaults lists the tasks that have a default, with it.
func synthDefaults(of func(synthTask) string) string {
	var s []string
	for _, n := range synthTaskNames() {
		if v := of(synthTasks[n]); v != "" {
			s = append(s, n+" "+v)
		}
	}
	return strings.Join(s, ", ")
}

func zeroAsNone(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

// refuse reports a flag that was given and that the task has no use for.
func (t synthTask) refuse(fs *flag.FlagSet, name string) (err error) {
	some := map[string]bool{}
	for _, o := range synthTasks {
		for _, f := range strings.Fields(o.takes) {
			some[f] = true
		}
	}
	fs.Visit(func(f *flag.Flag) {
		if some[f.Name] && !slices.Contains(strings.Fields(t.takes), f.Name) {
			err = cmp.Or(err, error(usageError{fmt.Errorf("-%s has no meaning for -task=%s", f.Name, name)}))
		}
	})
	return err
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

// planImages plans a set of single images: two LMDBs, the mean of the training
// images, and the names of the classes, one a line.
func planImages(set synth.Set, o synthOptions) (*drawing, error) {
	names, ok := layouts[o.layout]
	if !ok {
		return nil, fmt.Errorf("-layout=%s: must be plain or ilsvrc12", o.layout)
	}
	trainDB := filepath.Join(o.dir, names.train)
	mean := filepath.Join(o.dir, names.mean)
	return &drawing{
		what: fmt.Sprintf("%d training and %d test images %v of %d classes", o.train, o.test, set.Shape(), set.Classes()),
		parts: []part{
			dbPart(trainDB, set, "train", o.train, o.encoding),
			dbPart(filepath.Join(o.dir, names.test), set, "test", o.test, o.encoding),
			{mean, func(ctx context.Context, log *runLog) error {
				m, err := data.ComputeMean(ctx, trainDB, data.LMDB, log.Logger)
				if err != nil {
					return err
				}
				return prototxt.WriteBinary(mean, m)
			}},
			classesPart(filepath.Join(o.dir, names.classes), set.Classes(), set.ClassName),
		},
	}, nil
}

func planPairs(o synthOptions) (*drawing, error) {
	set, err := synth.NewPairs(o.shape, o.seed)
	if err != nil {
		return nil, err
	}
	return &drawing{
		what: fmt.Sprintf("%d training and %d test pairs of images %v", o.train, o.test, o.shape),
		parts: []part{
			dbPart(filepath.Join(o.dir, "train_lmdb"), set, "train", o.train, synth.Raw),
			dbPart(filepath.Join(o.dir, "test_lmdb"), set, "test", o.test, synth.Raw),
		},
	}, nil
}

// planScenes plans pictures and, under the same keys, label images. Those are
// never stored as JPEG, which would change labels.
func planScenes(o synthOptions) (*drawing, error) {
	set, err := synth.NewScenes(o.shape, o.classes, o.seed)
	if err != nil {
		return nil, err
	}
	labels := o.encoding
	if labels == synth.JPEG {
		labels = synth.PNG
	}
	return &drawing{
		what: fmt.Sprintf("%d training and %d test images %v with label images of %d classes", o.train, o.test, o.shape, set.Classes()),
		parts: []part{
			dbPart(filepath.Join(o.dir, "train_lmdb"), set.Images(), "train", o.train, o.encoding),
			dbPart(filepath.Join(o.dir, "train_label_lmdb"), set.Labels(), "train", o.train, labels),
			dbPart(filepath.Join(o.dir, "test_lmdb"), set.Images(), "test", o.test, o.encoding),
			dbPart(filepath.Join(o.dir, "test_label_lmdb"), set.Labels(), "test", o.test, labels),
			classesPart(filepath.Join(o.dir, "classes.txt"), set.Classes(), set.ClassName),
		},
		notes: []string{fmt.Sprintf("Pixels that an edge runs through have label %d, to be ignored.", synth.IgnoreLabel)},
	}, nil
}

// planText plans two HDF5 files, a list of each for HDF5Data's source, and the
// names of the characters.
func planText(o synthOptions) (*drawing, error) {
	if o.streams < 1 || o.streams > maxStreams {
		return nil, fmt.Errorf("-streams=%d: must be 1 to %d", o.streams, maxStreams)
	}
	d := &drawing{what: fmt.Sprintf("%d training and %d test characters in %d streams", o.train, o.test, o.streams)}
	for _, split := range []struct {
		name  string
		count int
	}{{"train", o.train}, {"test", o.test}} {
		file := filepath.Join(o.dir, split.name+".h5")
		rows := (split.count + o.streams - 1) / o.streams
		d.parts = append(d.parts,
			part{file, func(ctx context.Context, log *runLog) error {
				return counted(log, file, rows, fmt.Sprintf("rows of %d characters", o.streams), func(progress func(int)) error {
					st, err := synth.WriteText(ctx, file, split.name, rows, o.streams, o.seed, progress)
					if err != nil {
						return err
					}
					if split.name == "test" {
						d.notes = append(d.notes,
							fmt.Sprintf("A sentence: %s", st.Example),
							fmt.Sprintf("Test loss to expect, nats per character: %.3f from how often each character occurs, %.3f at best, by the grammar.", st.Unigram, st.Grammar))
					}
					return nil
				})
			}},
			linesPart(filepath.Join(o.dir, split.name+".txt"), []string{file}))
	}
	d.parts = append(d.parts, classesPart(filepath.Join(o.dir, "classes.txt"), len(synth.TextSymbols), func(i int) string {
		switch c := synth.TextSymbols[i : i+1]; c {
		case "\n":
			return "newline"
		case " ":
			return "space"
		default:
			return c
		}
	}))
	return d, nil
}

// dbPart is an LMDB of a split of a set.
func dbPart(path string, set synth.Set, split string, count int, enc synth.Encoding) part {
	return part{path, func(ctx context.Context, log *runLog) error {
		return counted(log, path, count, fmt.Sprintf("images %v", set.Shape()), func(progress func(int)) error {
			return synth.Write(ctx, path, set, split, count, synth.WriteOptions{Encoding: enc, Progress: progress})
		})
	}}
}

// classesPart is the names of classes, one a line.
func classesPart(path string, n int, name func(int) string) part {
	lines := make([]string, n)
	for i := range lines {
		lines[i] = name(i)
	}
	return linesPart(path, lines)
}

// linesPart is a text file.
func linesPart(path string, lines []string) part {
	return part{path, func(context.Context, *runLog) error {
		return atomicfile.Write(path, func(w io.Writer) error {
			_, err := io.WriteString(w, strings.Join(lines, "\n")+"\n")
			return err
		})
	}}
}
