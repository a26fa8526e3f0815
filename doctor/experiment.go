package doctor

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"crema/data"
	"crema/graph"
	"crema/prototxt"
	"crema/prototxt/caffepb"

	"google.golang.org/protobuf/proto"
)

// A Variant is a change of a case to try.
type Variant struct {
	Name string `json:"name"`
	// Set has the change as values of --set, on top of the case's own.
	Set []string `json:"set,omitempty"`
	// UnitVariance says that the weights begin as UnitVariance makes them.
	UnitVariance bool `json:"unit_variance,omitempty"`

	rate float64 // factor on the learning rate, 0 for none
}

// ParseVariant reads "NAME: --set A=B --set C=D …". Values hold no spaces.
func ParseVariant(s string) (Variant, error) {
	bad := func(why string) (Variant, error) {
		return Variant{}, fmt.Errorf("variant %q: %s; want NAME: --set FIELD=VALUE --set …", s, why)
	}
	name, rest, ok := strings.Cut(s, ":")
	v := Variant{Name: strings.TrimSpace(name)}
	if !ok || v.Name == "" {
		return bad("it has no name")
	}
	words := strings.Fields(rest)
	for len(words) > 0 {
		w := strings.TrimLeft(words[0], "-")
		set, joined := strings.CutPrefix(w, "set=")
		switch {
		case w == words[0]:
			return bad(fmt.Sprintf("%q is no flag", w))
		case joined:
			words = words[1:]
		case w == "set" && len(words) > 1:
			set, words = words[1], words[2:]
		default:
			return bad(fmt.Sprintf("%q is not --set with a value", words[0]))
		}
		v.Set = append(v.Set, set)
	}
	if len(v.Set) == 0 {
		return bad("it changes nothing")
	}
	if _, err := prototxt.ParseOverrides(v.Set); err != nil {
		return Variant{}, fmt.Errorf("variant %q: %w", v.Name, err)
	}
	return v, nil
}

// apply returns the case's solver and train net with the variant's changes.
func (c *Case) apply(v *Variant) (*caffepb.SolverParameter, *caffepb.NetParameter, error) {
	sp, np := proto.CloneOf(c.Solver), proto.CloneOf(c.Train.Param)
	o, err := prototxt.ParseOverrides(v.Set)
	if err == nil {
		err = o.ApplySolver(sp)
	}
	if err == nil {
		err = o.ApplyNet(np)
	}
	if err == nil {
		err = o.Unused()
	}
	if err != nil {
		return nil, nil, fmt.Errorf("variant %q: %w", v.Name, err)
	}
	return sp, np, nil
}

// A fixedSet is a small set of training images that a net is to learn by
// heart, in a temporary folder.
type fixedSet struct {
	dir     string
	sources map[string]string // of layers, by name
	images  int
	labels  map[int]int // how often each occurs: of images or, if these have label pictures, of pixels
	// entropy of the labels in nats: the loss of a net that knows how frequent
	// they are and does not look at the images.
	entropy float64
	whole   string // the layer whose data could not be reduced, "" for none
}

// scanned is how many records are looked at for images of all classes.
const scanned = 8192

// newFixedSet copies n images of the train net's sources, spread over their
// classes, into dir.
func (c *Case) newFixedSet(dir string, n int) (*fixedSet, error) {
	s := &fixedSet{dir: dir, sources: map[string]string{}, labels: map[int]int{}}
	var picked []int
	for i, l := range c.Train.layers {
		var err error
		path := filepath.Join(dir, fmt.Sprintf("images%d", i))
		switch l.GetType() {
		case "Data":
			picked, err = s.copyDB(l.GetDataParam(), c.in.ResolvePath, path, n, picked)
		case "ImageData":
			picked, err = s.copyList(c.in.ResolvePath(l.GetImageDataParam().GetSource()), path, n, picked)
		default:
			if len(l.Bottom) == 0 && len(l.Top) > 0 {
				s.whole = l.GetName()
			}
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("layer %q: %w", l.GetName(), err)
		}
		s.sources[l.GetName()] = path
	}
	for _, e := range c.Train.ends(false) {
		if d := imageSource(e.loss.bottoms[1]); d != nil && d.GetType() == "Data" && s.sources[d.GetName()] != "" {
			if err := s.countPixels(s.sources[d.GetName()], ignoredBy(e.loss)); err != nil {
				return nil, fmt.Errorf("layer %q: %w", d.GetName(), err)
			}
		}
	}
	all := 0
	for _, k := range s.labels {
		all += k
	}
	for _, k := range s.labels {
		p := float64(k) / float64(all)
		s.entropy -= p * math.Log(p)
	}
	return s, nil
}

