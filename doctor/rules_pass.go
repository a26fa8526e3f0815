package doctor

import (
	"fmt"
	"math"
)

// testPass compares the pictures of a test pass with the test set.
func testPass(c *Case, k *collector) {
	p := c.Solver
	if p == nil {
		return
	}
	train := c.trainData()
	for i, n := range c.Tests {
		var d *layer
		for _, e := range n.ends(true) {
			if d = dataOf(e.loss.bottoms[0]); d != nil {
				break
			}
		}
		if i < len(p.TestIter) && p.TestIter[i] <= 0 {
			f := c.of("test-nothing", Warning, Certain, fmt.Sprintf("test_iter[%d]", i))
			f.What = fmt.Sprintf("test_iter is %d.", p.TestIter[i])
			f.Why, f.Fix = "The net is built for testing and tested on no batch.", "test_iter: the size of the test set divided by its batch_size"
			k.add(f)
			continue
		}
		if d == nil || i >= len(p.TestIter) || batch(d) == 0 {
			continue
		}
		c.passSize(k, i, d)
		if r := c.source(d); r != nil && train != nil && r.path != "" && len(c.Tests) == 1 {
			if s := c.source(train); s != nil && s.path == r.path {
				f := d.in("tests-training-set", Warning, Likely, sourceField(d))
				f.What = fmt.Sprintf("TRAIN and TEST read the same records, %s.", r.path)
				f.Why, f.Fix = "The test does not show what the net makes of pictures it has not seen.", "Keep some records apart for TEST."
				k.add(f)
			}
		}
	}
}

func (c *Case) passSize(k *collector, i int, d *layer) {
	r := c.source(d)
	field := fmt.Sprintf("test_iter[%d]", i)
	seen := int(c.Solver.TestIter[i]) * batch(d)
	product := fmt.Sprintf("%d × %d = %d pictures", c.Solver.TestIter[i], batch(d), seen)
	if r == nil || r.err != nil || r.total <= 0 {
		var classes int
		for _, e := range d.net.ends(true) {
			classes = max(classes, e.classes)
		}
		if classes == 0 || seen >= 20*classes || r == nil {
			return
		}
		f := c.of("test-part", Note, Possible, field)
		f.What = fmt.Sprintf("A test pass sees %s, %s for each of %d classes; the size of the test set is not known here.", product, num(float64(seen)/float64(classes)), classes)
		f.Why = fmt.Sprintf("An accuracy from so few is uncertain by about %s percentage points (two standard errors at 50 %%).", num(100/math.Sqrt(float64(seen))))
		f.Fix = "test_iter: the size of the test set divided by its batch_size"
		k.add(f)
		return
	}
	whole := (r.total + batch(d) - 1) / batch(d)
	set := fmt.Sprintf("test_iter=%d", whole)
	if len(c.Solver.TestIter) > 1 {
		set = fmt.Sprintf("test_iter[%d]=%d", i, whole)
	}
	switch share := float64(seen) / float64(r.total); {
	case seen < r.total:
		f := c.of("test-part", Warning, Certain, field)
		f.What = fmt.Sprintf("A test pass sees %s of the %d in %s (%.0f %%).", product, r.total, r.path, 100*share)
		f.Why = fmt.Sprintf("Each pass tests another part: its results differ by chance, by about %s percentage points.", num(100/math.Sqrt(float64(seen))))
		if share >= 0.5 {
			f.Severity = Note
		}
		f.Fix, f.Set = fmt.Sprintf("test_iter: %d", whole), []string{set}
		k.add(f)
	case int(c.Solver.TestIter[i]) > whole:
		f := c.of("test-wraps", Note, Certain, field)
		f.What = fmt.Sprintf("A test pass sees %s, and there are only %d in %s.", product, r.total, r.path)
		f.Why = "Some count twice, and others in the next pass."
		if share >= 1.5 {
			f.Severity = Warning
			f.Why = fmt.Sprintf("Each picture is tested %s times, which takes as much longer and tells no more.", num(share))
		}
		f.Fix, f.Set = fmt.Sprintf("test_iter: %d", whole), []string{set}
		k.add(f)
	}
}
