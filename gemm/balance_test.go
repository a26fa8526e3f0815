package gemm

import (
	"testing"

	"crema/internal/kerneltest"
)

// TestBalance: the busiest of 2 to 32 workers has at most a quarter more to do
// than the mean, in the fully connected layers of VGG-16 and the matrix products
// of its convolutions.
func TestBalance(t *testing.T) {
	kerneltest.EachISA(t, func(t *testing.T) {
		for workers := 2; workers <= 32; workers++ {
			check := func(what string, b float64) {
				t.Helper()
				if b < 1-1e-9 || b > 1.25 {
					t.Errorf("%s, %d workers: %.3f", what, workers, b)
				}
			}
			for _, batch := range []int{6, 32} {
				for _, l := range []struct {
					name    string
					in, out int
				}{{"fc6", 25088, 4096}, {"fc7", 4096, 4096}, {"fc8", 4096, 1000}} {
					check(l.name+" forward", Balance(NoTrans, Trans, batch, l.out, l.in, workers))
					check(l.name+" backward-data", Balance(NoTrans, NoTrans, batch, l.in, l.out, workers))
					check(l.name+" backward-weights", Balance(Trans, NoTrans, l.out, l.in, batch, workers))
					check(l.name+" update", SGDOuterBalance(l.out, l.in, batch, workers))
				}
			}
			for _, l := range []struct {
				name    string
				m, n, k int
			}{
				{"conv1_1", 64, 50176, 27}, {"conv1_2", 64, 50176, 576}, {"conv2_1", 128, 12544, 576}, {"conv2_2", 128, 12544, 1152},
				{"conv3_1", 256, 3136, 1152}, {"conv3_2", 256, 3136, 2304}, {"conv4_1", 512, 784, 2304}, {"conv4_2", 512, 784, 4608}, {"conv5", 512, 196, 4608},
			} {
				check(l.name+" forward", Balance(NoTrans, NoTrans, l.m, l.n, l.k, workers))
				check(l.name+" backward-data", Balance(Trans, NoTrans, l.k, l.n, l.m, workers))
				if l.k > 27 || workers <= 13 { // it is cut into 32 runs of the depth; conv does this otherwise
					check(l.name+" backward-weights", Balance(NoTrans, Trans, l.m, l.k, l.n, workers))
				}
			}
		}
	})
	for what, b := range map[string]float64{
		"nothing": Balance(NoTrans, NoTrans, 0, 3, 3, 4), "one worker": Balance(NoTrans, NoTrans, 100, 300, 30, 1),
		"no rows": SGDOuterBalance(0, 3, 3, 4),
	} {
		if b != 1 {
			t.Errorf("%s: %v", what, b)
		}
	}
}
