package doctor

import (
	"errors"
	"fmt"
	"log/slog"
	"math"

	"crema/gemm"
	"crema/graph"
	"crema/internal/rng"
	"crema/internal/summary"
	"crema/prototxt/caffepb"
	"crema/solver"
	"crema/tensor"

	"google.golang.org/protobuf/proto"
)

const (
	// The scaling of a layer ends when the variance of its output is this near
	// to 1, or after so many steps (Mishkin and Matas use 0.1 and 10).
	unitTolerance = 0.02
	unitSteps     = 10
	// orthoRows is how many rows at most are made orthonormal with each other.
	// All rows of a large fully connected layer would take as long as hundreds
	// of iterations of training, and random rows of that length are nearly
	// orthogonal anyway.
	orthoRows = 1024
)

// UnitVariance writes weights to start from: layer-sequential unit-variance
// initialisation (Mishkin and Matas, "All you need is a good init", 2015).
// Layer by layer in the order they run, the weights become orthonormal (in
// groups of 1024 rows) and are scaled so that the output of the layer, before
// its nonlinearity, has variance 1 over a batch of the training data. Biases,
// other parameters, weights of other types, those of interpolation and those of
// rate 0 stay as they are filled. The file at path is a
// .caffemodel for -weights.
func (c *Case) UnitVariance(path string, log *slog.Logger) (err error) {
	sp := c.Solver
	if sp == nil {
		sp = &caffepb.SolverParameter{}
		sp.LrPolicy = proto.String("fixed")
	}
	sv, err := solver.New(quietSolver(sp, c.Train.Param), solver.Options{Log: log, ResolvePath: c.in.ResolvePath, Dir: c.Train.dir(), Load: c.in.Load})
	if err != nil {
		return fmt.Errorf("%s: %w", c.Train.File, err)
	}
	defer func() { err = errors.Join(err, sv.Close()) }()
	if err := c.unitVariance(sv.Net(), c.Train.Param, 1); err != nil {
		return fmt.Errorf("%s: %w", c.Train.File, err)
	}
	return sv.Net().SaveWeights(path, false)
}

// unitVariance does so with the weights of net, which np describes.
func (c *Case) unitVariance(owner *graph.Net, np *caffepb.NetParameter, seed uint64) (err error) {
	if quiet := withoutNoise(np); quiet != nil {
		np = quiet
	}
	net, err := graph.New(trainState(np), graph.Options{Seed: seed, ResolvePath: c.in.ResolvePath, Dir: c.Train.dir(), ShareParams: owner, NoLayout: true, NoFuse: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, net.Close()) }()
	done := map[*tensor.Blob]bool{}
	for k, n := range net.Layers() {
		if _, err := net.ForwardLayer(k); err != nil {
			return err
		}
		if !rescalable(n) || len(n.Tops) == 0 {
			continue
		}
		w := n.Layer.Params()[0]
		shared := false
		for b := range done {
			shared = shared || b.SharesData(w)
		}
		if shared || w.Axes() < 2 || n.Tops[0] == n.Bottoms[0] {
			continue
		}
		done[w] = true
		orthonormal(w.Data(), w.Dim(0), w.CountFrom(1), seed, n.Name)
		for step := 0; ; step++ {
			if _, err := net.ForwardLayer(k); err != nil {
				return err
			}
			s := summary.Of(n.Tops[0].ReadData(), 0)
			std := s.Std()
			if !s.Finite() || std == 0 {
				return fmt.Errorf("layer %q: the output is constant or not finite whatever the weights: no scale makes its variance 1", n.Name)
			}
			if math.Abs(std*std-1) < unitTolerance || step == unitSteps {
				break
			}
			scale(w.Data(), float32(1/std))
		}
	}
	if len(done) == 0 {
		return errors.New("the net has no layer with weights to initialise")
	}
	return nil
}

// rescalable reports whether the scale of a layer's weights may be chosen: those of
// recurrent layers set how long they remember, those of interpolation and what is
// never learned are as they should be.
func rescalable(n *graph.Node) bool {
	switch n.Type {
	case "Convolution", "Deconvolution":
		if n.Param.GetConvolutionParam().GetWeightFiller().GetType() == "bilinear" {
			return false
		}
	case "InnerProduct":
	default:
		return false
	}
	return len(n.Param.Param) == 0 || n.Param.Param[0].GetLrMult() != 0
}

func scale(v []float32, f float32) {
	for i := range v {
		v[i] *= f
	}
}

// orthonormal fills the rows×cols matrix w with random orthonormal rows, or
// columns if there are fewer of them, in groups of at most orthoRows.
func orthonormal(w []float32, rows, cols int, seed uint64, name string) {
	if rows > cols {
		t := make([]float32, rows*cols)
		orthonormal(t, cols, rows, seed, name)
		for i := range rows {
			for j := range cols {
				w[i*cols+j] = t[j*rows+i]
			}
		}
		return
	}
	for r := range rows {
		random := rng.New(seed, "orthonormal "+name, uint64(r))
		row := w[r*cols : (r+1)*cols]
		for j := range row {
			row[j] = float32(random.NormFloat64())
		}
	}
	for lo := 0; lo < rows; lo += orthoRows {
		hi := min(lo+orthoRows, rows)
		orthonormalise(w[lo*cols:hi*cols], hi-lo, cols)
	}
}

// orthonormalise applies block Gram–Schmidt, twice for every block as rounding
// demands (Giraud et al. 2005).
func orthonormalise(w []float32, rows, cols int) {
	const block = 32
	dots := make([]float32, block*rows)
	for lo := 0; lo < rows; lo += block {
		n := min(block, rows-lo)
		b := w[lo*cols : (lo+n)*cols]
		for range 2 {
			if lo > 0 {
				// B −= (B·Wᵀ)·W, W the rows that are done.
				gemm.Sgemm(gemm.NoTrans, gemm.Trans, n, lo, cols, 1, b, cols, w, cols, 0, dots, lo)
				gemm.Sgemm(gemm.NoTrans, gemm.NoTrans, n, cols, lo, -1, dots, lo, w, cols, 1, b, cols)
			}
			for i := range n {
				row := b[i*cols : (i+1)*cols]
				for j := range i {
					subtract(row, b[j*cols:(j+1)*cols])
				}
				scale(row, float32(1/math.Sqrt(dot(row, row))))
			}
		}
	}
}

// subtract takes from x what it has along the unit vector y.
func subtract(x, y []float32) {
	d := float32(dot(x, y))
	for i, v := range y {
		x[i] -= d * v
	}
}

func dot(x, y []float32) float64 {
	var a, b, c, d float64
	n := len(x) &^ 3
	for i := 0; i < n; i += 4 {
		a += float64(x[i]) * float64(y[i])
		b += float64(x[i+1]) * float64(y[i+1])
		c += float64(x[i+2]) * float64(y[i+2])
		d += float64(x[i+3]) * float64(y[i+3])
	}
	for i := n; i < len(x); i++ {
		a += float64(x[i]) * float64(y[i])
	}
	return a + b + c + d
}
