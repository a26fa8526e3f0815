package synth

import "crema/internal/rng"

// NewPairs returns pairs of plain digits for siamese nets. shape is that of one
// image; a pair has the channels of both, one image after the other, as
// Caffe's siamese example stores them. Class 1 is two images of the same digit,
// class 0 of different ones; half of the pairs are of each.
func NewPairs(shape Shape, seed uint64) (Set, error) {
	if err := shape.Check(); err != nil {
		return nil, err
	}
	return &pairSet{newPlainDigits(shape, seed)}, nil
}

type pairSet struct{ of *plainSet }

func (s *pairSet) Shape() Shape {
	shape := s.of.shape
	shape.Channels *= 2
	return shape
}

func (s *pairSet) Classes() int               { return 2 }
func (s *pairSet) ClassName(label int) string { return [...]string{"different", "same"}[label] }

func (s *pairSet) Label(split string, i int) int {
	return label(s.of.seed, "pairs/"+split, 2, i)
}

func (s *pairSet) NewDrawer() Drawer { return &pairDrawer{s, s.of.newDrawer()} }

type pairDrawer struct {
	*pairSet
	one *plainDrawer
}

func (d *pairDrawer) Draw(split string, i int, pix []byte) int {
	lab := d.Label(split, i)
	r := rng.New(d.of.seed, "pairs/"+split, uint64(i))
	a := r.IntN(len(digits))
	b := a
	if lab == 0 {
		b = (a + 1 + r.IntN(len(digits)-1)) % len(digits)
	}
	n := d.of.shape.Bytes()
	d.one.drawDigit(r, a, pix[:n])
	d.one.drawDigit(r, b, pix[n:])
	return lab
}
