package doctor

import (
	"errors"
	"fmt"
	"log/slog"
	"math"

	"crema/internal/summary"
)

// A Number is a float that JSON shows as null if it is not finite: unknown, or
// broken.
type Number float64

// MarshalJSON implements json.Marshaler.
func (n Number) MarshalJSON() ([]byte, error) {
	if f := float64(n); math.IsNaN(f) || math.IsInf(f, 0) {
		return []byte("null"), nil
	}
	return fmt.Appendf(nil, "%.6g", float64(n)), nil
}

// MeasureOptions say how Measure works. The zero value is the default.
type MeasureOptions struct {
	// Batches is the number of batches to look at; 0 is as many as have
	// defaultImages images, at most defaultBatches.
	Batches int
	// Log receives the log of the nets that are built; nil drops it.
	Log *slog.Logger
}

const (
	defaultImages  = 18
	defaultBatches = 8
	histogramBins  = 24
	// positions is how many of a blob's elements are followed from image to
	// image.
	positions = 1 << 14
	// weightSample is how many of a parameter's values are compared before and
	// after an update.
	weightSample = 1 << 16
)

// A Measurement has what a net did with real batches.
type Measurement struct {
	// Net is the net's name; Batches batches of it and Images images were looked
	// at.
	Net     string `json:"net"`
	Batches int    `json:"batches"`
	Images  int    `json:"images"`
	// Unit is what they are if they are no images: the time steps of sequences.
	Unit string `json:"unit,omitempty"`
	// Trained says that the weights came from a file.
	Trained bool `json:"trained"`
	// Solver is the solver's type, Iter its iteration, Rate its learning rate
	// there, Momentum the one of its rule; all zero without a solver.
	Solver   string  `json:"solver"`
	Iter     int     `json:"iter"`
	Rate     Number  `json:"rate"`
	Momentum float64 `json:"momentum"`
	// Inputs are the blobs that data layers make, labels aside.
	Inputs []Input `json:"inputs"`
	// Layers are all layers that compute something, in the order they run.
	Layers []Layer `json:"layers"`
	// Losses are the losses, in the order of their layers.
	Losses []Loss `json:"losses"`
	// Signal tells how the part of the activations that differs from image to
	// image changes with depth, Gradient how the gradients do, both from the
	// first layer with weights to the last.
	Signal   Trend `json:"signal"`
	Gradient Trend `json:"gradient"`
	// NonFinite is where the first value that is not finite stands.
	NonFinite *NonFinite `json:"non_finite,omitempty"`
}

// An Input describes a blob that a data layer makes.
type Input struct {
	Layer string `json:"layer"`
	Blob  string `json:"blob"`
	// Before and After are the samples (after crop and mirror) without and with
	// mean and scale.
	Before Values `json:"before"`
	After  Values `json:"after"`
	// First is what the first layer with weights makes of it, before its
	// nonlinearity.
	First      Values `json:"first"`
	FirstLayer string `json:"first_layer"`
	// Judged says that the rules about ranges hold for it: the files say nothing
	// of its range, and nothing changes it before the first layer with weights.
	Judged bool `json:"judged,omitempty"`
	// Order is set where both a mean is subtracted and a scale applied.
	Order *Order `json:"order,omitempty"`
}

// Order shows what the order of mean and scale does on the samples.
type Order struct {
	Scale float64 `json:"scale"`
	// Difference is the largest of |(x−mean)·scale − (x·scale − mean·scale)|.
	Difference float64 `json:"difference"`
	// DividedMean and DividedRMS are those of (x − mean/255)·scale.
	DividedMean float64 `json:"divided_mean"`
	DividedRMS  float64 `json:"divided_rms"`
}

// Values describes a blob's values, as a whole and channel by channel.
type Values struct {
	summary.Summary
	Histogram summary.Histogram `json:"histogram"`
	Channels  []summary.Summary `json:"channels,omitempty"`
}

