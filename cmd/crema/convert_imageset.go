package main

import (
	"context"
	"fmt"
	"os/signal"
	"syscall"

	"crema/data"
)

func init() {
	register(command{
		name:    "convert_imageset",
		args:    "ROOTFOLDER/ LISTFILE DB_NAME",
		summary: "store images named in a list in a new database",
		group:   groupData,
		run:     convertImageset,
	})
}

func convertImageset(args []string, s stdio) error {
	fs := newFlags("convert_imageset", "ROOTFOLDER/ LISTFILE DB_NAME", s)
	lf := addLogFlags(fs)
	var o data.ConvertOptions
	backend := fs.String("backend", "lmdb", "kind of `database`: lmdb or leveldb")
	fs.BoolVar(&o.Gray, "gray", false, "read images as grey ones")
	fs.BoolVar(&o.Shuffle, "shuffle", false, "shuffle the order of the images")
	fs.Uint64Var(&o.Seed, "seed", 1, "seed of --shuffle: the same `seed` gives the same order")
	fs.IntVar(&o.ResizeWidth, "resize_width", 0, "`width` to resize images to, with --resize_height")
	fs.IntVar(&o.ResizeHeight, "resize_height", 0, "`height` to resize images to, with --resize_width")
	fs.BoolVar(&o.CheckSize, "check_size", false, "stop if images differ in size")
	fs.BoolVar(&o.Encoded, "encoded", false, "store encoded images: a file as it is unless it must be changed")
	fs.StringVar(&o.EncodeType, "encode_type", "", "`type` to encode images as: jpg, png or bmp (default: what the file's name says)")
	pos, err := parseFlags(fs, args)
	if err != nil {
		return err
	}
	if len(pos) != 3 {
		return usageError{fmt.Errorf("wants ROOTFOLDER/ LISTFILE DB_NAME, got %d arguments", len(pos))}
	}
	if o.Backend, err = data.ParseBackend(*backend); err != nil {
		return usageError{err}
	}
	if (o.ResizeWidth > 0) != (o.ResizeHeight > 0) {
		return usageError{fmt.Errorf("--resize_width and --resize_height must be given together")}
	}
	return withLog(lf, s, func(ctx context.Context, log *runLog) error {
		o.Log = log.Logger
		_, err := data.ConvertImages(ctx, pos[0], pos[1], pos[2], o)
		return err
	})
}

// withLog runs a tool with the log that its flags describe. An interrupt
// cancels the context, so that the tool removes what it has half written.
func withLog(lf *logFlags, s stdio, f func(ctx context.Context, log *runLog) error) error {
	log, err := lf.open(newConsole(s.err))
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	return log.Close(f(ctx, log))
}