// countPixels takes the pixels of label pictures for the labels of the set.
func (s *fixedSet) countPixels(path string, ignore *int32) (err error) {
	db, err := data.OpenDB(path, data.LMDB)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	cur := db.Cursor()
	defer cur.Close()
	s.labels = map[int]int{}
	return db.Guard(func() error {
		var im data.Image
		_, v, err := cur.First()
		for ; err == nil; _, v, err = cur.Next() {
			if _, err := data.DecodeDatum(v, data.Native, &im); err != nil {
				return err
			}
			for i := range im.C * im.H * im.W {
				label := 0
				if im.Float != nil {
					label = int(im.Float[i])
				} else {
					label = int(im.Pix[i])
				}
				if ignore == nil || label != int(*ignore) {
					s.labels[label]++
				}
			}
		}
		if err == io.EOF {
			return nil
		}
		return err
	})
}

// pick chooses n of the records with the given labels: one of each class, then
// a second of each, and so on.
func (s *fixedSet) pick(labels []int, n int) []int {
	byClass := map[int][]int{}
	var order []int
	for i, l := range labels {
		if byClass[l] == nil {
			order = append(order, l)
		}
		byClass[l] = append(byClass[l], i)
	}
	slices.Sort(order)
	var picked []int
	for k := 0; len(picked) < n && len(picked) < len(labels); k++ {
		for _, l := range order {
			if k < len(byClass[l]) && len(picked) < n {
				picked = append(picked, byClass[l][k])
				s.labels[l]++
			}
		}
	}
	s.images = len(picked)
	return picked
}

// copyDB copies records of a database. picked are their ordinals, nil to choose
// n by label; it returns them.
func (s *fixedSet) copyDB(p *caffepb.DataParameter, resolve func(string) string, to string, n int, picked []int) (_ []int, err error) {
	db, err := data.OpenDB(resolve(p.GetSource()), p.GetBackend())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	cur := db.Cursor()
	defer cur.Close()
	walk := func(f func(i int, v []byte) (bool, error)) error {
		return db.Guard(func() error {
			_, v, err := cur.First()
			for i := 0; err == nil; i++ {
				more, ferr := f(i, v)
				if ferr != nil || !more {
					return ferr
				}
				_, v, err = cur.Next()
			}
			if err == io.EOF {
				return nil
			}
			return err
		})
	}
	if picked == nil {
		var labels []int
		err := walk(func(i int, v []byte) (bool, error) {
			var d caffepb.Datum
			if err := proto.Unmarshal(v, &d); err != nil {
				return false, fmt.Errorf("record %d: %w", i, err)
			}
			labels = append(labels, int(d.GetLabel()))
			return len(labels) < scanned, nil
		})
		if err != nil {
			return nil, err
		}
		if len(labels) == 0 {
			return nil, fmt.Errorf("%s has no records", p.GetSource())
		}
		picked = s.pick(labels, n)
	}
	records := make([][]byte, len(picked))
	last := slices.Max(picked)
	if err := walk(func(i int, v []byte) (bool, error) {
		if k := slices.Index(picked, i); k >= 0 {
			records[k] = bytes.Clone(v)
		}
		return i < last, nil
	}); err != nil {
		return nil, err
	}
	w, err := data.CreateDB(to, data.LMDB)
	if err != nil {
		return nil, err
	}
	for i, r := range records {
		if r == nil {
			return nil, errors.Join(fmt.Errorf("%s has fewer records than another source", p.GetSource()), w.Abort())
		}
		if err := w.Put(fmt.Appendf(nil, "%08d", i), r); err != nil {
			return nil, errors.Join(err, w.Abort())
		}
	}
	return picked, w.Commit()
}