// A Layer describes what a layer's first top held.
type Layer struct {
	Name string `json:"name"`
	Type string `json:"type"`
	// Output describes the activations, Gradient the loss's gradient with
	// respect to them, as they were when the layer ran; Count is 0 where there
	// are none.
	Output   summary.Summary `json:"output"`
	Gradient summary.Summary `json:"gradient"`
	// Saturated is the share of the outputs of a sigmoid or hyperbolic tangent
	// that are within 1 % of a limit; Dead the share of a ReLU's units (channels
	// of 4-D blobs) that were zero for every image.
	Saturated float64 `json:"saturated"`
	Dead      float64 `json:"dead"`
	// Across is the RMS over a sample of the outputs of their standard deviation
	// from image to image: what the layer says of the image. Unknown with one
	// image, or if the top does not have a row for each.
	Across Number `json:"across_images"`
	// Share is Across as a share of the RMS of the same outputs: how much of them
	// depends on the image.
	Share Number `json:"image_share"`
	// Params are the layer's own learnable parameters.
	Params []Param `json:"params,omitempty"`
	// Depth is the number of layers with weights on the longest way from the data
	// to this layer, itself included.
	Depth int `json:"depth"`
	// Shown is the index of the layer whose output stands for this one's in
	// tables: the last of the nonlinearities and normalisations behind a layer
	// with weights; -1 for layers that are not shown for themselves.
	Shown int `json:"shown"`
	// Linear is that of the last BatchNorm, Scale or Bias behind it, before any
	// nonlinearity, or its own; -1 as Shown.
	Linear int `json:"linear"`
	// Normalised says that a BatchNorm is among those: the size of the weights
	// makes no difference then.
	Normalised bool `json:"normalised,omitempty"`
	// Join says that it has no weights, and branches meet here.
	Join bool `json:"join,omitempty"`
	// Last says that no layer with weights depends on it.
	Last bool `json:"last,omitempty"`
	// Marks are those of a recurrent layer, Branches the bottoms of an
	// element-wise sum, InputRMS what LRN was given.
	Marks    *Marks   `json:"marks,omitempty"`
	Branches []Branch `json:"branches,omitempty"`
	InputRMS float64  `json:"input_rms,omitempty"`
	// Idle is what LRN divides by where there is nothing: k to the power of beta.
	Idle float64 `json:"idle,omitempty"`
}

// A Param describes a learnable parameter.
type Param struct {
	Name     string          `json:"name"`
	Weights  summary.Summary `json:"weights"`
	Gradient summary.Summary `json:"gradient"`
	// Update is the RMS of the step that the solver took from here, as a share
	// of the RMS of the parameter; unknown without a solver, or if the
	// parameter is all zero.
	Update Number `json:"update"`
	// Weight says that it has at least two axes: no bias.
	Weight bool `json:"weight"`
}

// A Loss describes what a loss layer computed.
type Loss struct {
	Layer  string  `json:"layer"`
	Type   string  `json:"type"`
	Weight float64 `json:"weight"`
	// Value is the mean over the batches.
	Value Number `json:"value"`
	// Classes is the number of classes of a softmax loss, Terms how many losses
	// of single labels its value is the sum of (1 for a mean), and Chance Terms
	// times the natural logarithm of Classes: the loss of who guesses. 0 for other
	// losses.
	Classes int     `json:"classes,omitempty"`
	Terms   float64 `json:"terms,omitempty"`
	Chance  float64 `json:"chance,omitempty"`
	// K is by how much a step of rate 1 moves an output for one sample: Across
	// squared, times the sum over the layers with weights before it of lr_mult
	// over the weights' mean square. NaN if Across is not known.
	K Number `json:"k"`
	// Targets are what outputs are compared with; nil if the loss has none.
	Targets *Targets `json:"targets,omitempty"`
	// Waiting says that weights before it are 0 and a gradient will change them.
	Waiting bool `json:"waiting,omitempty"`
	// From is the layer whose output it judges.
	From string `json:"from"`
	// Output describes that output, Across and Share are as in Layer.
	Output summary.Summary `json:"output"`
	Across Number          `json:"across_images"`
	Share  Number          `json:"image_share"`
}

// A Trend is a fit over layers.
type Trend struct {
	// Factor is by what the quantity changes from a layer to the next deeper
	// (least squares of its logarithm); 0 if there are fewer than two layers.
	// Layers counts those one behind the other.
	Factor float64 `json:"factor"`
	Layers int     `json:"layers"`
	// From and To are the first and the deepest layer, First and Last the values
	// there.
	From  string  `json:"from"`
	To    string  `json:"to"`
	First float64 `json:"first"`
	Last  float64 `json:"last"`
}

// NonFinite tells where a value was NaN or infinite.
type NonFinite struct {
	Layer string `json:"layer"`
	// What it was: an activation, a gradient, a weight …
	What string `json:"what"`
	NaN  int    `json:"nan"`
	Inf  int    `json:"inf"`
}

// ErrNoData says that a net reads no data by itself.
var ErrNoData = errors.New("the net has no data of its own to be measured with")

// Measure runs batches of the training data through the net, forward and
// backward, then lets the solver make one step, and says what it saw. Nothing
// is written. The error wraps ErrNoData if the net's inputs are to be filled by
// a program.
func (c *Case) Measure(o MeasureOptions) (_ *Measurement, err error) {
	p, err := c.newProbe(c.Solver, c.Train.Param, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	if err := p.run(); err != nil {
		return nil, fmt.Errorf("%s: %w", c.Train.File, err)
	}
	return p.m, nil
}
