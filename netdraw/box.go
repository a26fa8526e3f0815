package netdraw

import (
	"fmt"
	"strings"

	"crema/netinfo"
	"crema/tensor"
)

// A box is a layer with those that follow it in place.
type box struct {
	layers []*netinfo.Layer
	lines  []line
	kind   kind
	rank   int
	// in and out are the wires that end and begin here.
	in, out []*wire
}

// A line of text in a box.
type line struct {
	text string
	bold bool
}

// A wire is a blob: from the box that makes it to those that read it.
type wire struct {
	blob string
	from *box
	to   []*box
}

// diagram is a net as boxes and wires, in the order of its layers.
type diagram struct {
	title, subtitle string
	boxes           []*box
	wires           []*wire
}

// newDiagram groups the layers of a net.
func newDiagram(i *netinfo.Info) *diagram {
	d := &diagram{title: i.Name}
	if d.title == "" {
		d.title = "net"
	}
	d.subtitle = i.Phase + " phase"
	if i.MACs > 0 {
		d.subtitle += fmt.Sprintf(", %s parameters, %s multiply-adds", netinfo.Short(i.Parameters), netinfo.Short(i.PerItem(i.MACs)))
		if i.Batch > 1 {
			d.subtitle += fmt.Sprintf(" for each of %d items", i.Batch)
		}
	}
	made := map[string]*wire{}
	for k := range i.Layers {
		l := &i.Layers[k]
		if inPlace(l) {
			// One that changes one of several blobs is better seen by itself.
			if w := made[l.Bottoms[0].Name]; w != nil && len(w.to) == 0 && len(w.from.layers[0].Tops) == 1 {
				w.from.layers = append(w.from.layers, l)
				continue
			}
		}
		b := &box{layers: []*netinfo.Layer{l}}
		d.boxes = append(d.boxes, b)
		for _, bottom := range l.Bottoms {
			if w := made[bottom.Name]; w != nil {
				w.to = append(w.to, b)
				b.in = append(b.in, w)
			}
		}
		for _, top := range l.Tops {
			w := &wire{blob: top.Name, from: b}
			made[top.Name] = w
			b.out = append(b.out, w)
			d.wires = append(d.wires, w)
		}
	}
	for _, b := range d.boxes {
		b.kind = kindOf(b.layers[0])
		b.lines = b.text(i)
	}
	return d
}

func inPlace(l *netinfo.Layer) bool {
	return len(l.Bottoms) == 1 && len(l.Tops) == 1 && l.Bottoms[0].Name == l.Tops[0].Name
}

// text returns what stands in the box.
func (b *box) text(i *netinfo.Info) []line {
	l := b.layers[0]
	head := l.Type
	if l.Geometry != "" {
		head += " " + l.Geometry
	}
	lines := []line{{text: l.Name, bold: true}, {text: head}}
	var macs, params int64
	for k, x := range b.layers {
		macs += x.MACs
		params += x.Parameters
		if k > 0 {
			lines = append(lines, line{text: "+ " + x.Type + " " + x.Name})
		}
	}
	for _, t := range l.Tops {
		if t.Shape == nil {
			continue
		}
		shape := tensor.FormatShape(t.Shape)
		if len(l.Tops) > 1 {
			shape = t.Name + " " + shape
		}
		lines = append(lines, line{text: shape})
	}
	var work []string
	if params > 0 {
		work = append(work, netinfo.Short(params)+" parameters")
	}
	if macs > 0 {
		work = append(work, netinfo.Short(i.PerItem(macs))+" multiply-adds")
	}
	if len(work) > 0 {
		lines = append(lines, line{text: strings.Join(work, ", ")})
	}
	return lines
}

// A kind is what boxes of one colour have in common.
type kind int

const (
	other kind = iota
	source
	product // with weights
	pooling
	normalizer
	activation
	joint // of several blobs
	loss
)

// kindOf sorts a layer by its type.
func kindOf(l *netinfo.Layer) kind {
	switch l.Type {
	case "Convolution", "Deconvolution", "InnerProduct", "LSTM", "RNN", "Embed":
		return product
	case "Pooling", "SPP":
		return pooling
	case "LRN", "BatchNorm", "Scale", "Bias", "MVN":
		return normalizer
	case "ReLU", "PReLU", "ELU", "Sigmoid", "TanH", "BNLL", "AbsVal", "Power", "Exp", "Log", "Swish", "Clip", "Threshold", "Dropout", "Softmax":
		return activation
	case "Concat", "Eltwise", "Slice", "Crop", "Split":
		return joint
	case "Accuracy":
		return loss
	}
	switch {
	case strings.HasSuffix(l.Type, "Loss"):
		return loss
	case len(l.Bottoms) == 0:
		return source
	}
	return other
}

// colors of boxes, as red, green, blue: pale, so that black text is read well on
// all of them.
var colors = map[kind][3]uint8{
	other:      {0xec, 0xec, 0xec},
	source:     {0xd5, 0xec, 0xd4},
	product:    {0xcf, 0xe2, 0xf6},
	pooling:    {0xfb, 0xe3, 0xcb},
	normalizer: {0xe7, 0xdc, 0xf3},
	activation: {0xfa, 0xf3, 0xc8},
	joint:      {0xd3, 0xee, 0xee},
	loss:       {0xf8, 0xd7, 0xd7},
}
