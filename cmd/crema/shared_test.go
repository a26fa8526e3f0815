package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// shared returns the folder of the large public data sets, or skips the test.
func shared(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("CREMA_SHARED")
	if dir == "" {
		t.Skip("CREMA_SHARED, the folder of the large data sets, is not set")
	}
	if testing.Short() {
		t.Skip("a long test")
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}

// TestLeNet scores a public LeNet in the V1 format: 9905 of MNIST's 10000 test
// images with real Caffe.
func TestLeNet(t *testing.T) {
	dir := shared(t)
	t.Chdir(t.TempDir())
	mnist, zoo := filepath.Join(dir, "data/mnist"), filepath.Join(dir, "zoo/lenet_v1")
	mustCrema(t, "convert_mnist_data", filepath.Join(mnist, "t10k-images-idx3-ubyte.gz"), filepath.Join(mnist, "t10k-labels-idx1-ubyte.gz"), "test_lmdb")
	r := mustCrema(t, "test", "--model", filepath.Join(zoo, "lenet_train_test.prototxt"), "--weights", filepath.Join(zoo, "lenet_iter_10000.caffemodel"),
		"--iterations=100", "--data-root", "examples/mnist/mnist_test_lmdb=test_lmdb")
	m := regexp.MustCompile(`\] accuracy = (\S+)`).FindStringSubmatch(r.err)
	if m == nil {
		t.Fatalf("no accuracy in the log:\n%s", r.err)
	}
	acc, err := strconv.ParseFloat(m[1], 64)
	if err != nil || acc*10000 < 9903 || acc*10000 > 9907 {
		t.Errorf("accuracy %s (%v), want 0.9905 give or take 2 images", m[1], err)
	}
}

// TestSeed takes the project's first case from photographs to a snapshot: the
// VGG-16 of models/es_vgg with absolute paths, unedited.
func TestSeed(t *testing.T) {
	dir := shared(t)
	models, err := filepath.Abs("../../models")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	if err := os.Symlink(models, "models"); err != nil {
		t.Fatal(err)
	}
	ilsvrc := "data/imagenet/ilsvrc12"
	if err := os.MkdirAll(ilsvrc, 0o755); err != nil {
		t.Fatal(err)
	}
	photos := filepath.Join(dir, "data/photos")
	mustCrema(t, "convert_imageset", photos+"/", filepath.Join(photos, "list.txt"), ilsvrc+"_train_lmdb")
	mustCrema(t, "compute_image_mean", ilsvrc+"_train_lmdb", filepath.Join(ilsvrc, "imagenet_mean.binaryproto"))
	if err := os.Symlink("ilsvrc12_train_lmdb", ilsvrc+"_val_lmdb"); err != nil {
		t.Fatal(err)
	}
	r := mustCrema(t, "train", "--solver=models/es_vgg/solver.prototxt", "--set=max_iter=1", "--set=test_iter=1", "--set=random_seed=1", "--set=display=1",
		"--set=snapshot_prefix=vgg", "--data-root", "/local/datasets=./data")
	m := regexp.MustCompile(`Iteration 0 .*loss = (\S+)`).FindStringSubmatch(r.err)
	if m == nil {
		t.Fatalf("no loss in the log:\n%s", r.err)
	}
	// ln 1000 = 6.908: the signal is dead at the start, as with Caffe.
	if loss, err := strconv.ParseFloat(m[1], 64); err != nil || loss < 6.85 || loss > 6.97 {
		t.Errorf("first loss %s (%v), want about 6.91", m[1], err)
	}
	if !strings.Contains(r.err, "Snapshotting solver state to binary proto file vgg_iter_1.solverstate") || !exists("vgg_iter_1.caffemodel") {
		t.Error("no snapshot")
	}
}
