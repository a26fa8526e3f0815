package layers

import (
	"fmt"

	"crema/prototxt/caffepb"
	"crema/tensor"
)

func init() {
	Register(Type{
		Name:       "Accuracy",
		New:        newAccuracy,
		Bottoms:    Exactly(2),
		Tops:       Between(1, 2),
		NoBackward: true,
	})
}

// accuracy is the share of positions whose label is among the top_k highest
// scores (Caffe's accuracy_layer.cpp). Bottoms are scores and labels as for
// SoftmaxWithLoss. A label is among the top k if fewer than k other classes
// score as high or higher: ties count against it. The second top, if there is
// one, has the accuracy of each class; a class without positions has 0. Fields
// of accuracy_param:
//
//	top_k (1)            at most the number of classes
//	axis (1)             the class axis; negative counts from the end
//	ignore_label (none)  positions with this label do not count
type accuracy struct {
	base
	dims     axisDims
	topK     int
	ignore   *int32
	perClass []int // positions of each class
}

func newAccuracy(p *caffepb.LayerParameter, ctx *Context) (Layer, error) {
	k, err := positive("top_k", p.GetAccuracyParam().GetTopK())
	if err != nil {
		return nil, fmt.Errorf("accuracy_param: %w", err)
	}
	l := &accuracy{base: newBase(p, ctx), topK: k}
	l.warnUnused("accuracy_param")
	if ap := p.GetAccuracyParam(); ap != nil {
		l.ignore = ap.IgnoreLabel
	}
	return l, nil
}

func (l *accuracy) Reshape(bottom, top []*tensor.Blob) error {
	if err := refuseInPlace(bottom, top); err != nil {
		return err
	}
	var err error
	if l.dims, err = dimsAround(bottom[0], int(l.p.GetAccuracyParam().GetAxis())); err != nil {
		return fmt.Errorf("accuracy_param: %w", err)
	}
	if err := l.dims.checkLabels(bottom); err != nil {
		return err
	}
	if l.topK > l.dims.channels {
		return fmt.Errorf("accuracy_param: top_k is %d but there are only %d classes", l.topK, l.dims.channels)
	}
	top[0].Reshape()
	if len(top) > 1 {
		top[1].Reshape(l.dims.channels)
		l.perClass = make([]int, l.dims.channels)
	}
	return nil
}

func (l *accuracy) Forward(bottom, top []*tensor.Blob) error {
	d, scores, labels := l.dims, bottom[0].ReadData(), bottom[1].ReadData()
	var classTop []float32
	if len(top) > 1 {
		classTop = top[1].Data()
		clear(classTop)
		clear(l.perClass)
	}
	hits, count := 0, 0
	for i := range d.outer {
		for k := range d.inner {
			label, ok, err := d.label(labels, i*d.inner+k, l.ignore)
			if err != nil {
				return err
			}
			if !ok {
				continue
			}
			at := i*d.channels*d.inner + k
			s := scores[at+label*d.inner]
			better := -1 // the label itself will be counted
			for c := 0; c < d.channels && better < l.topK; c++ {
				if scores[at+c*d.inner] >= s {
					better++
				}
			}
			hit := better < l.topK
			count++
			if hit {
				hits++
			}
			if classTop != nil {
				l.perClass[label]++
				if hit {
					classTop[label]++
				}
			}
		}
	}
	top[0].Data()[0] = 0
	if count > 0 {
		top[0].Data()[0] = float32(hits) / float32(count)
	}
	for c := range classTop {
		if l.perClass[c] > 0 {
			classTop[c] /= float32(l.perClass[c])
		}
	}
	return nil
}

func (l *accuracy) Backward(_ []*tensor.Blob, propagateDown []bool, _ []*tensor.Blob) error {
	return refuseGradient(propagateDown)
}
