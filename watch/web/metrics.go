package web

import (
	"net/http"
	"strconv"

	"crema/internal/summary"
	"crema/watch"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// statuses are the values of the label of crema_status.
var statuses = []string{watch.StatusStarting, watch.StatusTraining, watch.StatusTesting, watch.StatusPaused,
	watch.StatusStopped, watch.StatusFinished, watch.StatusFailed}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("crema_"+name, help, labels, nil)
}

// layerLabels tell a layer: names need not be unique, so its place in the net
// is one of them.
var layerLabels = []string{"depth", "layer", "type"}

func layerDesc(name, help string, more ...string) *prometheus.Desc {
	return desc(name, help, append(append([]string{}, layerLabels...), more...)...)
}

// The metrics. Shares are ratios between 0 and 1, times are seconds.
var (
	descInfo       = desc("run_info", "The run, always 1.", "run", "net", "solver")
	descStatus     = desc("status", "1 for the status the run is in, 0 for the others.", "status")
	descIterations = desc("iterations_total", "Updates made, those before a resume included.")
	descTarget     = desc("iterations_target", "Updates at the end of training, max_iter.")
	descLoss       = desc("loss", "Loss of the last iteration.")
	descSmoothed   = desc("loss_smoothed", "Mean of the loss over the last iterations.")
	descRate       = desc("learning_rate", "Learning rate of the last update.")
	descImages     = desc("images_per_second", "Images trained on a second, over the last iterations.")
	descIterRate   = desc("iterations_per_second", "Updates a second, over the last iterations.")
	descElapsed    = desc("elapsed_seconds", "Time that went into the run.")
	descRemaining  = desc("remaining_seconds", "Expected time to the end of training.")
	descWait       = desc("data_wait_ratio", "Share of the time of the last iterations spent waiting for data.")
	descObserve    = desc("observation_ratio", "Share of the time of this process spent on observing the run.")
	descTest       = desc("test_output", "Mean of an output over the last pass of a test net.", "net", "output")
	descTestIter   = desc("test_iteration", "Updates made before the last pass of a test net.", "net")
	descSnapshot   = desc("snapshot_iteration", "Updates made before the last snapshot of this process.")
	descTime       = layerDesc("layer_time_ratio", "Share of the time of all layers' passes.", "pass")
	descActivation = layerDesc("layer_activation_rms", "Root of the mean square of the layer's output.")
	descZero       = layerDesc("layer_activation_zero_ratio", "Share of the layer's outputs that are 0.")
	descGradient   = layerDesc("layer_gradient_rms", "Root of the mean square of the gradient of the layer's output.")
	descWeight     = layerDesc("layer_weight_rms", "Root of the mean square of the layer's first parameter.")
	descRatio      = layerDesc("layer_update_ratio", "RMS of the last update of the layer's first parameter by that of the parameter.")
	descNonFinite  = layerDesc("layer_nonfinite_ratio", "Share of values looked at that are not finite.", "of")
	descConns      = desc("http_connections", "Open connections to the page.")
	descRefused    = desc("http_connections_refused_total", "Connections refused because there were too many.")
)

// A collector gives Prometheus what a Source's state says at the time it asks.
type collector struct {
	source Source
	conns  *conns
}

func newRegistry(source Source, c *conns) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collector{source, c}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// metrics answers Prometheus, a few at a time.
func (s *Server) metrics() http.HandlerFunc {
	return promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4}).ServeHTTP
}

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descInfo, descStatus, descIterations, descTarget, descLoss, descSmoothed, descRate,
		descImages, descIterRate, descElapsed, descRemaining, descWait, descObserve, descTest, descTestIter, descSnapshot, descTime,
		descActivation, descZero, descGradient, descWeight, descRatio, descNonFinite, descConns, descRefused} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	s := c.source.State()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v int) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v))
	}
	gauge(descInfo, 1, s.Run, s.Net, s.Solver)
	for _, st := range statuses {
		v := 0.0
		if st == s.Status {
			v = 1
		}
		gauge(descStatus, v, st)
	}
	counter(descIterations, s.Iter)
	gauge(descTarget, float64(s.MaxIter))
	gauge(descLoss, float64(s.Loss))
	gauge(descSmoothed, float64(s.Smoothed))
	gauge(descRate, float64(s.Rate))
	gauge(descImages, float64(s.ImagesPerSecond))
	gauge(descIterRate, float64(s.IterationsPerSecond))
	gauge(descElapsed, float64(s.Elapsed))
	gauge(descRemaining, float64(s.Remaining))
	gauge(descWait, float64(s.WaitShare))
	gauge(descObserve, float64(s.ObserveShare))
	for _, t := range s.Tests {
		net := strconv.Itoa(t.Net)
		gauge(descTestIter, float64(t.Iter), net)
		for _, v := range t.Values {
			gauge(descTest, float64(v.Value), net, v.Name)
		}
	}
	if s.Snapshot != "" {
		gauge(descSnapshot, float64(s.SnapshotIter))
	}
	for i, l := range s.Layers {
		is := []string{strconv.Itoa(i), l.Name, l.Type}
		gauge(descTime, float64(l.Forward), append(is, "forward")...)
		gauge(descTime, float64(l.Backward), append(is, "backward")...)
		rms := func(d *prometheus.Desc, of string, x *summary.Summary) {
			if x == nil {
				return
			}
			gauge(d, x.RMS, is...)
			if x.Count > 0 {
				gauge(descNonFinite, float64(x.NaN+x.Inf)/float64(x.Count), append(is, of)...)
			}
		}
		rms(descActivation, "activation", l.Activation)
		rms(descGradient, "gradient", l.Gradient)
		rms(descWeight, "weight", l.Weight)
		if l.Activation != nil {
			gauge(descZero, l.Activation.Zero, is...)
		}
		if l.Weight != nil {
			gauge(descRatio, float64(l.Ratio), is...)
		}
	}
	open, refused := c.conns.counts()
	gauge(descConns, float64(open))
	counter(descRefused, refused)
}
