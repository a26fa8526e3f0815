package watch

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"

	"crema/internal/summary"
)

// The states of a run, for State.Status.
const (
	StatusStarting = "starting"
	StatusTraining = "training"
	StatusTesting  = "testing"
	StatusPaused   = "paused"
	StatusStopped  = "stopped"  // before max_iter
	StatusFinished = "finished" // all iterations are made
	StatusFailed   = "failed"   // State.Error says why
)

// A State is where a run stands. Its parts are never changed.
type State struct {
	// Run is the run's name, Net the net's and Solver the solver's file.
	Run    string `json:"run"`
	Net    string `json:"net"`
	Solver string `json:"solver"`
	// Dir is the folder of the run's files, "" if there are none; Files are
	// their names.
	Dir   string   `json:"dir,omitempty"`
	Files []string `json:"files,omitempty"`
	// Status is one of the constants, Error why the run failed.
	Status string `json:"status"`
	Error  string `json:"error,omitempty"`
	// Iter updates of MaxIter are made.
	Iter    int `json:"iter"`
	MaxIter int `json:"max_iter"`
	// Loss is that of the last iteration; Smoothed its mean over average_loss
	// iterations or, if that is 1, an exponential mean over about 20.
	Loss     Number `json:"loss"`
	Smoothed Number `json:"smoothed"`
	// Rate is the learning rate of the last update.
	Rate Number `json:"rate"`
	// ImagesPerSecond and IterationsPerSecond are of the last few iterations,
	// tests and snapshots aside; the former is 0 if the net reads no images.
	ImagesPerSecond     Number `json:"images_per_second"`
	IterationsPerSecond Number `json:"iterations_per_second"`
	// Began is when this process began to train. Elapsed seconds went into the
	// run, those before it was resumed included; about Remaining are left (NaN
	// before there is anything to tell it from).
	Began     time.Time `json:"began"`
	Elapsed   Number    `json:"elapsed"`
	Remaining Number    `json:"remaining"`
	// WaitShare is the share of the last few iterations' time that passed in
	// waiting for data, ObserveShare what the Recorder's own work takes of all.
	WaitShare    Number `json:"wait_share"`
	ObserveShare Number `json:"observe_share"`
	// Layers are the train net's, in the order they run.
	Layers []Layer `json:"layers"`
	// SampledAt is the iteration the layers' summaries are of.
	SampledAt int `json:"sampled_at"`
	// Tests has the last result of each test net.
	Tests []Test `json:"tests"`
	// Snapshot is the path of the last .solverstate written, SnapshotIter its
	// iteration.
	Snapshot     string `json:"snapshot,omitempty"`
	SnapshotIter int    `json:"snapshot_iter,omitempty"`
	// Config is the solver and NetConfig the net as they are used, as prototxt.
	Config    string `json:"config"`
	NetConfig string `json:"net_config"`
}

// A Layer is the state of one layer of the train net.
type Layer struct {
	Name string `json:"name"`
	Type string `json:"type"`
	// Forward and Backward are the shares of the time in all layers' passes
	// that this one's took since the sample before.
	Forward  Number `json:"forward"`
	Backward Number `json:"backward"`
	// Activation and Gradient describe a sample of the layer's first top and of
	// its gradient; nil where there is none, or a later layer works in place on
	// the blob and so leaves other values. What a data layer reads has none if it
	// is labels, targets or indices.
	Activation *summary.Summary `json:"activation,omitempty"`
	Gradient   *summary.Summary `json:"gradient,omitempty"`
	// Weight and Update describe a sample of the layer's first parameter and of
	// what the last update changed in it; nil without parameters that are learned
	// (those of BatchNorm are statistics).
	Weight *summary.Summary `json:"weight,omitempty"`
	Update *summary.Summary `json:"update,omitempty"`
	// Ratio is Update's RMS by Weight's; NaN without parameters.
	Ratio Number `json:"ratio"`
}

// A Test is what a pass over a test net gave.
type Test struct {
	Net    int           `json:"net"`
	Iter   int           `json:"iter"`
	Values []NamedNumber `json:"values"`
}

// A NamedNumber is an output of a test net; Name is made unique with an index
// where an output has several elements ("accuracy[1]").
type NamedNumber struct {
	Name  string `json:"name"`
	Value Number `json:"value"`
}

