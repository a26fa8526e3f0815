package prototxt

import (
	"fmt"
	"log/slog"
	"os"

	"google.golang.org/protobuf/proto"

	"crema/prototxt/caffepb"
)

// ReadText reads the text file at path into m. It does not upgrade.
func ReadText(path string, m proto.Message) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return UnmarshalText(path, b, m)
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
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot read the net: %w", err)
	}
	np := &caffepb.NetParameter{}
	src, err := unmarshalTextPos(path, b, np)
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
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot read the solver: %w", err)
	}
	sp := &caffepb.SolverParameter{}
	src, err := unmarshalTextPos(path, b, sp)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot read the solver: %w", err)
	}
	if src.Notes, err = UpgradeSolver(sp); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return sp, src, nil
}
