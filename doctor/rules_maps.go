package doctor

import (
	"fmt"
)

// maps finds windows that do not fit their maps.
func maps(c *Case, k *collector) {
	for _, l := range c.Train.layers {
		conv := l.GetType() == "Convolution"
		if !conv && l.GetType() != "Pooling" || len(l.tops) == 0 || len(l.bottoms) == 0 {
			continue
		}
		in := l.bottoms[0].shape
		var h, w window
		field := "convolution_param"
		if conv {
			h, w = convWindows(l.GetConvolutionParam())
		} else {
			h, w = poolWindows(l.GetPoolingParam(), in)
			field = "pooling_param"
		}
		if l.refused != nil && len(in) == 4 && (h.extent() > in[2]+2*h.pad || w.extent() > in[3]+2*w.pad) {
			f := l.in("kernel-too-large", Error, Certain, field)
			f.What = fmt.Sprintf("The window of %d×%d is larger than the map of %d×%d with its padding.", h.extent(), w.extent(), in[2], in[3])
			f.Why, f.Fix = "The net cannot be built.", "Fewer or smaller steps before it, a larger crop_size, or a pad."
			if conv && h.oneInCaffe(in[2]) && w.oneInCaffe(in[3]) {
				f.Why = "Caffe makes an output of one pixel of it, most of it from outside of the map; this program refuses to build it."
			}
			k.add(f)
			break // what follows has no size
		}
		if share := inside(l); conv && share < 0.34 {
			f := l.in("mostly-padding", Warning, Certain, field)
			f.What = fmt.Sprintf("The map is %d×%d, so %.0f %% of what the %d×%d kernel sees is padding.", in[2], in[3], 100*(1-share), h.kernel, w.kernel)
			f.Why = "Most of the weights are multiplied by 0 and get no gradient; the picture was reduced too far before."
			f.Fix = "Keep the maps larger: check stride and pad of the layers before, or use a 1×1 kernel."
			k.add(f)
		}
		if h.kernel > 1 && h.stride > h.kernel || w.kernel > 1 && w.stride > w.kernel {
			f := l.in("stride-skips", Warning, Likely, field+".stride")
			f.What = fmt.Sprintf("Windows of %d×%d move by %d×%d.", h.kernel, w.kernel, h.stride, w.stride)
			f.Why = "What lies between them is never looked at."
			f.Fix, f.Set = fmt.Sprintf("stride: %d", h.kernel), []string{l.set(field+".stride", fmt.Sprint(h.kernel))}
			k.add(f)
		}
		if p := l.GetPoolingParam(); !conv && p.Stride == nil && p.StrideH == nil && h.kernel > 1 && !p.GetGlobalPooling() && !keepsOrEnds(h, in) {
			f := l.in("pool-stride-missing", Warning, Likely, "pooling_param")
			f.What = fmt.Sprintf("Pooling over %d×%d has no stride, and the default is 1.", h.kernel, w.kernel)
			f.Why = "The maps keep their size: it hardly pools, and all that follows is that much larger."
			f.Fix, f.Set = fmt.Sprintf("stride: %d (or write stride: 1)", h.kernel), []string{l.set("pooling_param.stride", fmt.Sprint(h.kernel))}
			k.add(f)
		}
	}
	oddPadding(c, k)
}

// keepsOrEnds reports whether a window that moves by 1 is padded so that the map
// keeps its size, as in inception modules, or covers the whole map.
func keepsOrEnds(h window, in []int) bool {
	return h.pad > 0 && 2*h.pad == h.kernel-1 || len(in) == 4 && h.kernel >= in[2]+2*h.pad
}

// oddPadding finds the one convolution that shrinks its maps where all others
// of its kernel keep them.
func oddPadding(c *Case, k *collector) {
	keep, lose := map[int][]*layer{}, map[int][]*layer{}
	for _, l := range c.Train.layers {
		if l.GetType() != "Convolution" || len(l.bottoms) == 0 {
			continue
		}
		if s := l.bottoms[0].shape; len(s) == 4 && s[2] > 0 && s[2] <= 1 {
			continue
		}
		h, w := convWindows(l.GetConvolutionParam())
		switch {
		case h != w || h.kernel%2 == 0 || h.kernel == 1 || h.stride != 1:
		case h.pad == (h.extent()-1)/2:
			keep[h.kernel] = append(keep[h.kernel], l)
		default:
			lose[h.kernel] = append(lose[h.kernel], l)
		}
	}
	for kernel, odd := range lose {
		if len(odd) > 1 || len(keep[kernel]) < 3 {
			continue
		}
		l := odd[0]
		h, _ := convWindows(l.GetConvolutionParam())
		f := l.in("odd-padding", Warning, Possible, "convolution_param")
		f.What = fmt.Sprintf("Its pad is %d; the other %d convolutions of %d×%d keep the size of their maps with pad %d.", h.pad, len(keep[kernel]), kernel, kernel, (h.extent()-1)/2)
		f.Why = "It looks like an oversight: maps change their size here, and borders are lost or made up."
		f.Fix, f.Set = fmt.Sprintf("pad: %d", (h.extent()-1)/2), []string{l.set("convolution_param.pad", fmt.Sprint((h.extent()-1)/2))}
		k.add(f)
	}
}