// A Series is the course of a run in columns: the i-th elements of a group's
// columns belong together. Long runs are thinned; those points are kept where
// the loss is lowest and highest within their stretch, so spikes stay.
type Series struct {
	// Revision changes when points that were given out before are no longer
	// part of the series (thinning, a rollback): who collects by Series(since)
	// must then begin anew.
	Revision int `json:"revision"`

	Iter            []int  `json:"iter"`
	Loss            Column `json:"loss"`
	Smoothed        Column `json:"smoothed"`
	Rate            Column `json:"rate"`
	Seconds         Column `json:"seconds"` // since the run began
	ImagesPerSecond Column `json:"images_per_second"`
	WaitShare       Column `json:"wait_share"`

	// Tests has one element per test net and output.
	Tests []TestSeries `json:"tests"`
	// LayerIter are the iterations of the layers' samples; the columns of
	// Layers are as long, or empty where the layer has no such figure.
	LayerIter []int         `json:"layer_iter"`
	Layers    []LayerSeries `json:"layers"`
}

// A TestSeries is the course of one output of a test net.
type TestSeries struct {
	Net   int    `json:"net"`
	Name  string `json:"name"`
	Iter  []int  `json:"iter"`
	Value Column `json:"value"`
}

// A LayerSeries is the course of one layer. Figures that a sample lacks are NaN.
type LayerSeries struct {
	Name string `json:"name"`
	Type string `json:"type"`
	// Activation and Gradient are RMS values, Zero is the share of activations
	// that are 0, Ratio is the RMS of the update by that of the weights, Time
	// the layer's share of the passes' time.
	Activation Column `json:"activation,omitempty"`
	Zero       Column `json:"zero,omitempty"`
	Gradient   Column `json:"gradient,omitempty"`
	Weight     Column `json:"weight,omitempty"`
	Ratio      Column `json:"ratio,omitempty"`
	Time       Column `json:"time,omitempty"`
}

// Pictures are what can be seen of a net. They are never changed.
type Pictures struct {
	// Iter is the iteration they show.
	Iter int `json:"iter"`
	// Filters are those of the first convolution in a grid, each stretched to
	// the full range of brightness; nil if there is none.
	Filters *Picture `json:"filters,omitempty"`
	// Inputs are the first images of the batch, as the net gets them but
	// stretched to be seen; Labels are those that have a label for each pixel, a
	// colour for each class.
	Inputs []Picture `json:"inputs,omitempty"`
	Labels []Picture `json:"labels,omitempty"`
}

// A Picture is an image as a PNG file.
type Picture struct {
	Title  string `json:"title"`
	Width  int    `json:"width"`
	Height int    `json:"height"`
	PNG    []byte `json:"png"` // base64 in JSON
}

// A RunInfo is a run that left files in a folder.
type RunInfo struct {
	Name string `json:"name"`
	// Iter is the last iteration in train.csv, Modified when it was written.
	Iter     int       `json:"iter"`
	Modified time.Time `json:"modified"`
}

// A Number is a float that JSON shows as null where it is not finite.
type Number float64

// MarshalJSON implements json.Marshaler.
func (n Number) MarshalJSON() ([]byte, error) { return appendNumber(nil, float64(n)), nil }

// UnmarshalJSON implements json.Unmarshaler; null is NaN.
func (n *Number) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*n = Number(math.NaN())
		return nil
	}
	return json.Unmarshal(b, (*float64)(n))
}

// A Column is a column of a Series. JSON shows what is not finite as null and
// the rest with six digits.
type Column []float64

// MarshalJSON implements json.Marshaler.
func (c Column) MarshalJSON() ([]byte, error) {
	b := append(make([]byte, 0, 10*len(c)+2), '[')
	for i, v := range c {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendNumber(b, v)
	}
	return append(b, ']'), nil
}

// UnmarshalJSON implements json.Unmarshaler; null is NaN.
func (c *Column) UnmarshalJSON(b []byte) error {
	if bytes.Equal(b, []byte("null")) {
		*c = nil
		return nil
	}
	var n []Number
	if err := json.Unmarshal(b, &n); err != nil {
		return fmt.Errorf("column: %w", err)
	}
	*c = make(Column, len(n))
	for i, v := range n {
		(*c)[i] = float64(v)
	}
	return nil
}

func appendNumber(b []byte, v float64) []byte {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return append(b, "null"...)
	}
	return strconv.AppendFloat(b, v, 'g', 6, 64)
}
