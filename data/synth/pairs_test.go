package synth

import (
	"math"
	"testing"
)

// TestPairs reads both digits of pairs, by the most similar of many single
// ones, and compares with the label.
func TestPairs(t *testing.T) {
	shape := Shape{1, 28, 28}
	single, err := NewPlainDigits(shape, 1)
	if err != nil {
		t.Fatal(err)
	}
	n := shape.Bytes()
	known := make([][]byte, 1000)
	labels := make([]int, len(known))
	for i := range known {
		known[i], labels[i] = drawOne(single, "train", i)
	}
	read := func(pix []byte) int {
		best, bestDist := 0, math.MaxInt
		for i, k := range known {
			d := 0
			for p, v := range pix {
				x := int(v) - int(k[p])
				d += x * x
			}
			if d < bestDist {
				best, bestDist = i, d
			}
		}
		return labels[best]
	}
	pairs, err := NewPairs(shape, 7)
	if err != nil {
		t.Fatal(err)
	}
	right, same := 0, 0
	const count = 100
	for i := range count {
		pix, label := drawOne(pairs, "test", i)
		if (read(pix[:n]) == read(pix[n:])) == (label == 1) {
			right++
		}
		same += label
	}
	if right < count*9/10 {
		t.Errorf("%d of %d labels agree with the images", right, count)
	}
	if same != count/2 {
		t.Errorf("%d of %d pairs are of the same digit, want half", same, count)
	}
}
