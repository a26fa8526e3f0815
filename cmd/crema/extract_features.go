package main

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"crema/features"
	"crema/internal/glog"
	"crema/prototxt/caffepb"
)

const extractArgs = "WEIGHTS MODEL BLOBS OUTPUTS BATCHES TYPE"

func init() {
	register(command{name: "extract_features", args: extractArgs,
		summary: "store blobs of a net run on its data: TYPE lmdb, leveldb, npy or hdf5", group: groupUse, run: runExtractFeatures})
}

// runExtractFeatures is Caffe's extract_features: it runs a net in the TEST phase
// and stores what blobs hold after each batch. Two more arguments, CPU or GPU and
// a device, are accepted as there.
func runExtractFeatures(args []string, s stdio) (err error) {
	fs := newFlags("extract_features", extractArgs, s)
	f := addNetFlags(fs)
	f.accept(fs, "phase")
	r, pos, err := f.startArgs(fs, args, s)
	if err != nil {
		return err
	}
	defer func() { err = r.Close(err) }()
	// What flags say need not be said again.
	for _, v := range []*string{&f.weights, &f.model} {
		if *v == "" && len(pos) > 0 {
			*v, pos = pos[0], pos[1:]
		}
	}
	if len(pos) >= 5 && (pos[4] == "CPU" || pos[4] == "GPU") {
		if pos[4] == "GPU" {
			f.gpu = "0"
		}
		pos = slices.Delete(pos, 4, len(pos))
	}
	if len(pos) != 4 || f.model == "" {
		return usageError{fmt.Errorf("wants %s [CPU]; 'crema extract_features --help' lists the flags", extractArgs)}
	}
	blobs, outputs, kind := strings.Split(pos[0], ","), strings.Split(pos[1], ","), pos[3]
	batches, err := strconv.Atoi(pos[2])
	if err != nil || batches < 1 {
		return usageError{fmt.Errorf("BATCHES is %q: must be a positive whole number", pos[2])}
	}
	if !slices.Contains(features.Kinds, strings.ToLower(kind)) {
		return usageError{fmt.Errorf("TYPE is %q: must be %s", kind, strings.Join(features.Kinds, ", "))}
	}
	net, err := r.loadNet(f, caffepb.Phase_TEST, 1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, net.Close()) }()
	for _, b := range blobs {
		if net.Blob(b) == nil {
			return fmt.Errorf("%s: %w", f.model, net.NoBlob(b))
		}
	}
	store, err := features.Create(kind, blobs, outputs)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Abort()) }()
	// An interrupt removes what is half written.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	log := r.log.Logger
	glog.Infof(log, "Extracting Features")
	for i := range batches {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := net.Forward(); err != nil {
			return fmt.Errorf("%s: batch %d: %w", f.model, i, err)
		}
		for k, name := range blobs {
			b, w := net.Blob(name), store.Writer(k)
			before := w.Rows()
			if err := w.Add(b.Shape(), b.Values()); err != nil {
				return fmt.Errorf("blob %q, batch %d: %w", name, i, err)
			}
			if n := w.Rows(); i < batches-1 && n/1000 > before/1000 {
				glog.Infof(log, "Extracted features of %d query images for feature blob %s", n, name)
			}
		}
	}
	for k, name := range blobs {
		glog.Infof(log, "Extracted features of %d query images for feature blob %s", store.Writer(k).Rows(), name)
	}
	if err := store.Commit(); err != nil {
		return err
	}
	glog.Infof(log, "Successfully extracted the features!")
	return nil
}
