package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"crema/graph"
	"crema/internal/glog"
	"crema/prototxt/caffepb"
	"crema/tensor"
)

func init() {
	register(command{name: "forward", args: "",
		summary: "run a net and write its blobs, parameters and gradients to files", group: groupUse, run: runForward})
}

// inputFlag is the repeatable flag -input BLOB=FILE.
type inputFlag []struct{ blob, file string }

// String implements flag.Value.
func (f *inputFlag) String() string { return "" }

// Set implements flag.Value.
func (f *inputFlag) Set(v string) error {
	blob, file, ok := strings.Cut(v, "=")
	if !ok || blob == "" || file == "" {
		return errors.New("want BLOB=FILE.binaryproto")
	}
	for _, x := range *f {
		if x.blob == blob {
			return fmt.Errorf("blob %q is given twice", blob)
		}
	}
	*f = append(*f, struct{ blob, file string }{blob, file})
	return nil
}

// runForward runs a net and writes what it computed, which is how a layer is
// checked against another implementation:
//
//	OUTPUT/BLOB.binaryproto            values; after -backward gradients too
//	OUTPUT/params/LAYER_I.binaryproto  the same of parameter I of a layer
//
// A '/' in a name becomes '_'. A blob that no gradient reached has zeros, or
// what Caffe's layers leave there. The net's inputs are given as files of the same
// kind, whose shape they take.
func runForward(args []string, s stdio) (err error) {
	fs := newFlags("forward", "", s)
	var inputs inputFlag
	fs.Var(&inputs, "input", "values for an input blob, `BLOB=FILE`.binaryproto; repeatable")
	output := fs.String("output", "", "the `folder` to write to, made if need be")
	blobs := fs.String("blobs", "", "write only these blobs, separated by commas, not all")
	backward := fs.Bool("backward", false, "run the backward pass too and write the gradients")
	seed := fs.Uint64("seed", 1, "key of the random numbers (fillers, dropout, crops)")
	f := addNetFlags(fs)
	f.iterations = fs.Int("iterations", 1, "forward passes to run; the last one is written")
	r, err := f.start(fs, args, s)
	if err != nil {
		return err
	}
	defer func() { err = r.Close(err) }()
	if err := need(fs, "model", "output"); err != nil {
		return err
	}
	phase, err := parsePhase(f.phase, caffepb.Phase_TRAIN)
	if err != nil {
		return err
	}
	net, err := r.loadNet(f, phase, *seed)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, net.Close()) }()
	files, err := outputFiles(net, *output, splitList(*blobs))
	if err != nil {
		return err
	}
	if *backward {
		net.SetFused(false) // all gradients are Caffe's
	}
	feeds, err := readInputs(net, inputs)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(*output, "params"), 0o777); err != nil {
		return fmt.Errorf("-output: %w", err)
	}
	var loss float32
	for range *f.iterations {
		// An in-place layer may have overwritten the values: set them anew.
		for _, x := range feeds {
			x.to.Reshape(x.from.Shape()...)
			copy(x.to.Data(), x.from.ReadData())
		}
		if loss, err = net.Forward(); err != nil {
			return fmt.Errorf("%s: %w", f.model, err)
		}
	}
	glog.Infof(r.log.Logger, "Loss: %s", glog.G(loss))
	if *backward {
		for _, x := range files {
			x.blob.Diff() // Caffe has them all; some layers leave things there
		}
		net.ClearParamDiffs()
		if err := net.Backward(); err != nil {
			return fmt.Errorf("%s: %w", f.model, err)
		}
	}
	for _, x := range files {
		if err := graph.WriteBlobFile(x.path, x.blob, *backward); err != nil {
			return err
		}
	}
	glog.Infof(r.log.Logger, "Wrote %d blobs and parameters to %s", len(files), *output)
	return nil
}

// feed is what an input blob is set to.
type feed struct{ to, from *tensor.Blob }

// readInputs reads the files of -input. Only blobs that an Input layer makes
// can be set: all others are computed. Input blobs without a file stay zero.
func readInputs(net *graph.Net, in inputFlag) ([]feed, error) {
	var settable []string
	for _, l := range net.Layers() {
		if l.Type == "Input" {
			settable = append(settable, l.TopNames...)
		}
	}
	var feeds []feed
	for _, x := range in {
		to := net.Blob(x.blob)
		switch {
		case to == nil:
			return nil, fmt.Errorf("-input: the net has no blob %q; its input blobs: %s", x.blob, orNone(settable))
		case !slices.Contains(settable, x.blob):
			return nil, fmt.Errorf("-input: blob %q is computed by the net; its input blobs: %s", x.blob, orNone(settable))
		}
		from, err := graph.ReadBlobFile(x.file)
		if err != nil {
			return nil, fmt.Errorf("-input %s: %w", x.blob, err)
		}
		feeds = append(feeds, feed{to, from})
	}
	return feeds, nil
}

// outputFile is a blob and the file it is written to.
type outputFile struct {
	path string
	blob *tensor.Blob
}

// outputFiles lists what is written: the blobs (only those named, if any are)
// and all parameters. Two of one file name are an error.
func outputFiles(net *graph.Net, dir string, only []string) ([]outputFile, error) {
	names := net.BlobNames()
	for _, b := range only {
		if !slices.Contains(names, b) {
			return nil, fmt.Errorf("-blobs: %w", net.NoBlob(b))
		}
	}
	if len(only) > 0 {
		names = only
	}
	var files []outputFile
	taken := map[string]string{}
	add := func(sub, name, what string, b *tensor.Blob) error {
		path := filepath.Join(dir, sub, strings.ReplaceAll(name, "/", "_")+".binaryproto")
		if other, ok := taken[path]; ok {
			return fmt.Errorf("%s and %s would both be written to %s", other, what, path)
		}
		taken[path] = what
		files = append(files, outputFile{path, b})
		return nil
	}
	for _, name := range names {
		if err := add("", name, "blob "+strconv.Quote(name), net.Blob(name)); err != nil {
			return nil, err
		}
	}
	for _, l := range net.Layers() {
		for i, p := range l.Layer.Params() {
			if err := add("params", l.Name+"_"+strconv.Itoa(i), fmt.Sprintf("parameter %d of layer %q", i, l.Name), p); err != nil {
				return nil, err
			}
		}
	}
	return files, nil
}

// orNone writes a list of names for a message.
func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

var _ flag.Value = (*inputFlag)(nil)
