package doctor

import (
	"fmt"

	"crema/prototxt/caffepb"
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

// upsampling judges layers whose weights begin as bilinear interpolation.
func upsampling(c *Case, k *collector) {
	var learned []*layer
	for _, l := range c.Train.layers {
		if !l.interpolates() || len(l.bottoms) == 0 || len(l.bottoms[0].shape) < 2 {
			continue
		}
		w, _ := weightsOf(l)
		channels := l.bottoms[0].shape[1]
		if channels > 1 && w.groups != channels {
			f := l.in("bilinear-groups", Warning, Likely, "convolution_param.group")
			f.What = fmt.Sprintf("The bilinear filler of %d channels has group %d.", channels, w.groups)
			f.Why = "It fills the filters across channels as well: every output is the sum of all channels and the same as every other."
			f.Fix = fmt.Sprintf("num_output: %d group: %d", channels, channels)
			f.Set = []string{l.set("convolution_param.num_output", fmt.Sprint(channels)), l.set("convolution_param.group", fmt.Sprint(channels))}
			k.add(f)
		}
		if l.GetType() == "Deconvolution" {
			interpolation(l, k)
		}
		if rateOf(l) > 0 && len(l.Blobs) == 0 {
			learned = append(learned, l)
		}
	}
	if len(learned) > 0 {
		f := learned[0].in("bilinear-learned", Note, Possible, "param[0].lr_mult")
		f.What = fmt.Sprintf("The weights of %s begin as bilinear interpolation and are learned.", list(quoted(names(learned))))
		f.Why = "If they are only to make maps larger they should stay as they are."
		f.Fix, f.Set = "param { lr_mult: 0 }", setAll(learned, "param[0].lr_mult", "0")
		k.add(f)
	}
}

// interpolation finds kernels that do not interpolate evenly at their stride.
func interpolation(l *layer, k *collector) {
	h, w := convWindows(l.GetConvolutionParam())
	want := 2*h.stride - h.stride%2
	if h != w || h.stride < 2 || h.kernel == want {
		return
	}
	f := l.in("bilinear-kernel", Warning, Likely, "convolution_param.kernel_size")
	f.What = fmt.Sprintf("A bilinear kernel of %d×%d moves by %d; for even interpolation it must be %d.", h.kernel, h.kernel, h.stride, want)
	f.Why = "Some places get more of their neighbours than others: a pattern with the period of the stride lies over the maps."
	f.Fix = fmt.Sprintf("kernel_size: %d stride: %d (pad: %d keeps a map's size times the stride)", want, h.stride, h.stride/2)
	f.Set = []string{l.set("convolution_param.kernel_size", fmt.Sprint(want))}
	k.add(f)
}

// refusedLayers reports what layers say that cannot be built and of which no
// rule knows better.
func refusedLayers(c *Case, k *collector) {
	explained := func(l *layer) bool {
		for _, f := range k.found {
			if f.Severity == Error && f.Layer == l.GetName() {
				return true
			}
		}
		return false
	}
	for _, n := range c.nets() {
		for _, l := range n.layers {
			if l.refused == nil || explained(l) {
				continue
			}
			f := l.in("net-refused", Error, Certain, "")
			f.What = fmt.Sprintf("The layer cannot be built: %v.", l.refused)
			f.Why = "The net is refused."
			if n.Param.GetState().GetPhase() == caffepb.Phase_TEST && n != c.Train {
				f.Why = "The test net is refused, and a run that tests ends where it begins."
			}
			k.add(f)
		}
	}
}
