package doctor

import (
	"fmt"
)

// sequences judges recurrent layers.
func sequences(c *Case, k *collector) {
	var first *layer
	for _, l := range c.Train.layers {
		if !l.recurrent() || len(l.bottoms) < 2 {
			continue
		}
		if first == nil {
			first = l
		}
		if s := l.bottoms[0].shape; len(s) > 2 && s[0] == 1 && !l.GetRecurrentParam().GetExposeHidden() {
			f := l.in("one-time-step", Warning, Likely, "bottom")
			f.What = fmt.Sprintf("Its input is %s: one time step of %s.", shapeText(s), plural(s[1], "stream"))
			f.Why = "The first axis is time. Gradients do not go back beyond a batch, so with one step nothing is learned of what came before."
			f.Fix = "Time steps × streams × values; a Reshape layer can split batch_size into the two if the records come a time step after the other."
			k.add(f)
		}
	}
	if first != nil && c.Solver != nil && !(c.Solver.GetClipGradients() > 0) {
		f := c.of("clip-missing", Note, Possible, "clip_gradients")
		f.What = fmt.Sprintf("There are recurrent layers (%q) and no clip_gradients.", first.GetName())
		f.Why = "Now and then the gradient through many time steps is huge, and one such step can spoil the weights (Pascanu et al. 2013)."
		f.Fix, f.Set = "clip_gradients: 10, of the norm of all gradients together", []string{"clip_gradients=10"}
		k.add(f)
	}
}
