package main

import (
	"context"
	"errors"
	"fmt"

	"crema/graph"
	"crema/netdraw"
)

func init() {
	register(command{name: "draw_net", args: "MODEL OUTPUT_FILE",
		summary: "draw a net with shapes, parameters and multiply-adds as SVG, PNG or dot", group: groupLook, run: runDrawNet})
}

// runDrawNet draws a net (draw_net.py). Where its shapes cannot be worked out,
// because a layer type is unknown, it draws what the file says and says so.
func runDrawNet(args []string, s stdio) error {
	fs := newFlags("draw_net", "MODEL OUTPUT_FILE", s)
	f := addShapeFlags(fs)
	rankdir := fs.String("rankdir", "TB", "`direction` in which layers follow each other: TB (top to bottom), BT, LR (left to right) or RL")
	pos, err := parseFlags(fs, args)
	if err != nil {
		return err
	}
	if pos, err = f.takeModel(fs, pos); err != nil {
		return err
	}
	if len(pos) != 1 {
		return usageError{fmt.Errorf("wants MODEL OUTPUT_FILE, got %d arguments", len(pos)+1)}
	}
	out := pos[0]
	if err := netdraw.CheckName(out); err != nil {
		return usageError{err}
	}
	dir, err := netdraw.ParseDirection(*rankdir)
	if err != nil {
		return usageError{fmt.Errorf("-rankdir: %w", err)}
	}
	return withLog(f.log, s, func(_ context.Context, log *runLog) error {
		n, err := f.read(log)
		if err != nil {
			return err
		}
		info, err := n.info(n.show())
		var in *graph.LayerError
		if errors.As(err, &in) {
			log.Warn(fmt.Sprintf("drawn without shapes: %v", err))
			info, err = n.outline()
		}
		if err != nil {
			return err
		}
		for _, note := range info.Notes {
			log.Warn(note)
		}
		if err := netdraw.Save(out, info, dir); err != nil {
			return err
		}
		log.Info(fmt.Sprintf("Drew %d layers to %s", len(info.Layers), out))
		return nil
	})
}
