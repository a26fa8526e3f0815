package doctor

import (
	"fmt"
)

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
