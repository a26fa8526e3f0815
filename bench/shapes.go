package bench

import "fmt"

// A GEMM is a product of row-major matrices, op(A)·op(B), where op transposes
// if TransA, TransB: op(A) is M×K, op(B) K×N.
type GEMM struct {
	Name           string
	TransA, TransB bool
	M, N, K        int
}

// Flops is the number of additions and multiplications.
func (g GEMM) Flops() float64 { return 2 * float64(g.M) * float64(g.N) * float64(g.K) }

// Transposition is NN, NT, TN or TT.
func (g GEMM) Transposition() string {
	letter := map[bool]string{false: "N", true: "T"}
	return letter[g.TransA] + letter[g.TransB]
}

func (g GEMM) String() string {
	return fmt.Sprintf("%s %s %d×%d×%d", g.Name, g.Transposition(), g.M, g.N, g.K)
}

// Transpositions returns g in its four transpositions, NN, NT, TN, TT: sizes
// and work are the same.
func (g GEMM) Transpositions() []GEMM {
	var all []GEMM
	for _, g.TransA = range []bool{false, true} {
		for _, g.TransB = range []bool{false, true} {
			all = append(all, g)
		}
	}
	return all
}

// Squares returns square products, of round sizes first.
func Squares() []GEMM {
	var all []GEMM
	for _, n := range []int{256, 512, 1024, 2048, 4096, 255, 511, 1000, 2047} {
		all = append(all, GEMM{Name: fmt.Sprint(n), M: n, N: n, K: n})
	}
	return all
}

// A Direction is one of the three products of a layer.
type Direction int

// The directions of a layer.
const (
	Forward Direction = iota
	Data              // gradient of the input
	Weights           // gradient of the weights
)

// Directions are all of them.
var Directions = []Direction{Forward, Data, Weights}

func (d Direction) String() string { return [...]string{"forward", "data", "weights"}[d] }

// A Conv is a 3×3 convolution with padding 1 and stride 1 of N images of
// C×H×H to K channels.
type Conv struct {
	Name       string
	N, C, H, K int
	// Layers is how many of VGG-16's layers have the shape.
	Layers int
}

// Flops is the number of additions and multiplications of the direct method,
// in each direction.
func (c Conv) Flops() float64 {
	return 2 * 9 * float64(c.N) * float64(c.C) * float64(c.K) * float64(c.H) * float64(c.H)
}

// Convs returns VGG-16's nine shapes of convolutions for n images.
func Convs(n int) []Conv {
	return []Conv{
		{"conv1_1", n, 3, 224, 64, 1},
		{"conv1_2", n, 64, 224, 64, 1},
		{"conv2_1", n, 64, 112, 128, 1},
		{"conv2_2", n, 128, 112, 128, 1},
		{"conv3_1", n, 128, 56, 256, 1},
		{"conv3_2", n, 256, 56, 256, 2},
		{"conv4_1", n, 256, 28, 512, 1},
		{"conv4_2", n, 512, 28, 512, 2},
		{"conv5_1", n, 512, 14, 512, 3},
	}
}

// GEMM returns the product that the convolution of one image becomes with
// im2col, as Caffe does it.
func (c Conv) GEMM(d Direction) GEMM {
	rs, pixels := 9*c.C, c.H*c.H
	name := c.Name + " " + d.String()
	switch d {
	case Data:
		return GEMM{name, true, false, rs, pixels, c.K}
	case Weights:
		return GEMM{name, false, true, c.K, rs, pixels}
	}
	return GEMM{name, false, false, c.K, pixels, rs}
}

// An FC is a fully connected layer of a batch of N, from In to Out, with
// weights Out×In.
type FC struct {
	Name       string
	N, In, Out int
}

// FCs returns VGG-16's fully connected layers for a batch of n.
func FCs(n int) []FC {
	return []FC{{"fc6", n, 25088, 4096}, {"fc7", n, 4096, 4096}, {"fc8", n, 4096, 1000}}
}

// GEMM returns the layer's product in direction d.
func (f FC) GEMM(d Direction) GEMM {
	name := f.Name + " " + d.String()
	switch d {
	case Data:
		return GEMM{name, false, false, f.N, f.In, f.Out}
	case Weights:
		return GEMM{name, true, false, f.Out, f.In, f.N}
	}
	return GEMM{name, false, true, f.N, f.Out, f.In}
}
