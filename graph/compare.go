package graph

import (
	"fmt"
	"math"
	"slices"

	"crema/tensor"
)

// A Comparison tells how the parameters of two files of weights differ.
type Comparison struct {
	// Params has the parameters that both files have, in the order of the first.
	Params []ParamDifference `json:"params"`
	// OnlyA and OnlyB name layers with parameters that the other file lacks.
	OnlyA []string `json:"only_in_first,omitempty"`
	OnlyB []string `json:"only_in_second,omitempty"`
}

// A ParamDifference tells how a parameter of a layer differs.
type ParamDifference struct {
	Layer string `json:"layer"`
	Type  string `json:"type,omitempty"`
	Index int    `json:"index"`
	// Shape is that of the first file.
	Shape []int `json:"shape"`
	// Problem says why the values cannot be compared: different shapes, or a
	// file without the parameter. The figures are then zero.
	Problem string `json:"problem,omitempty"`
	// Count is the number of values, Different of those that differ; two NaN
	// count as the same.
	Count     int `json:"count"`
	Different int `json:"different"`
	// Max and Mean are of the absolute differences of values that are finite
	// in both files, Largest is the largest magnitude in either.
	Max     float64 `json:"max"`
	Mean    float64 `json:"mean"`
	Largest float64 `json:"largest"`
	// NotFinite counts the values that differ and are not finite in one file.
	NotFinite int `json:"not_finite,omitempty"`
}

// Relative is the largest difference by the largest magnitude.
func (d *ParamDifference) Relative() float64 {
	if d.Max == 0 {
		return 0
	}
	return d.Max / d.Largest
}

// Same reports whether the parameter differs by no more than a tolerance, as a
// share of the largest magnitude.
func (d *ParamDifference) Same(tolerance float64) bool {
	return d.Problem == "" && d.NotFinite == 0 && d.Relative() <= tolerance
}

// Same reports whether all parameters are the same but for a tolerance, and no
// layer is in one file only.
func (c *Comparison) Same(tolerance float64) bool {
	return len(c.OnlyA)+len(c.OnlyB) == 0 &&
		!slices.ContainsFunc(c.Params, func(d ParamDifference) bool { return !d.Same(tolerance) })
}

// CompareWeights compares two files of weights, each a .caffemodel or a
// .caffemodel.h5, layer by layer of the same names. Layers without parameters do
// not count. Values are read as they are compared, one parameter at a time.
func CompareWeights(pathA, pathB string) (*Comparison, error) {
	a, err := openSource(pathA)
	if err != nil {
		return nil, err
	}
	defer a.close()
	b, err := openSource(pathB)
	if err != nil {
		return nil, err
	}
	defer b.close()
	c := &Comparison{}
	taken := make([]bool, len(b.layers))
	for i := range a.layers {
		la := &a.layers[i]
		if len(la.blobs) == 0 {
			continue
		}
		at := -1
		for k := range b.layers {
			if lb := &b.layers[k]; !taken[k] && len(lb.blobs) > 0 && lb.name == la.name {
				at = k
				break
			}
		}
		if at < 0 {
			c.OnlyA = append(c.OnlyA, la.name)
			continue
		}
		taken[at] = true
		if err := c.layer(a, b, la, &b.layers[at]); err != nil {
			return nil, err
		}
	}
	for k := range b.layers {
		if !taken[k] && len(b.layers[k].blobs) > 0 {
			c.OnlyB = append(c.OnlyB, b.layers[k].name)
		}
	}
	return c, nil
}

func (c *Comparison) layer(a, b *weightsSource, la, lb *sourceLayer) error {
	kind := la.typ
	if kind == "" {
		kind = lb.typ // HDF5 files do not have it
	}
	for i := range max(len(la.blobs), len(lb.blobs)) {
		d := ParamDifference{Layer: la.name, Type: kind, Index: i}
		pa, pb := blobAt(la, i), blobAt(lb, i)
		switch {
		case pa == nil && pb == nil:
			continue
		case pa != nil:
			d.Shape, d.Count = pa.shape, pa.count
		default:
			d.Shape, d.Count = pb.shape, pb.count
		}
		switch {
		case pa == nil && la.sparse || pb == nil && lb.sparse:
			continue // it is shared: the values are where it is owned
		case pa == nil:
			d.Problem = "only in the second file"
		case pb == nil:
			d.Problem = "only in the first file"
		case pa.bad != nil:
			return a.wrap(fmt.Errorf("layer %q, parameter %d: %w", la.name, i, pa.bad))
		case pb.bad != nil:
			return b.wrap(fmt.Errorf("layer %q, parameter %d: %w", lb.name, i, pb.bad))
		case !slices.Equal(trimmed(pa), trimmed(pb)):
			d.Problem = fmt.Sprintf("shapes differ: %s and %s", tensor.FormatShape(pa.shape), tensor.FormatShape(pb.shape))
		case pa.count != pb.count:
			d.Problem = fmt.Sprintf("numbers of values differ: %d and %d", pa.count, pb.count)
		default:
			va, vb := make([]float32, pa.count), make([]float32, pb.count)
			if err := pa.read(va); err != nil {
				return err
			}
			if err := pb.read(vb); err != nil {
				return err
			}
			d.compare(va, vb)
		}
		c.Params = append(c.Params, d)
	}
	return nil
}

// blobAt returns the i-th parameter, or nil if the layer has none or no values
// of it.
func blobAt(l *sourceLayer, i int) *sourceBlob {
	if i >= len(l.blobs) || l.blobs[i].read == nil && l.blobs[i].bad == nil {
		return nil
	}
	return &l.blobs[i]
}

// trimmed returns a shape without the ones that it begins with: in files of the
// old form they may be padding.
func trimmed(p *sourceBlob) []int {
	s := p.shape
	for len(s) > 1 && s[0] == 1 {
		s = s[1:]
	}
	return s
}

func (d *ParamDifference) compare(a, b []float32) {
	sum, finite := 0.0, 0
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		fx, fy := !math.IsNaN(x) && !math.IsInf(x, 0), !math.IsNaN(y) && !math.IsInf(y, 0)
		if fx {
			d.Largest = max(d.Largest, math.Abs(x))
		}
		if fy {
			d.Largest = max(d.Largest, math.Abs(y))
		}
		switch {
		case x == y || math.IsNaN(x) && math.IsNaN(y):
			if fx {
				finite++
			}
		case fx && fy:
			d.Different++
			e := math.Abs(x - y)
			d.Max = max(d.Max, e)
			sum += e
			finite++
		default:
			d.Different++
			d.NotFinite++
		}
	}
	if finite > 0 {
		d.Mean = sum / float64(finite)
	}
}
