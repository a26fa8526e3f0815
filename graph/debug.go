package graph

import (
	"math"

	"crema/internal/glog"
)

// meanAbs returns the mean magnitude of v, as debug_info prints it.
func meanAbs(v []float32) float32 {
	if len(v) == 0 {
		return 0
	}
	return float32(asum(v) / float64(len(v)))
}

func asum(v []float32) float64 {
	var s float64
	for _, x := range v {
		s += math.Abs(float64(x))
	}
	return s
}

func sumsq(v []float32) float64 {
	var s float64
	for _, x := range v {
		s += float64(x) * float64(x)
	}
	return s
}

// forwardDebug logs what debug_info shows of a layer after its forward pass.
func (n *Net) forwardDebug(l *Node) {
	for i, b := range l.Tops {
		glog.Infof(n.log, "    [Forward] Layer %s, top blob %s data: %s", l.Name, l.TopNames[i], glog.G(meanAbs(b.ReadData())))
	}
	for i, b := range l.Layer.Params() {
		glog.Infof(n.log, "    [Forward] Layer %s, param blob %s data: %s", l.Name, l.ParamNames[i], glog.G(meanAbs(b.ReadData())))
	}
}

// backwardDebug logs what debug_info shows of a layer after its backward pass.
func (n *Net) backwardDebug(l *Node) {
	for i, b := range l.Bottoms {
		if l.PropagateDown[i] {
			glog.Infof(n.log, "    [Backward] Layer %s, bottom blob %s diff: %s", l.Name, l.BottomNames[i], glog.G(meanAbs(b.Diff())))
		}
	}
	for i, b := range l.Layer.Params() {
		if l.Layer.ParamPropagateDown(i) {
			glog.Infof(n.log, "    [Backward] Layer %s, param blob %d diff: %s", l.Name, i, glog.G(meanAbs(b.Diff())))
		}
	}
}

// backwardSummary logs the norms of all learnable parameters; at error level,
// as Caffe does.
func (n *Net) backwardSummary() {
	var l1, l1d, l2, l2d float64
	for _, p := range n.params {
		l1 += asum(p.Blob.ReadData())
		l1d += asum(p.Blob.Diff())
		l2 += sumsq(p.Blob.ReadData())
		l2d += sumsq(p.Blob.Diff())
	}
	glog.Errorf(n.log, "    [Backward] All net params (data, diff): L1 norm = (%s, %s); L2 norm = (%s, %s)",
		glog.G(l1), glog.G(l1d), glog.G(math.Sqrt(l2)), glog.G(math.Sqrt(l2d)))
}
