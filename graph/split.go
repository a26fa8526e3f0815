package graph

import (
	"fmt"
	"maps"
	"slices"

	"crema/prototxt/caffepb"

	"google.golang.org/protobuf/proto"
)

// place is a top: the layer that makes it and its position there.
type place struct{ layer, top int }

// insertSplits returns the layers with a Split added behind every top that is
// used more than once (as a bottom, or as a loss beside that), and the bottoms
// renamed to the split's tops. index gives each layer's position in the net as
// the file has it; added layers take that of the layer before them
// (util/insert_splits.cpp).
func insertSplits(ls []*caffepb.LayerParameter, index []int) ([]*caffepb.LayerParameter, []int, error) {
	maker := map[string]place{}   // blob name → its latest top
	source := map[[2]int]place{}  // layer, bottom → the top it reads
	uses := map[place]int{}       // top → number of readers
	weight := map[place]float32{} // top → its loss weight
	nextSplit := map[place]int{}  // top → next free output of its split
	for i, l := range ls {
		for j, b := range l.Bottom {
			t, ok := maker[b]
			if !ok {
				return nil, nil, &LayerError{Index: index[i], Layer: l.GetName(), Type: l.GetType(),
					Err: &missingBlob{name: b, known: slices.Sorted(maps.Keys(maker))}}
			}
			source[[2]int{i, j}] = t
			uses[t]++
		}
		for j, b := range l.Top {
			maker[b] = place{i, j}
		}
		for j := 0; j < min(len(l.LossWeight), len(l.Top)); j++ {
			t := maker[l.Top[j]]
			weight[t] = l.LossWeight[j]
			if weight[t] != 0 {
				uses[t]++
			}
		}
	}
	var out []*caffepb.LayerParameter
	var outIndex []int
	for i, l := range ls {
		l = proto.Clone(l).(*caffepb.LayerParameter)
		out, outIndex = append(out, l), append(outIndex, index[i])
		for j, b := range l.Bottom {
			t := source[[2]int{i, j}]
			if uses[t] > 1 {
				l.Bottom[j] = splitBlobName(ls[t.layer].GetName(), b, t.top, nextSplit[t])
				nextSplit[t]++
			}
		}
		for j, b := range l.Top {
			t := place{i, j}
			n := uses[t]
			if n <= 1 {
				continue
			}
			s := &caffepb.LayerParameter{
				Name:   proto.String(splitLayerName(l.GetName(), b, j)),
				Type:   proto.String("Split"),
				Bottom: []string{b},
			}
			for k := range n {
				s.Top = append(s.Top, splitBlobName(l.GetName(), b, j, k))
			}
			if w := weight[t]; w != 0 {
				s.LossWeight = make([]float32, n)
				s.LossWeight[0] = w
				l.LossWeight = nil
				nextSplit[t]++
			}
			out, outIndex = append(out, s), append(outIndex, index[i])
		}
	}
	return out, outIndex, nil
}

func splitLayerName(layer, blob string, top int) string {
	return fmt.Sprintf("%s_%s_%d_split", blob, layer, top)
}

func splitBlobName(layer, blob string, top, k int) string {
	return fmt.Sprintf("%s_%s_%d_split_%d", blob, layer, top, k)
}
