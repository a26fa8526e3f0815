package main

import (
	"errors"
	"fmt"

	"crema/internal/glog"
	"crema/prototxt/caffepb"
)

func init() {
	register(command{name: "test", args: "", summary: "score a trained model", group: groupUse, run: runTest})
}

// runTest runs a net in the TEST phase on its own data and logs the outputs of
// every batch, the mean loss and the mean of every output (test in Caffe's
// tools/caffe.cpp).
func runTest(args []string, s stdio) (err error) {
	fs := newFlags("test", "", s)
	f := addNetFlags(fs)
	f.iterations = fs.Int("iterations", 50, "batches to run")
	f.accept(fs, "phase", "solver", "snapshot", "sigint_effect", "sighup_effect")
	r, err := f.start(fs, args, s)
	if err != nil {
		return err
	}
	defer func() { err = r.Close(err) }()
	if err := need(fs, "model", "weights"); err != nil {
		return err
	}
	net, err := r.loadNet(f, caffepb.Phase_TEST, 1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, net.Close()) }()

	n := *f.iterations
	log := r.log.Logger
	glog.Infof(log, "Running for %d iterations.", n)
	type score struct {
		name   string
		weight float32
		sum    float64
	}
	var scores []score
	var loss float64
	for i := range n {
		l, err := net.Forward()
		if err != nil {
			return fmt.Errorf("%s: batch %d: %w", f.model, i, err)
		}
		loss += float64(l)
		k := 0
		for _, o := range net.Outputs() {
			for _, v := range o.Blob.ReadData() {
				if k == len(scores) {
					scores = append(scores, score{name: o.Name, weight: o.LossWeight})
				}
				scores[k].sum += float64(v)
				k++
				glog.Infof(log, "Batch %d, %s = %s", i, o.Name, glog.G(v))
			}
		}
	}
	glog.Infof(log, "Loss: %s", glog.G(loss/float64(n)))
	for _, x := range scores {
		mean := x.sum / float64(n)
		part := ""
		if x.weight != 0 {
			part = fmt.Sprintf(" (* %s = %s loss)", glog.G(x.weight), glog.G(float64(x.weight)*mean))
		}
		glog.Infof(log, "%s = %s%s", x.name, glog.G(mean), part)
	}
	return nil
}
