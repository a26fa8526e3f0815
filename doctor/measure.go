package doctor

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"

	"crema/graph"
	"crema/internal/summary"
	"crema/prototxt/caffepb"
	"crema/solver"
	"crema/tensor"

	"google.golang.org/protobuf/proto"
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
	// Shown is the index of the layer whose output stands for this one's in
	// tables: the last of the nonlinearities and normalisations behind a layer
	// with weights; -1 for layers that are not shown for themselves.
	Shown int `json:"shown"`
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
	// Classes is the number of classes of a softmax loss, Chance its natural
	// logarithm: the loss of who guesses. 0 for other losses.
	Classes int     `json:"classes,omitempty"`
	Chance  float64 `json:"chance,omitempty"`
	// From is the layer whose output it judges.
	From string `json:"from"`
	// Output describes that output, Across and Share are as in Layer.
	Output summary.Summary `json:"output"`
	Across Number          `json:"across_images"`
	Share  Number          `json:"image_share"`
}

// A Trend is a fit over layers.
type Trend struct {
	// Factor is by what the quantity changes from a layer to the next (least
	// squares of its logarithm); 0 if there are fewer than two layers.
	Factor float64 `json:"factor"`
	Layers int     `json:"layers"`
	// From and To are the first and the last layer, First and Last the values
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

// followers are the types that belong to the layer with weights in front of
// them.
var followers = []string{"ReLU", "PReLU", "ELU", "Sigmoid", "TanH", "BNLL", "AbsVal", "BatchNorm", "Scale", "Bias"}

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

// A probe measures one net.
type probe struct {
	m       *Measurement
	c       *Case
	o       MeasureOptions
	sv      *solver.Solver // nil without
	net     *graph.Net
	still   *graph.Net // the net without dropout's noise; net itself if it has none
	seed    uint64
	batches int
	passes  int // so far
	images  int // in a batch, 0 if unknown
	layers  []*layerProbe
	inputs  []*inputProbe
	losses  []float64
}

type layerProbe struct {
	Layer
	node   *graph.Node
	alive  []bool // of a ReLU's units
	across *imageSums
	near   int // saturated values
	params []*graph.Param
}

// newProbe builds the net (with its solver, if sp is not nil) to measure. The
// solver's own tests, snapshots and displays are left out.
func (c *Case) newProbe(sp *caffepb.SolverParameter, np *caffepb.NetParameter, o MeasureOptions) (_ *probe, err error) {
	for _, l := range c.Train.layers {
		if t := l.GetType(); t == "Input" || t == "MemoryData" {
			return nil, fmt.Errorf("%s: layer %q (%s): %w", c.Train.File, l.GetName(), t, ErrNoData)
		}
	}
	p := &probe{c: c, o: o, seed: 1, m: &Measurement{Net: np.GetName()}}
	defer func() {
		if err != nil {
			p.Close()
		}
	}()
	g := graph.Options{Log: o.Log, ResolvePath: c.in.ResolvePath, Dir: c.Train.dir(), NoLayout: true, NoFuse: true}
	if sp != nil {
		sp := quietSolver(sp, np)
		if c.in.Weights != "" {
			sp.Weights = []string{c.in.Weights}
		}
		if p.sv, err = solver.New(sp, solver.Options{Log: o.Log, ResolvePath: c.in.ResolvePath, Dir: c.Train.dir(), Load: c.in.Load, Snapshot: c.in.Snapshot,
			OnIteration: func(q solver.Progress) { p.m.Rate = Number(q.Rate) }}); err != nil {
			return nil, fmt.Errorf("%s: %w", c.Train.File, err)
		}
		g.ShareParams, p.seed = p.sv.Net(), uint64(sp.GetRandomSeed())
		p.m.Solver = sp.GetType()
		p.m.Iter, p.m.Momentum = p.sv.Iter(), float64(sp.GetMomentum())
		p.m.Trained = len(sp.Weights) > 0 || c.in.Snapshot != ""
	}
	g.Seed = p.seed
	if p.net, err = graph.New(trainState(np), g); err != nil {
		return nil, fmt.Errorf("%s: %w", c.Train.File, err)
	}
	p.still = p.net
	if quiet := withoutNoise(np); quiet != nil {
		g.ShareParams = p.net
		if p.still, err = graph.New(trainState(quiet), g); err != nil {
			return nil, fmt.Errorf("%s: %w", c.Train.File, err)
		}
	}
	if sp == nil && c.in.Weights != "" {
		p.m.Trained = true
		if err := p.net.Finetune(c.in.Weights, c.in.Load); err != nil {
			return nil, err
		}
	}
	if err := p.prepare(); err != nil {
		return nil, fmt.Errorf("%s: %w", c.Train.File, err)
	}
	return p, nil
}

// trainState returns np with the TRAIN phase in its state.
func trainState(np *caffepb.NetParameter) *caffepb.NetParameter {
	np = proto.CloneOf(np)
	if np.State == nil {
		np.State = &caffepb.NetState{}
	}
	np.State.Phase = caffepb.Phase_TRAIN.Enum()
	return withoutFiles(np)
}

// withoutFiles makes layers that write files consume their bottoms and do no
// more: what they have written belongs to the user's own runs.
func withoutFiles(np *caffepb.NetParameter) *caffepb.NetParameter {
	for _, l := range np.Layer {
		if l.GetType() == "HDF5Output" {
			l.Type, l.Hdf5OutputParam = proto.String("Silence"), nil
		}
	}
	return np
}

// withoutNoise returns np with its Dropout layers as they are in a test, or nil
// if there are none. What they add differs from image to image, but says
// nothing of the image.
func withoutNoise(np *caffepb.NetParameter) *caffepb.NetParameter {
	np = proto.CloneOf(np)
	found := false
	for _, l := range np.Layer {
		if l.GetType() == "Dropout" && l.Phase == nil {
			l.Phase = caffepb.Phase_TEST.Enum()
			found = true
		}
	}
	if !found {
		return nil
	}
	return np
}

// quietSolver returns a solver for the net np alone that tests, displays and
// writes nothing, and whose seed is fixed.
func quietSolver(sp *caffepb.SolverParameter, np *caffepb.NetParameter) *caffepb.SolverParameter {
	sp = proto.CloneOf(sp)
	sp.Net, sp.NetParam, sp.TrainNet = nil, nil, nil
	sp.TrainNetParam = withoutFiles(proto.CloneOf(np))
	sp.TestNet, sp.TestNetParam, sp.TestIter, sp.TestState = nil, nil, nil, nil
	sp.TestInterval, sp.Snapshot, sp.Display = nil, nil, nil
	sp.SnapshotAfterTrain, sp.DebugInfo = proto.Bool(false), nil
	sp.SnapshotPrefix, sp.SnapshotFormat = nil, nil
	sp.AverageLoss = nil
	if sp.GetRandomSeed() < 0 {
		sp.RandomSeed = proto.Int64(1)
	}
	return sp
}

// Close releases the nets.
func (p *probe) Close() error {
	var errs []error
	for _, in := range p.inputs {
		errs = append(errs, in.Close())
	}
	if p.still != nil && p.still != p.net {
		errs = append(errs, p.still.Close())
	}
	if p.net != nil {
		errs = append(errs, p.net.Close())
	}
	if p.sv != nil {
		errs = append(errs, p.sv.Close())
	}
	return errors.Join(errs...)
}

// prepare settles what is measured where.
func (p *probe) prepare() error {
	nodes := p.net.Layers()
	for _, n := range nodes {
		if graph.IsSource(n.Param) && len(n.Tops) > 0 && n.Tops[0].Axes() > 0 {
			p.images = n.Tops[0].Dim(0)
			break
		}
	}
	p.batches = p.o.Batches
	if p.batches <= 0 {
		p.batches = defaultBatches
		if p.images > 0 {
			p.batches = min(max((defaultImages+p.images-1)/p.images, 1), defaultBatches)
		}
	}
	for i, n := range nodes {
		if len(n.Tops) == 0 {
			continue
		}
		l := &layerProbe{node: n, Layer: Layer{Name: n.Name, Type: n.Type, Shown: -1}}
		if len(n.Bottoms) > 0 && n.Type != "Split" {
			if weighted(n) {
				l.Shown = i
			}
			if p.images > 0 && n.Tops[0].Axes() > 0 && n.Tops[0].Dim(0) == p.images {
				l.across = &imageSums{}
			}
			for _, lp := range p.net.Params() {
				if lp.Owner == n {
					l.params = append(l.params, lp)
					l.Params = append(l.Params, Param{Name: lp.Name, Update: Number(math.NaN()), Weight: lp.Blob.Axes() > 1})
				}
			}
		}
		p.layers = append(p.layers, l)
	}
	for i, l := range p.layers {
		if l.Shown < 0 {
			continue
		}
		l.Shown = i
		for at := l.node.Tops[0]; ; {
			j := slices.IndexFunc(p.layers[l.Shown+1:], func(x *layerProbe) bool { return slices.Contains(x.node.Bottoms, at) })
			if j < 0 {
				break
			}
			j += l.Shown + 1
			if !slices.Contains(followers, p.layers[j].Type) {
				break
			}
			l.Shown, at = j, p.layers[j].node.Tops[0]
		}
	}
	p.losses = make([]float64, len(p.layers))
	return p.prepareInputs()
}

// weighted reports whether a layer has weights that mix its inputs.
func weighted(n *graph.Node) bool {
	if slices.Contains(followers, n.Type) {
		return false
	}
	return slices.ContainsFunc(n.Layer.Params(), func(b *tensor.Blob) bool { return b.Axes() > 1 })
}

// run passes the batches through the net and makes the report.
func (p *probe) run() error {
	for range p.batches {
		if err := p.forward(); err != nil {
			return err
		}
		p.net.ClearParamDiffs()
		if err := p.backward(); err != nil {
			return err
		}
	}
	p.m.Batches, p.m.Images = p.batches, p.batches*p.images
	if err := p.step(); err != nil {
		return err
	}
	p.report()
	return nil
}

// nonFinite notes the first value that is not finite.
func (p *probe) nonFinite(layer, what string, s summary.Summary) {
	if p.m.NonFinite == nil && !s.Finite() {
		p.m.NonFinite = &NonFinite{Layer: layer, What: what, NaN: s.NaN, Inf: s.Inf}
	}
}

// forward runs one batch forward and looks at each layer's output before a
// later layer changes it in place.
func (p *probe) forward() error {
	i := 0
	for k, n := range p.net.Layers() {
		if p.passes == 0 {
			for _, lp := range p.paramsOf(n) {
				p.nonFinite(n.Name, "parameter "+lp.Name, summary.Of(lp.Blob.ReadData(), 0))
			}
		}
		if _, err := p.net.ForwardLayer(k); err != nil {
			return err
		}
		if p.still != p.net {
			if _, err := p.still.ForwardLayer(k); err != nil {
				return err
			}
		}
		if len(n.Tops) == 0 {
			continue
		}
		l := p.layers[i]
		v := n.Tops[0].Values()
		s := summary.Of(v, 0)
		p.nonFinite(n.Name, "output", s)
		merge(&l.Output, s)
		for t, w := range n.LossWeights {
			if w != 0 && t == 0 && len(v) > 0 {
				p.losses[i] += float64(v[0])
			}
		}
		l.count(n.Tops[0], v)
		if l.across != nil {
			b := p.still.Layers()[k].Tops[0]
			l.across.add(b.Values(), b.Dim(0))
		}
		for _, in := range p.inputs {
			if err := in.passed(n, v); err != nil {
				return err
			}
		}
		i++
	}
	p.passes++
	return nil
}

func (p *probe) paramsOf(n *graph.Node) []*graph.Param {
	for _, l := range p.layers {
		if l.node == n {
			return l.params
		}
	}
	return nil
}

// count counts dead and saturated units.
func (l *layerProbe) count(b *tensor.Blob, v []float32) {
	switch l.Type {
	case "ReLU":
		if l.node.Param.GetReluParam().GetNegativeSlope() != 0 || b.Axes() < 2 {
			break
		}
		units := b.Dim(1)
		if l.alive == nil {
			l.alive = make([]bool, units)
		}
		size := b.CountFrom(2)
		for c := 0; size > 0 && c*size < len(v); c++ {
			if u := c % units; !l.alive[u] {
				l.alive[u] = slices.ContainsFunc(v[c*size:(c+1)*size], func(x float32) bool { return x != 0 })
			}
		}
	case "Sigmoid":
		for _, x := range v {
			if x < 0.01 || x > 0.99 {
				l.near++
			}
		}
	case "TanH":
		for _, x := range v {
			if x < -0.99 || x > 0.99 {
				l.near++
			}
		}
	}
}

// backward runs one batch backward and looks at each gradient when it is whole.
func (p *probe) backward() error {
	nodes := p.net.Layers()
	i := len(p.layers) - 1
	for k := len(nodes) - 1; k >= 0; k-- {
		n := nodes[k]
		if len(n.Tops) == 0 {
			if err := p.net.BackwardLayer(k); err != nil {
				return err
			}
			continue
		}
		l := p.layers[i]
		i--
		loss := slices.ContainsFunc(n.LossWeights, func(w float32) bool { return w != 0 })
		if n.NeedBackward && !loss && n.Tops[0].HasDiff() && n.Type != "Split" {
			s := summary.Of(n.Tops[0].Gradients(), 0)
			p.nonFinite(n.Name, "gradient of the output", s)
			merge(&l.Gradient, s)
		}
		if err := p.net.BackwardLayer(k); err != nil {
			return err
		}
		if !n.NeedBackward {
			continue
		}
		for j, lp := range l.params {
			s := summary.Of(lp.Blob.Diff(), 0)
			p.nonFinite(n.Name, "gradient of parameter "+lp.Name, s)
			merge(&l.Params[j].Gradient, s)
		}
	}
	return nil
}

// step lets the solver make one iteration and compares the weights before and
// after.
func (p *probe) step() error {
	for _, l := range p.layers {
		for j, lp := range l.params {
			l.Params[j].Weights = summary.Of(lp.Blob.ReadData(), 0)
		}
	}
	if p.sv == nil {
		return nil
	}
	var before [][]float32
	for _, lp := range p.sv.Net().Params() {
		before = append(before, sampled(lp.Blob))
	}
	if err := p.sv.Step(1); err != nil {
		return err
	}
	after := map[string]Number{}
	for i, lp := range p.sv.Net().Params() {
		var d, w float64
		for k, v := range sampled(lp.Blob) {
			x := float64(before[i][k])
			d += (float64(v) - x) * (float64(v) - x)
			w += x * x
		}
		ratio := math.NaN()
		if w > 0 {
			ratio = math.Sqrt(d / w)
		}
		after[lp.Layer+"\x00"+lp.Name] = Number(ratio)
	}
	for _, l := range p.layers {
		for j := range l.Params {
			l.Params[j].Update = after[l.Name+"\x00"+l.Params[j].Name]
		}
	}
	return nil
}

// sampled returns a copy of a spread sample of a blob's values.
func sampled(b *tensor.Blob) []float32 {
	var s []float32
	summary.Each(b.ReadData(), weightSample, func(v []float32) { s = append(s, v...) })
	return s
}

// merge makes a describe the values of both.
func merge(a *summary.Summary, b summary.Summary) {
	na, nb := a.Count-a.NaN-a.Inf, b.Count-b.NaN-b.Inf
	switch {
	case nb == 0:
	case na == 0:
		a.Min, a.Max, a.Mean, a.RMS, a.Zero, a.Negative = b.Min, b.Max, b.Mean, b.RMS, b.Zero, b.Negative
	default:
		wa, wb := float64(na)/float64(na+nb), float64(nb)/float64(na+nb)
		a.Min, a.Max = min(a.Min, b.Min), max(a.Max, b.Max)
		a.Mean = wa*a.Mean + wb*b.Mean
		a.RMS = math.Sqrt(wa*a.RMS*a.RMS + wb*b.RMS*b.RMS)
		a.Zero = wa*a.Zero + wb*b.Zero
		a.Negative = wa*a.Negative + wb*b.Negative
	}
	a.Count, a.NaN, a.Inf = a.Count+b.Count, a.NaN+b.NaN, a.Inf+b.Inf
}

// imageSums follows a sample of a blob's elements from image to image.
type imageSums struct {
	at           []int // offsets within an image
	sum, squares []float64
	n            int
}

// add takes in a batch of images that lie one after the other in v.
func (s *imageSums) add(v []float32, images int) {
	size := len(v) / images
	if s.at == nil {
		n := min(size, positions)
		for i := range n {
			s.at = append(s.at, int(int64(i)*int64(size)/int64(n)))
		}
		s.sum, s.squares = make([]float64, n), make([]float64, n)
	}
	for i := range images {
		row := v[i*size : (i+1)*size]
		for k, at := range s.at {
			if at >= len(row) {
				continue
			}
			x := float64(row[at])
			s.sum[k] += x
			s.squares[k] += x * x
		}
	}
	s.n += images
}

// deviation returns the root of the mean variance, and the same as a share of
// the RMS; NaN with fewer than two images.
func (s *imageSums) deviation() (across, share Number) {
	if s == nil || s.n < 2 || len(s.at) == 0 {
		return Number(math.NaN()), Number(math.NaN())
	}
	var variance, square float64
	n := float64(s.n)
	for k, sum := range s.sum {
		variance += max(0, s.squares[k]-sum*sum/n) / (n - 1)
		square += s.squares[k] / n
	}
	if square == 0 {
		return 0, 0
	}
	return Number(math.Sqrt(variance / float64(len(s.sum)))), Number(math.Sqrt(variance / square))
}

// report makes the figures of all batches into the report.
func (p *probe) report() {
	index := map[int]int{} // of p.layers in m.Layers
	for i, l := range p.layers {
		if len(l.node.Bottoms) == 0 || l.Type == "Split" {
			continue
		}
		l.Across, l.Share = l.across.deviation()
		if l.Output.Count > 0 {
			l.Saturated = float64(l.near) / float64(l.Output.Count)
		}
		if len(l.alive) > 0 {
			dead := 0
			for _, a := range l.alive {
				if !a {
					dead++
				}
			}
			l.Dead = float64(dead) / float64(len(l.alive))
		}
		index[i] = len(p.m.Layers)
		p.m.Layers = append(p.m.Layers, l.Layer)
	}
	for i := range p.m.Layers {
		if s := p.m.Layers[i].Shown; s >= 0 {
			p.m.Layers[i].Shown = index[s]
		}
	}
	for i, l := range p.layers {
		for t, w := range l.node.LossWeights {
			if w == 0 || t > 0 || len(l.node.Bottoms) == 0 {
				continue
			}
			p.m.Losses = append(p.m.Losses, p.loss(l, p.losses[i]/float64(p.batches), float64(w)))
		}
	}
	for _, in := range p.inputs {
		p.m.Inputs = append(p.m.Inputs, in.report())
	}
	p.m.Signal = p.m.trend(func(l, shown *Layer) float64 { return float64(shown.Across) })
	p.m.Gradient = p.m.trend(func(l, shown *Layer) float64 { return l.Gradient.RMS })
}

// loss describes a loss layer.
func (p *probe) loss(l *layerProbe, value, weight float64) Loss {
	r := Loss{Layer: l.Name, Type: l.Type, Weight: weight, Value: Number(value), Across: Number(math.NaN()), Share: Number(math.NaN())}
	scores := l.node.Bottoms[0]
	if strings.HasPrefix(l.Type, "Softmax") && scores.Axes() > 0 {
		axis, err := scores.Axis(int(l.node.Param.GetSoftmaxParam().GetAxis()))
		if err == nil {
			r.Classes = scores.Dim(axis)
			r.Chance = math.Log(float64(r.Classes))
		}
	}
	// Splits have no values of their own: look through them.
	for source := scores; ; {
		j := -1
		for k, x := range p.layers {
			if x.node != l.node && slices.Contains(x.node.Tops, source) {
				j = k
			}
		}
		if j < 0 {
			return r
		}
		if p.layers[j].Type == "Split" {
			source = p.layers[j].node.Bottoms[0]
			continue
		}
		from := p.layers[j]
		r.From, r.Output = from.Name, from.Output
		r.Across, r.Share = from.across.deviation()
		return r
	}
}

// points calls f for every layer with weights and the layer that stands for its
// output.
func (m *Measurement) points(f func(l, shown *Layer)) {
	for i := range m.Layers {
		if s := m.Layers[i].Shown; s >= 0 {
			f(&m.Layers[i], &m.Layers[s])
		}
	}
}

// trend fits a quantity of the layers with weights by depth.
func (m *Measurement) trend(of func(l, shown *Layer) float64) Trend {
	var t Trend
	var n, sx, sy, sxx, sxy float64
	m.points(func(l, shown *Layer) {
		v := of(l, shown)
		if !(v > 0) || math.IsInf(v, 0) {
			return
		}
		if t.Layers == 0 {
			t.From, t.First = l.Name, v
		}
		t.To, t.Last = l.Name, v
		t.Layers++
		x, y := n, math.Log(v)
		n, sx, sy, sxx, sxy = n+1, sx+x, sy+y, sxx+x*x, sxy+x*y
	})
	if d := n*sxx - sx*sx; d > 0 {
		t.Factor = math.Exp((n*sxy - sx*sy) / d)
	}
	return t
}
