package infer

import (
	"fmt"
	"strings"

	"crema/graph"
	"crema/internal/infile"
	"crema/npy"
	"crema/tensor"
)

// A Mean is the mean of pictures: C×H×W values, or one for each of C channels
// with H and W 1.
type Mean struct {
	C, H, W int
	Values  []float32
}

// ReadMean reads a mean file: a BlobProto of compute_image_mean, or an array of
// numpy (.npy) of the shape C, C×H×W or 1×C×H×W.
func ReadMean(path string) (*Mean, error) {
	shape, values, err := readArray(path)
	if err != nil {
		return nil, err
	}
	for len(shape) > 3 && shape[0] == 1 {
		shape = shape[1:]
	}
	m := &Mean{C: 1, H: 1, W: 1, Values: values}
	switch len(shape) {
	case 1:
		m.C = shape[0]
	case 3:
		m.C, m.H, m.W = shape[0], shape[1], shape[2]
	default:
		return nil, fmt.Errorf("%s: its shape %s is not C, C×H×W or 1×C×H×W", path, tensor.FormatShape(shape))
	}
	if len(values) == 0 {
		return nil, fmt.Errorf("%s: it holds no values", path)
	}
	return m, nil
}

func readArray(path string) (shape []int, values []float32, err error) {
	if !strings.HasSuffix(path, ".npy") {
		b, err := graph.ReadBlobFile(path)
		if err != nil {
			return nil, nil, err
		}
		return b.Shape(), b.ReadData(), nil
	}
	f, err := infile.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	if shape, values, err = npy.Read(f); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return shape, values, nil
}

// SetMean makes m the mean that is subtracted. If it is as large as the resized
// pictures, each value has its place, as in training; otherwise the means of
// its channels are taken, as Caffe's C++ classification example does, and what
// was done is returned for the user to know.
func (p *Preprocessor) SetMean(m *Mean) (note string, err error) {
	if m.C != p.C {
		return "", fmt.Errorf("the mean has %d channels, the net's input %d", m.C, p.C)
	}
	if m.H == p.ImageH && m.W == p.ImageW && m.H*m.W > 1 {
		p.MeanImage, p.MeanValues = m.Values, nil
		return "", nil
	}
	p.MeanImage, p.MeanValues = nil, m.ChannelMeans()
	if m.H*m.W > 1 {
		note = fmt.Sprintf("the mean of %d×%d pixels is not of the pictures' size, %d×%d: its channels' means %v are subtracted", m.H, m.W, p.ImageH, p.ImageW, p.MeanValues)
	}
	return note, nil
}

// ChannelMeans returns the mean of each channel.
func (m *Mean) ChannelMeans() []float32 {
	means := make([]float32, m.C)
	n := m.H * m.W
	for c := range means {
		var sum float64
		for _, v := range m.Values[c*n:][:n] {
			sum += float64(v)
		}
		means[c] = float32(sum / float64(n))
	}
	return means
}
