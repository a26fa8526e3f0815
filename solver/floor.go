package solver

import (
	"fmt"

	"crema/graph"
	"crema/internal/glog"
	"crema/layers"
)

// A net that has run into the floor of its loss does not come back from it: the
// gradient there says only that the right class should be likelier, by the same
// amount however wrong the scores are, while the scores are too far apart for
// that to matter. The mean loss shows it only if all labels of a batch are
// there; so the labels are counted.
const (
	// deadBatches is after how many batches in a row with at least deadShare of
	// the labels at the floor a run is called dead.
	deadBatches = 50
	deadShare   = 0.5
	// warnBatches and warnShare are the same for a warning.
	warnBatches = 20
	warnShare   = 0.05
)

// floorCount is what is remembered of the labels of one loss.
type floorCount struct {
	dead, warn int // batches in a row
	warned     bool
}

// deadLabels looks at how many labels of the last batch are at the floor of a
// loss, and returns what is wrong with the run, or "". It warns, once, of a run
// that is not dead but has some there in every batch.
func (s *Solver) deadLabels(n *graph.Node, loss string) string {
	f, ok := n.Layer.(layers.FloorCounter)
	if !ok {
		return ""
	}
	at, of := f.Floored()
	c := s.floors[n.Name]
	c.dead, c.warn = next(c.dead, at, of, deadShare), next(c.warn, at, of, warnShare)
	warn := c.warn >= warnBatches && !c.warned
	c.warned = c.warned || warn
	if s.floors == nil {
		s.floors = map[string]floorCount{}
	}
	s.floors[n.Name] = c
	low, high := float32(0), float32(0)
	if warn || c.dead >= deadBatches {
		low, high = extent(n.Bottoms[0].ReadData())
	}
	if c.dead >= deadBatches {
		c.dead = 0 // for after a rollback
		s.floors[n.Name] = c
		return fmt.Sprintf("in each of the last %d batches at least %.0f%% of the labels have no probability left (the loss of each is at its floor, 87.3365), in the last one %d of %d; the mean loss %q is %s, and the scores in blob %q lie between %s and %s",
			deadBatches, 100*deadShare, at, of, loss, glog.G(n.Tops[0].ReadData()[0]), n.BottomNames[0], glog.G(low), glog.G(high))
	}
	if warn {
		glog.Warnf(s.log, "In each of the last %d batches some labels have no probability left (the loss of each is at its floor, 87.3365), in the last one %d of %d of loss %q: they teach the net next to nothing. The scores in blob %q lie between %s and %s; a lower rate, weights that begin smaller, or inputs scaled to about 1 keep them together",
			warnBatches, at, of, loss, n.BottomNames[0], glog.G(low), glog.G(high))
	}
	return ""
}

// next counts a batch of which at labels of of are at the floor.
func next(n, at, of int, share float64) int {
	if at == 0 || float64(at) < share*float64(of) {
		return 0
	}
	return n + 1
}
