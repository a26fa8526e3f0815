package main

import (
	"errors"
	"fmt"
	"time"

	"crema/internal/glog"
	"crema/layers"
	"crema/prototxt/caffepb"
)

func init() {
	register(command{name: "time", args: "", summary: "measure how long a model's layers take", group: groupTrain, run: runTime})
}

// runTime tells which algorithms layers chose and measures every layer's forward
// and backward pass (time in Caffe's tools/caffe.cpp). A first pass that is not
// measured allocates memory. Layers that need no backward pass take no time
// there.
func runTime(args []string, s stdio) (err error) {
	fs := newFlags("time", "", s)
	f := addNetFlags(fs)
	f.iterations = fs.Int("iterations", 50, "forward and backward passes to measure")
	f.accept(fs, "solver", "snapshot", "sigint_effect", "sighup_effect")
	r, err := f.start(fs, args, s)
	if err != nil {
		return err
	}
	defer func() { err = r.Close(err) }()
	if err := need(fs, "model"); err != nil {
		return err
	}
	phase, err := parsePhase(f.phase, caffepb.Phase_TRAIN)
	if err != nil {
		return err
	}
	net, err := r.loadNet(f, phase, 1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, net.Close()) }()
	inNet := func(err error) error { return fmt.Errorf("%s: %w", f.model, err) }

	log := r.log.Logger
	glog.Infof(log, "Performing Forward")
	loss, err := net.Forward()
	if err != nil {
		return inNet(err)
	}
	glog.Infof(log, "Initial loss: %s", glog.G(loss))
	glog.Infof(log, "Performing Backward")
	if err := net.Backward(); err != nil {
		return inNet(err)
	}

	n := *f.iterations
	nodes := net.Layers()
	for _, l := range nodes {
		if d, ok := l.Layer.(layers.Describer); ok {
			glog.Infof(log, "%10s\t%s", l.Name, d.Describe())
		}
	}
	glog.Infof(log, "*** Benchmark begins ***")
	glog.Infof(log, "Testing for %d iterations.", n)
	perForward := make([]time.Duration, len(nodes))
	perBackward := make([]time.Duration, len(nodes))
	var forward, backward time.Duration
	begin := time.Now()
	for j := range n {
		t0 := time.Now()
		t := t0
		for i := range nodes {
			if _, err := net.ForwardLayer(i); err != nil {
				return inNet(err)
			}
			now := time.Now()
			perForward[i] += now.Sub(t)
			t = now
		}
		middle := t
		for i := len(nodes) - 1; i >= 0; i-- {
			if err := net.BackwardLayer(i); err != nil {
				return inNet(err)
			}
			now := time.Now()
			perBackward[i] += now.Sub(t)
			t = now
		}
		forward += middle.Sub(t0)
		backward += t.Sub(middle)
		glog.Infof(log, "Iteration: %d forward-backward time: %s ms.", j+1, millis(t.Sub(t0), 1))
	}
	total := time.Since(begin)
	glog.Infof(log, "Average time per layer: ")
	for i, l := range nodes {
		glog.Infof(log, "%10s\tforward: %s ms.", l.Name, millis(perForward[i], n))
		glog.Infof(log, "%10s\tbackward: %s ms.", l.Name, millis(perBackward[i], n))
	}
	glog.Infof(log, "Average Forward pass: %s ms.", millis(forward, n))
	glog.Infof(log, "Average Backward pass: %s ms.", millis(backward, n))
	glog.Infof(log, "Average Forward-Backward: %s ms.", millis(total, n))
	glog.Infof(log, "Total Time: %s ms.", millis(total, 1))
	glog.Infof(log, "*** Benchmark ends ***")
	return nil
}

// millis writes the mean of n durations in milliseconds.
func millis(d time.Duration, n int) string {
	return glog.G(float64(d.Nanoseconds()) / 1e6 / float64(n))
}
