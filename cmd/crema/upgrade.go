package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"google.golang.org/protobuf/proto"

	"crema/internal/atomicfile"
	"crema/internal/infile"
	"crema/prototxt"
	"crema/prototxt/caffepb"
)

func init() {
	net := func(m proto.Message) (prototxt.Notes, error) { return prototxt.UpgradeNet(m.(*caffepb.NetParameter)) }
	register(upgrader{
		name:    "upgrade_net_proto_text",
		summary: "bring a net in the text format to the current version",
		message: func() proto.Message { return &caffepb.NetParameter{} },
		parse:   prototxt.ParseText,
		upgrade: net,
		encode:  encodeText,
	}.command())
	register(upgrader{
		name:    "upgrade_net_proto_binary",
		summary: "bring a net or weights in the binary format to the current version",
		message: func() proto.Message { return &caffepb.NetParameter{} },
		parse:   prototxt.UnmarshalBinary,
		upgrade: net,
		encode:  prototxt.EncodeBinary,
	}.command())
	register(upgrader{
		name:    "upgrade_solver_proto_text",
		summary: "bring a solver in the text format to the current version",
		message: func() proto.Message { return &caffepb.SolverParameter{} },
		parse:   prototxt.ParseText,
		upgrade: func(m proto.Message) (prototxt.Notes, error) {
			return prototxt.UpgradeSolver(m.(*caffepb.SolverParameter))
		},
		encode: encodeText,
	}.command())
}

// An upgrader is one of Caffe's upgrade tools: IN is read, upgraded if need be
// and written to OUT, which may be the same file. "-" is the standard input or
// output. A file that is up to date is written too, so that what one of the tools
// has written it writes again as it is. What cannot be carried over is logged;
// the rest is written, and the status is 1.
type upgrader struct {
	name, summary string
	message       func() proto.Message
	parse         func(path string, b []byte, m proto.Message) error
	upgrade       func(m proto.Message) (prototxt.Notes, error)
	encode        func(w io.Writer, m proto.Message) error
}

func (u upgrader) command() command {
	return command{name: u.name, args: "IN OUT", summary: u.summary, group: groupFiles, run: u.run}
}

func (u upgrader) run(args []string, s stdio) (err error) {
	fs := newFlags(u.name, "IN OUT", s)
	lf := addLogFlags(fs)
	pos, err := parseFlags(fs, args)
	if err != nil {
		return err
	}
	if len(pos) != 2 {
		return usageError{fmt.Errorf("want the input and the output file, got %d arguments", len(pos))}
	}
	log, err := lf.open(newConsole(s.err))
	if err != nil {
		return err
	}
	defer func() { err = log.Close(err) }()

	in, out := pos[0], pos[1]
	var b []byte
	if in == "-" {
		in = "standard input"
		b, err = io.ReadAll(s.in)
	} else {
		b, err = infile.ReadFile(in)
	}
	if err != nil {
		return err
	}
	m := u.message()
	if err := u.parse(in, b, m); err != nil {
		return err
	}
	notes, err := u.upgrade(m)
	notes.Log(log.Logger, in)
	if err != nil {
		return fmt.Errorf("%s: %w", in, err)
	}
	if len(notes) == 0 {
		log.Error("File already in latest proto format: " + in)
	}
	if out == "-" {
		out = "standard output"
		err = u.encode(s.out, m)
	} else if err = proto.CheckInitialized(m); err == nil {
		err = atomicfile.Write(out, func(w io.Writer) error { return u.encode(w, m) })
	}
	if err != nil {
		return fmt.Errorf("%s: %w", out, err)
	}
	if fi, err := os.Stat(out); err == nil {
		if w := prototxt.WarnSize(out, fi.Size()); w != "" {
			log.Warn(w)
		}
	}
	log.Info(fmt.Sprintf("Wrote upgraded %s to %s", m.ProtoReflect().Descriptor().Name(), out))
	if !notes.OK() {
		return errors.New("the upgrade is not complete; see the log")
	}
	return nil
}

func encodeText(w io.Writer, m proto.Message) error {
	_, err := w.Write(prototxt.MarshalText(m))
	return err
}
