package doctor

import (
	"fmt"
	"math"
	"slices"
)

// What happens to parameters that get no gradient depends on the solver: weight
// decay acts on them all the same, and so does the momentum of a snapshot.

// untouched says what becomes of layers whose weights get no gradient.
func (c *Case) untouched(ls []*layer) string {
	p := c.Solver
	if p == nil {
		return "They get no gradient."
	}
	decays := func(l *layer) bool {
		mult := float32(1)
		if len(l.Param) > 0 {
			mult = l.Param[0].GetDecayMult()
		}
		return p.GetWeightDecay()*mult != 0 && rateOf(l) != 0
	}
	momentum := ""
	if c.in.Snapshot != "" && p.GetMomentum() > 0 {
		momentum = ", but for the momentum of the snapshot, which dies out"
	}
	if !slices.ContainsFunc(ls, decays) {
		return "They stay as they are for the whole run" + momentum + "."
	}
	s := "They get no gradient, so weight_decay is all that changes them: they shrink towards 0"
	if d := float64(p.GetWeightDecay()); p.GetRegularizationType() != "L1" && (kind(p) == "SGD" || kind(p) == "Nesterov") && p.GetMomentum() < 1 {
		half := math.Ln2 / (float64(p.GetBaseLr()) / (1 - float64(p.GetMomentum())) * d)
		s += fmt.Sprintf(", at base_lr by half in %s iterations", num(math.Ceil(half)))
	}
	return s + momentum + "."
}

// learnsBeside tells what learns in a net whose weights are all frozen: biases
// and layers of other kinds. It is "" if nothing does.
func learnsBeside(n *Net) string {
	biases, others := false, []*layer(nil)
	for _, l := range n.layers {
		if !l.hasParams() {
			continue
		}
		count := max(1, len(l.params))
		w, ok := weightsOf(l)
		if ok && w.hasBias {
			count = 2
		}
		for i := range count {
			if i < len(l.Param) && l.Param[i].GetLrMult() == 0 || ok && i == 0 {
				continue
			}
			if ok {
				biases = true
			} else {
				others = append(others, l)
			}
			break
		}
	}
	switch {
	case biases && len(others) > 0:
		return fmt.Sprintf("Only biases and %s learn.", list(quoted(names(others))))
	case biases:
		return "Only biases learn."
	case len(others) > 0:
		return fmt.Sprintf("Only %s learn.", list(quoted(names(others))))
	}
	return ""
}
