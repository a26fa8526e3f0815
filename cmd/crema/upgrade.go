package main

import (
	"errors"
	"fmt"
	"os"

	"google.golang.org/protobuf/proto"

	"crema/internal/atomicfile"
	"crema/prototxt"
	"crema/prototxt/caffepb"
)

func init() {
	net := func(m proto.Message) (prototxt.Notes, error) { return prototxt.UpgradeNet(m.(*caffepb.NetParameter)) }
	register(upgrader{
		name:    "upgrade_net_proto_text",
		summary: "bring a net in the text format to the current version",
		message: func() proto.Message { return &caffepb.NetParameter{} },
		read:    prototxt.ReadText,
		upgrade: net,
		write:   writeText,
	}.command())
	register(upgrader{
		name:    "upgrade_net_proto_binary",
		summary: "bring a net or weights in the binary format to the current version",
		message: func() proto.Message { return &caffepb.NetParameter{} },
		read:    prototxt.ReadBinary,
		upgrade: net,
		write:   prototxt.WriteBinary,
	}.command())
	register(upgrader{
		name:    "upgrade_solver_proto_text",
		summary: "bring a solver in the text format to the current version",
		message: func() proto.Message { return &caffepb.SolverParameter{} },
		read:    prototxt.ReadText,
		upgrade: func(m proto.Message) (prototxt.Notes, error) {
			return prototxt.UpgradeSolver(m.(*caffepb.SolverParameter))
		},
		write: writeText,
	}.command())
}

// An upgrader is one of Caffe's upgrade tools: IN is read, upgraded if need be
// and written to OUT, which may be the same file. A file that is up to date is
// written too. What cannot be carried over is logged; the rest is written, and
// the status is 1.
type upgrader struct {
	name, summary string
	message       func() proto.Message
	read          func(path string, m proto.Message) error
	upgrade       func(m proto.Message) (prototxt.Notes, error)
	write         func(path string, m proto.Message) error
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
	m := u.message()
	if err := u.read(in, m); err != nil {
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
	if err := u.write(out, m); err != nil {
		return err
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

func writeText(path string, m proto.Message) error {
	if err := atomicfile.WriteBytes(path, prototxt.MarshalText(m)); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
