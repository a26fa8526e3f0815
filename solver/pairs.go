package solver

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"crema/internal/atomicfile"
	"crema/internal/glog"
	"crema/internal/seal"
)

// SnapshotAuto as Options.Snapshot resumes from the newest snapshot of the
// solver's prefix that is whole, and begins anew if there is none.
const SnapshotAuto = "auto"

// A pair is a snapshot: a state and the weights beside it.
type pair struct {
	iter         int
	state, model string
}

// pairsOf returns the snapshots of a prefix whose state is there, the newest
// first.
func pairsOf(prefix string) ([]pair, error) {
	entries, err := os.ReadDir(filepath.Dir(prefix))
	if err != nil {
		return nil, err
	}
	var all []pair
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name(), filepath.Base(prefix)+"_iter_")
		if !ok {
			continue
		}
		number, ext, ok := strings.Cut(rest, ".")
		iter, err := strconv.Atoi(number)
		if !ok || err != nil || strconv.Itoa(iter) != number || ext != "solverstate" && ext != "solverstate.h5" {
			continue
		}
		stem := fmt.Sprintf("%s_iter_%d.", prefix, iter)
		all = append(all, pair{iter, stem + ext, stem + strings.Replace(ext, "solverstate", "caffemodel", 1)})
	}
	slices.SortFunc(all, func(a, b pair) int { return b.iter - a.iter })
	return all, nil
}

// check reports why a snapshot cannot be resumed from.
func (p pair) check() error {
	s, err := seal.Check(p.state)
	if err != nil {
		return err
	}
	return checkBelongs(p.state, s, p.model)
}

// errTorn is wrapped by the errors about weights that are not those of a state.
var errTorn = errors.New("not its weights")

// checkBelongs reports whether weights are whole and, if the state's seal says
// so, those that were written with it.
func checkBelongs(state string, s *seal.Seal, model string) error {
	m, err := seal.Check(model)
	if err != nil {
		return err
	}
	switch {
	case s == nil || s.Of == 0:
		return nil // not ours: nothing is known
	case m == nil:
		return fmt.Errorf("%q and %q: %w: the state was written with weights that had a checksum, these have none: they are of another program, or cut short", state, model, errTorn)
	case m.Sum != s.Of:
		return fmt.Errorf("%q and %q: %w: these weights were not written with this state (a run that was killed while it wrote a snapshot of the same name, or files of two runs)", state, model, errTorn)
	}
	return nil
}

// newestGood returns the newest snapshot of a prefix, of an iteration before
// before, that is whole, "" if there is none. bad is told of those that are not.
func newestGood(prefix string, before int, bad func(error)) (string, error) {
	all, err := pairsOf(prefix)
	if err != nil {
		return "", err
	}
	for _, p := range all {
		if p.iter >= before {
			continue
		}
		err := p.check()
		if err == nil {
			return p.state, nil
		}
		if bad != nil {
			bad(err)
		}
	}
	return "", nil
}

// instead adds to an error about a state which older snapshot is whole.
func instead(state string, err error) error {
	prefix, number, ok := cutIter(state)
	if !ok {
		return err
	}
	switch good, ferr := newestGood(prefix, number, nil); {
	case ferr != nil:
		return err
	case good == "":
		return fmt.Errorf("%w; there is no older snapshot beside it that is whole", err)
	default:
		return fmt.Errorf("%w; the newest older snapshot that is whole is %q", err, good)
	}
}

// cutIter returns the prefix and the iteration in a state's name.
func cutIter(state string) (prefix string, iter int, ok bool) {
	stem := strings.TrimSuffix(strings.TrimSuffix(state, ".h5"), ".solverstate")
	i := strings.LastIndex(stem, "_iter_")
	if i < 0 {
		return "", 0, false
	}
	iter, err := strconv.Atoi(stem[i+len("_iter_"):])
	return stem[:i], iter, err == nil
}

// findAuto turns SnapshotAuto into a path, "" for a run that begins anew.
func (s *Solver) findAuto() (string, error) {
	path, err := newestGood(s.prefix, math.MaxInt, func(err error) { glog.Warnf(s.log, "Not resuming from this snapshot: %v", err) })
	if err != nil {
		return "", fmt.Errorf("looking for snapshots: %w", err)
	}
	if path == "" {
		glog.Infof(s.log, "There is no snapshot %s_iter_*.solverstate to resume from: beginning anew", s.prefix)
	}
	return path, nil
}

// findWeights returns the weights of a state: the file beside it of the base
// name that it says, as the pair may have been moved together, or, if there is
// none, the file that it names.
func (s *Solver) findWeights(state, name string) (string, error) {
	beside := filepath.Join(filepath.Dir(state), filepath.Base(name))
	named := s.resolve(name)
	for _, path := range []string{beside, named} {
		_, err := os.Stat(path)
		switch {
		case err == nil:
			if path != named {
				glog.Infof(s.log, "Using the weights beside the state, %s", path)
			}
			return path, nil
		case !errors.Is(err, fs.ErrNotExist):
			return "", err
		}
	}
	if filepath.Clean(beside) == filepath.Clean(named) {
		return "", fmt.Errorf("%q: its weights are not there: %q", state, beside)
	}
	return "", fmt.Errorf("%q: its weights are neither beside it (%q) nor where it says they were (%q)", state, beside, named)
}

// prune removes all snapshots of the run but the newest Options.Keep. The state
// goes first, so that there is none without its weights.
func (s *Solver) prune() {
	if s.o.Keep <= 0 {
		return
	}
	all, err := pairsOf(s.prefix)
	if err != nil {
		return // the next snapshot will say so
	}
	for i, p := range all {
		if i < s.o.Keep || p.iter >= s.iter {
			continue
		}
		for _, f := range []string{p.state, p.model} {
			if err := os.Remove(f); err != nil && !errors.Is(err, fs.ErrNotExist) {
				glog.Warnf(s.log, "Cannot remove an old snapshot: %v", err)
				break
			}
		}
	}
	s.good = slices.DeleteFunc(s.good, func(g goodState) bool {
		_, err := os.Stat(g.path)
		return errors.Is(err, fs.ErrNotExist)
	})
}

// clean removes what killed writers of snapshots left.
func (s *Solver) clean() {
	n, err := atomicfile.Clean(s.prefix + "_iter_")
	if err != nil {
		glog.Warnf(s.log, "Cannot remove what a killed run left: %v", err)
	}
	if n > 0 {
		glog.Infof(s.log, "Removed %d unfinished files of a killed run beside %s", n, s.prefix)
	}
}
