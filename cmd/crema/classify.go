package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"crema/data"
	"crema/graph"
	"crema/infer"
	"crema/internal/glog"
	"crema/internal/infile"
	"crema/netinfo"
	"crema/prototxt"
	"crema/prototxt/caffepb"
)

func init() {
	register(command{name: "classify", args: "IMAGE_OR_FOLDER...",
		summary: "name what image files show", group: groupUse, run: runClassify})
}

// runClassify is Caffe's Classifier and its classification example. A file that
// is no image is an error that does not keep the others from being classified.
func runClassify(args []string, s stdio) (err error) {
	fs := newFlags("classify", "IMAGE_OR_FOLDER...", s)
	var c classifyFlags
	c.add(fs)
	f := addNetFlags(fs)
	f.accept(fs, "phase")
	r, files, err := f.startArgs(fs, args, s)
	if err != nil {
		return err
	}
	defer func() { err = r.Close(err) }()
	if err := need(fs, "model", "weights"); err != nil {
		return err
	}
	if len(files) == 0 {
		return usageError{errors.New("wants image files or folders of such")}
	}
	if c.top < 0 {
		return usageError{fmt.Errorf("-top=%d: must not be negative", c.top)}
	}
	images, err := infer.ListImages(files)
	if err != nil {
		return err
	}
	var labels []string
	if c.labels != "" {
		if labels, err = readLabels(c.labels); err != nil {
			return err
		}
	}
	net, tp, err := r.loadDeploy(f, c.shapes)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, net.Close()) }()
	cl, err := infer.New(net, c.output)
	if err != nil {
		return fmt.Errorf("%s: %w", f.model, err)
	}
	if labels != nil && len(labels) != cl.Classes {
		return fmt.Errorf("%s has %d lines, but %q of %s has scores of %d classes", c.labels, len(labels), cl.Output, f.model, cl.Classes)
	}
	if err := c.preprocessor(fs, &cl.Pre, tp, r); err != nil {
		return err
	}
	p := &cl.Pre
	size := fmt.Sprintf("Images are resized to %d×%d pixels", p.ImageH, p.ImageW)
	switch {
	case p.Oversample:
		size += fmt.Sprintf("; the net gets ten crops of %d×%d", p.H, p.W)
	case p.ImageH > p.H || p.ImageW > p.W:
		size += fmt.Sprintf("; the net gets the centre, %d×%d", p.H, p.W)
	}
	glog.Infof(r.log.Logger, "%s", size)
	return classifyAll(cl, images, labels, &c, r, s.out)
}

// loadDeploy builds the net of -model for use: a net for training is changed to
// one that takes pictures, and its transform_param returned.
func (r *runEnv) loadDeploy(f *netFlags, shapes map[string][]int) (*graph.Net, *caffepb.TransformationParameter, error) {
	np, src, err := r.readNet(f, caffepb.Phase_TEST)
	if err != nil {
		return nil, nil, err
	}
	deploy, tp, notes, err := infer.Deploy(np)
	if err != nil {
		return nil, nil, graph.Locate(src, err)
	}
	if notes != nil || shapes != nil {
		for _, n := range notes {
			glog.Infof(r.log.Logger, "%s: %s", f.model, n)
		}
		// Places in the file no longer fit.
		src = &prototxt.Source{File: src.File}
		if deploy, notes, err = netinfo.Sources(deploy, netinfo.SourceOptions{Shapes: shapes, ResolvePath: r.roots.Resolve}); err != nil {
			return nil, nil, graph.Locate(src, err)
		}
		for _, n := range notes {
			r.log.Warn(n)
		}
	}
	log := r.log.Logger
	if f.log.v == 0 { // what the net is made of is not what was asked for
		log = slog.New(warnings{log.Handler()})
	}
	net, err := r.buildNet(f, deploy, src, graph.Options{Log: log})
	return net, tp, err
}

// warnings drops what is of a lower level.
type warnings struct{ slog.Handler }

// Enabled implements slog.Handler.
func (w warnings) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && w.Handler.Enabled(ctx, l)
}

// readLabels reads the lines of a file, without empty ones at its end.
func readLabels(path string) ([]string, error) {
	b, err := infile.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var lines []string
	for l := range strings.Lines(strings.TrimRight(string(b), "\r\n")) {
		lines = append(lines, strings.TrimSpace(l))
	}
	return lines, nil
}

// classified is what -json writes of an image.
type classified struct {
	Image string        `json:"image"`
	Error string        `json:"error,omitempty"`
	Top   []classResult `json:"top,omitempty"`
}

type classResult struct {
	Class int     `json:"class"`
	Label string  `json:"label,omitempty"`
	Score float32 `json:"score"`
}

// batchImages is how many images, or crops of them, go through the net at once.
const batchImages = 10

// classifyAll classifies images, some at a time, and writes what they show.
func classifyAll(cl *infer.Classifier, images, labels []string, c *classifyFlags, r *runEnv, w io.Writer) error {
	var all []classified
	failed := 0
	for part := range slices.Chunk(images, max(1, batchImages/cl.Pre.Crops())) {
		ims, errs := infer.ReadImages(part, cl.Pre.Mode())
		scores, err := cl.Classify(slices.DeleteFunc(slices.Clone(ims), func(im *data.Image) bool { return im == nil }))
		if err != nil {
			return err
		}
		results := make([]classified, len(part))
		for i := range results {
			res := &results[i]
			res.Image = part[i]
			if errs[i] != nil {
				r.log.Error(fmt.Sprintf("%s: %v", res.Image, errs[i]))
				res.Error = errs[i].Error()
				failed++
				continue
			}
			n := c.top
			if n == 0 {
				n = cl.Classes
			}
			for _, k := range infer.Top(scores[0], n) {
				x := classResult{Class: k, Score: scores[0][k]}
				if labels != nil {
					x.Label = labels[k]
				}
				res.Top = append(res.Top, x)
			}
			scores = scores[1:]
			if !c.json {
				if err := writeClassified(w, res); err != nil {
					return err
				}
			}
		}
		all = append(all, results...)
	}
	if c.json {
		e := json.NewEncoder(w)
		e.SetIndent("", " ")
		if err := e.Encode(all); err != nil {
			return err
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d images could not be read; the log says why", failed, len(images))
	}
	return nil
}

// writeClassified writes an image's classes as a table.
func writeClassified(w io.Writer, c *classified) error {
	var b strings.Builder
	fmt.Fprintln(&b, c.Image)
	for _, t := range c.Top {
		fmt.Fprintf(&b, "%12.6g  %4d  %s", t.Score, t.Class, t.Label)
		b.WriteString("\n")
	}
	_, err := io.WriteString(w, strings.ReplaceAll(b.String(), "  \n", "\n"))
	return err
}
