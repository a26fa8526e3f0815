package prototxt

import (
	"bytes"
	"fmt"
	"log/slog"

	"google.golang.org/protobuf/proto"

	"crema/internal/infile"
	"crema/prototxt/caffepb"
)

// ReadText reads the text file at path into m. It does not upgrade. A file of
// another kind is an error that says what it is, and one without contents is an
// error for a net or a solver.
func ReadText(path string, m proto.Message) error {
	_, err := readText(path, m)
	return err
}

func readText(path string, m proto.Message) (*Source, error) {
	b, err := infile.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parseText(path, b, m)
}

// ParseText is ReadText of what was read of the file that path names.
func ParseText(path string, b []byte, m proto.Message) error {
	_, err := parseText(path, b, m)
	return err
}

func parseText(path string, b []byte, m proto.Message) (*Source, error) {
	want := infile.Unknown
	switch m.(type) {
	case *caffepb.NetParameter:
		want = infile.Net
	case *caffepb.SolverParameter:
		want = infile.Solver
	}
	src, err := unmarshalTextPos(path, b, m)
	if want == infile.Unknown || err == nil && len(bytes.TrimSpace(b)) > 0 {
		return src, err
	}
	// Where nothing that belongs to such a file was found it is another kind of
	// file; single fields that are out of place are for the parser to name.
	if k := infile.Of(b); !hasOwn(m) && k != infile.Text {
		if msg := k.Instead(want); msg != "" {
			return nil, &kindError{path, msg}
		}
	}
	return src, err
}

// hasOwn reports whether a net has layers or inputs, a solver a net or a rate:
// what no other kind of file has.
func hasOwn(m proto.Message) bool {
	switch m := m.(type) {
	case *caffepb.NetParameter:
		return len(m.Layer)+len(m.Layers)+len(m.Input) > 0
	case *caffepb.SolverParameter:
		return m.Net != nil || m.TrainNet != nil || m.NetParam != nil || m.TrainNetParam != nil || m.BaseLr != nil || m.LrPolicy != nil || m.MaxIter != nil
	}
	return true
}

// A Reader reads nets and solvers and logs what it upgraded. The zero value
// logs nothing.
type Reader struct {
	Log *slog.Logger
}

// upgraded logs notes and adds the file's name to err.
func (r Reader) upgraded(file string, n Notes, err error) error {
	if r.Log != nil {
		n.Log(r.Log, file)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

// Net reads a net in the text format and upgrades it.
func (r Reader) Net(path string) (*caffepb.NetParameter, error) {
	np := &caffepb.NetParameter{}
	if err := ReadText(path, np); err != nil {
		return nil, fmt.Errorf("cannot read the net: %w", err)
	}
	notes, err := UpgradeNet(np)
	if err := r.upgraded(path, notes, err); err != nil {
		return nil, err
	}
	return np, nil
}

// Weights reads a net in the binary format (a .caffemodel) and upgrades it.
func (r Reader) Weights(path string) (*caffepb.NetParameter, error) {
	np := &caffepb.NetParameter{}
	if err := ReadBinary(path, np); err != nil {
		return nil, fmt.Errorf("cannot read the weights: %w", err)
	}
	notes, err := UpgradeNet(np)
	if err := r.upgraded(path, notes, err); err != nil {
		return nil, err
	}
	return np, nil
}

// Solver reads a solver in the text format and upgrades it (solver_type).
// snapshot_prefix is left as written, and nets inside the solver (net_param
// and its siblings) are not upgraded: [UpgradeNet] does it.
func (r Reader) Solver(path string) (*caffepb.SolverParameter, error) {
	sp := &caffepb.SolverParameter{}
	if err := ReadText(path, sp); err != nil {
		return nil, fmt.Errorf("cannot read the solver: %w", err)
	}
	notes, err := UpgradeSolver(sp)
	if err := r.upgraded(path, notes, err); err != nil {
		return nil, err
	}
	return sp, nil
}

// ReadNet is Reader.Net without a log.
func ReadNet(path string) (*caffepb.NetParameter, error) { return Reader{}.Net(path) }

// ReadWeights is Reader.Weights without a log.
func ReadWeights(path string) (*caffepb.NetParameter, error) { return Reader{}.Weights(path) }

// ReadSolver is Reader.Solver without a log.
func ReadSolver(path string) (*caffepb.SolverParameter, error) { return Reader{}.Solver(path) }

// ReadNetPos is ReadNet that also returns where each field was written and what
// was upgraded. Positions are those of the file: an upgrade may have moved the
// field since.
func ReadNetPos(path string) (*caffepb.NetParameter, *Source, error) {
	np := &caffepb.NetParameter{}
	src, err := readText(path, np)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot read the net: %w", err)
	}
	if src.Notes, err = UpgradeNet(np); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return np, src, nil
}

// ReadSolverPos is ReadSolver that also returns where each field was written and
// what was upgraded. Positions of nets inside the solver begin with the name of
// their field (net_param.layer[0]).
func ReadSolverPos(path string) (*caffepb.SolverParameter, *Source, error) {
	sp := &caffepb.SolverParameter{}
	src, err := readText(path, sp)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot read the solver: %w", err)
	}
	if src.Notes, err = UpgradeSolver(sp); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return sp, src, nil
}
