package main

import (
	"context"
	"fmt"

	"crema/data"
)

func init() {
	register(command{
		name:    "convert_mnist_data",
		args:    "IMAGES LABELS DB_NAME",
		summary: "store MNIST's idx files in a new database",
		group:   groupData,
		run:     convertMNISTData,
	})
}

func convertMNISTData(args []string, s stdio) error {
	fs := newFlags("convert_mnist_data", "IMAGES LABELS DB_NAME", s)
	lf := addLogFlags(fs)
	backend := fs.String("backend", "lmdb", "kind of `database`: lmdb or leveldb")
	pos, err := parseFlags(fs, args)
	if err != nil {
		return err
	}
	if len(pos) != 3 {
		return usageError{fmt.Errorf("wants IMAGES LABELS DB_NAME (idx files, gzipped or not), got %d arguments", len(pos))}
	}
	b, err := data.ParseBackend(*backend)
	if err != nil {
		return usageError{err}
	}
	return withLog(lf, s, func(ctx context.Context, log *runLog) error {
		_, err := data.ConvertMNIST(ctx, pos[0], pos[1], pos[2], b, log.Logger)
		return err
	})
}
