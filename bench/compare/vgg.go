package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"crema/data"
	"crema/data/synth"
	"crema/graph"
	"crema/prototxt"
	"crema/prototxt/caffepb"
	"crema/solver"

	"google.golang.org/protobuf/proto"
)

const (
	vggFolder = "models/es_vgg"
	records   = 120 // images of the database
)

// vgg holds the nets of models/es_vgg that requests have built, and a drawn
// database for its data layer.
type vgg struct {
	dir     string
	solver  *solver.Solver
	forward map[int]*graph.Net
}

func threads() int { return runtime.GOMAXPROCS(0) }

// prepare returns one training iteration (the data layer, forward, backward
// and update), or a forward pass of n images in phase TEST, without data layer
// and loss.
func (v *vgg) prepare(root, direction string, n int) (operation, error) {
	memory := func() string { return "peak " + peakMemory() }
	switch direction {
	case "train":
		if v.solver == nil {
			if err := v.train(root, n); err != nil {
				return operation{}, err
			}
		}
		return operation{func() error { return v.solver.Step(1) }, memory}, nil
	case "forward":
		net := v.forward[n]
		if net == nil {
			var err error
			if net, err = inference(root, n); err != nil {
				return operation{}, err
			}
			if v.forward == nil {
				v.forward = map[int]*graph.Net{}
			}
			v.forward[n] = net
		}
		return operation{func() error { _, err := net.Forward(); return err }, memory}, nil
	}
	return operation{}, fmt.Errorf("unknown direction %q", direction)
}

// close frees everything, and removes the database.
func (v *vgg) close() error {
	var errs []error
	if v.solver != nil {
		errs = append(errs, v.solver.Close())
	}
	for _, n := range v.forward {
		errs = append(errs, n.Close())
	}
	if v.dir != "" {
		errs = append(errs, os.RemoveAll(v.dir))
	}
	return errors.Join(errs...)
}

// train builds the solver of models/es_vgg with batches of n. Only the paths
// of its files differ, and the rate, which is small so that the weights stay
// finite on so few images.
func (v *vgg) train(root string, n int) (err error) {
	if v.dir, err = os.MkdirTemp("", "crema-compare-"); err != nil {
		return err
	}
	db, mean := filepath.Join(v.dir, "train_lmdb"), filepath.Join(v.dir, "mean.binaryproto")
	set, err := synth.NewSigns(synth.Shape{Channels: 3, Height: 256, Width: 256}, 1000, 1)
	if err != nil {
		return err
	}
	ctx := context.Background()
	if err := synth.Write(ctx, db, set, "train", records, synth.WriteOptions{}); err != nil {
		return err
	}
	m, err := data.ComputeMean(ctx, db, data.LMDB, nil)
	if err != nil {
		return err
	}
	if err := prototxt.WriteBinary(mean, m); err != nil {
		return err
	}
	sp, err := prototxt.ReadSolver(filepath.Join(root, vggFolder, "solver.prototxt"))
	if err != nil {
		return err
	}
	sp.BaseLr = proto.Float32(1e-5)
	sp.RandomSeed = proto.Int64(1)
	sp.TestIter, sp.TestInterval = nil, proto.Int32(0)
	sp.Display, sp.Snapshot, sp.SnapshotAfterTrain = proto.Int32(0), proto.Int32(0), proto.Bool(false)
	v.solver, err = solver.New(sp, solver.Options{
		ResolvePath: func(p string) string {
			switch {
			case strings.HasSuffix(p, "_lmdb"):
				return db
			case strings.HasSuffix(p, ".binaryproto"):
				return mean
			}
			return filepath.Join(root, p)
		},
		EditNet: func(np *caffepb.NetParameter) error {
			for _, l := range np.Layer {
				if l.DataParam != nil {
					l.DataParam.BatchSize = proto.Uint32(uint32(n))
				}
			}
			return nil
		},
	})
	return err
}

// inference builds the net of models/es_vgg for batches of n, from its input
// to its scores, with the fillers' weights.
func inference(root string, n int) (*graph.Net, error) {
	np, err := prototxt.ReadNet(filepath.Join(root, vggFolder, "train_val.prototxt"))
	if err != nil {
		return nil, err
	}
	np.Layer = slices.DeleteFunc(np.Layer, func(l *caffepb.LayerParameter) bool {
		return slices.Contains([]string{"Data", "SoftmaxWithLoss", "Accuracy"}, l.GetType())
	})
	np.Layer = slices.Insert(np.Layer, 0, &caffepb.LayerParameter{
		Name: proto.String("data"),
		Type: proto.String("Input"),
		Top:  []string{"data"},
		InputParam: &caffepb.InputParameter{Shape: []*caffepb.BlobShape{
			{Dim: []int64{int64(n), 3, 224, 224}},
		}},
	})
	graph.SetState(np, caffepb.Phase_TEST, 0, nil)
	net, err := graph.New(np, graph.Options{Seed: 1})
	if err != nil {
		return nil, err
	}
	x := net.Blob("data").Data()
	for i := range x {
		x[i] = float32(i%255)/255 - 0.5
	}
	return net, nil
}