// copyList copies lines of a list of image files.
func (s *fixedSet) copyList(from, to string, n int, picked []int) ([]int, error) {
	files, err := data.ReadList(from)
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s has no lines", from)
	}
	files = files[:min(len(files), scanned)]
	labels := make([]int, len(files))
	for i, f := range files {
		labels[i] = int(f.Label)
	}
	if picked == nil {
		picked = s.pick(labels, n)
	}
	var out strings.Builder
	for _, i := range picked {
		if i >= len(files) {
			return nil, fmt.Errorf("%s has fewer lines than another source", from)
		}
		fmt.Fprintln(&out, files[i].Name, files[i].Label)
	}
	return picked, os.WriteFile(to, []byte(out.String()), 0o600)
}

// use makes the net read the set, with the given crop (0: as it is), in batches
// of no more images than there are.
func (s *fixedSet) use(np *caffepb.NetParameter, crop int) {
	for _, l := range np.Layer {
		to := s.sources[l.GetName()]
		if to == "" {
			continue
		}
		switch {
		case l.DataParam != nil:
			p := l.DataParam
			p.Source, p.Backend = proto.String(to), data.LMDB.Enum()
			p.BatchSize = proto.Uint32(min(p.GetBatchSize(), uint32(s.images)))
		case l.ImageDataParam != nil:
			p := l.ImageDataParam
			p.Source, p.RandSkip, p.Shuffle = proto.String(to), nil, nil
			p.BatchSize = proto.Uint32(min(p.GetBatchSize(), uint32(s.images)))
		}
		if crop > 0 && l.GetTransformParam().GetCropSize() > 0 {
			l.TransformParam.CropSize = proto.Uint32(uint32(crop))
		}
	}
}

// chooseCrop returns the crop to train with: the smallest multiple of 32 from
// 96 that is below the configured one and that the net can be built with; 0
// for the configured one, which is full.
func (c *Case) chooseCrop(s *fixedSet) (crop, full int) {
	for _, l := range c.Train.layers {
		if s.sources[l.GetName()] != "" {
			full = max(full, int(l.GetTransformParam().GetCropSize()))
		}
	}
	for crop := 96; crop < full; crop += 32 {
		np := proto.CloneOf(c.Train.Param)
		s.use(np, crop)
		net, err := graph.New(trainState(np), graph.Options{Seed: 1, ResolvePath: c.in.ResolvePath, Dir: c.Train.dir()})
		if err != nil {
			continue
		}
		if net.Close() == nil {
			return crop, full
		}
	}
	return 0, full
}

// fillers returns the settings that give every layer with weights whose filler
// is of another type the given one, for all of a type at once where that says
// the same.
func (c *Case) fillers(field, value string, change func(*caffepb.FillerParameter) bool) []string {
	type kind struct {
		param string
		of    func(*caffepb.LayerParameter) *caffepb.FillerParameter
	}
	kinds := map[string]kind{
		"Convolution": {"convolution_param", func(l *caffepb.LayerParameter) *caffepb.FillerParameter {
			return l.GetConvolutionParam().GetWeightFiller()
		}},
		"Deconvolution": {"convolution_param", func(l *caffepb.LayerParameter) *caffepb.FillerParameter {
			return l.GetConvolutionParam().GetWeightFiller()
		}},
		"InnerProduct": {"inner_product_param", func(l *caffepb.LayerParameter) *caffepb.FillerParameter {
			return l.GetInnerProductParam().GetWeightFiller()
		}},
	}
	names, all := map[string][]string{}, map[string]bool{}
	var order []string
	for _, l := range c.Train.layers {
		k, ok := kinds[l.GetType()]
		if !ok {
			continue
		}
		if _, seen := all[l.GetType()]; !seen {
			all[l.GetType()] = true
			order = append(order, l.GetType())
		}
		if change(k.of(l.LayerParameter)) {
			names[l.GetType()] = append(names[l.GetType()], l.GetName())
		} else {
			all[l.GetType()] = false
		}
	}
	var sets []string
	for _, t := range order {
		if all[t] && len(names[t]) > 1 {
			sets = append(sets, fmt.Sprintf("layer.*@%s.%s.weight_filler.%s=%s", t, kinds[t].param, field, value))
			continue
		}
		for _, n := range names[t] {
			sets = append(sets, fmt.Sprintf("layer.%s.%s.weight_filler.%s=%s", n, kinds[t].param, field, value))
		}
	}
	return sets
}

// notMsra reports whether msra may take a filler's place.
func notMsra(f *caffepb.FillerParameter) bool {
	return f.GetType() != "msra" && f.GetType() != "bilinear"
}
