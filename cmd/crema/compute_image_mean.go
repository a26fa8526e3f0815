package main

import (
	"context"
	"fmt"

	"crema/data"
	"crema/prototxt"
)

func init() {
	register(command{
		name:    "compute_image_mean",
		args:    "INPUT_DB [OUTPUT_FILE]",
		summary: "compute the mean image of a database",
		group:   groupData,
		run:     computeImageMean,
	})
}

func computeImageMean(args []string, s stdio) error {
	fs := newFlags("compute_image_mean", "INPUT_DB [OUTPUT_FILE]", s)
	lf := addLogFlags(fs)
	backend := fs.String("backend", "lmdb", "kind of `database`: lmdb or leveldb")
	pos, err := parseFlags(fs, args)
	if err != nil {
		return err
	}
	if len(pos) < 1 || len(pos) > 2 {
		return usageError{fmt.Errorf("wants INPUT_DB [OUTPUT_FILE], got %d arguments", len(pos))}
	}
	b, err := data.ParseBackend(*backend)
	if err != nil {
		return usageError{err}
	}
	return withLog(lf, s, func(ctx context.Context, log *runLog) error {
		mean, err := data.ComputeMean(ctx, pos[0], b, log.Logger)
		if err != nil || len(pos) == 1 {
			return err
		}
		log.Info("Write to " + pos[1])
		return prototxt.WriteBinary(pos[1], mean)
	})
}
