package graph

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"crema/internal/race"
	"crema/prototxt/caffepb"
)

// A netMaker writes a random net.
type netMaker struct {
	r    *rand.Rand
	text strings.Builder
	n    int
	read string // a blob that a layer which is no branch reads, too
	wide int    // how many layers still may make pictures larger
}

// A drawnBlob is one of a drawn net: its name and channels.
type drawnBlob struct {
	name string
	c    int
}

func (m *netMaker) chance(of int) bool { return m.r.IntN(of) == 0 }

func (m *netMaker) number(lo, hi int) int { return lo + m.r.IntN(hi-lo+1) }

func one[T any](m *netMaker, of ...T) T { return of[m.r.IntN(len(of))] }

// add adds a layer and returns its first top, or writes over its only bottom.
func (m *netMaker) add(kind string, c int, inPlace bool, param string, bottom ...drawnBlob) drawnBlob {
	m.n++
	name := fmt.Sprintf("%s%d", strings.ToLower(kind), m.n)
	top := drawnBlob{name, c}
	if inPlace {
		top.name = bottom[0].name
	}
	fmt.Fprintf(&m.text, "layer { type: '%s' name: '%s'", kind, name)
	for _, b := range bottom {
		fmt.Fprintf(&m.text, " bottom: '%s'", b.name)
	}
	fmt.Fprintf(&m.text, " top: '%s' %s }\n", top.name, param)
	return top
}

const drawnFillers = "weight_filler { type: 'msra' } bias_filler { type: 'gaussian' std: 0.3 }"

// channels draws how many there are, mostly such as blocked layouts take.
func (m *netMaker) channels() int {
	return one(m, 16, 16, 16, 32, 32, 48, 64, 8, 12)
}

// conv adds a convolution by filters that reach no further than the padding
// does, so that there is a pixel in the top of any picture. With same, the top's
// pictures are as large as the bottom's.
func (m *netMaker) conv(x drawnBlob, k int, same bool) drawnBlob {
	var h, w, dilation, sh, sw int
	if same {
		h, w, dilation, sh, sw = one(m, 1, 3, 3, 5), one(m, 1, 3, 3, 5), one(m, 1, 1, 2), 1, 1
		if m.chance(2) {
			w = h
		}
	} else {
		h, w, dilation, sh, sw = m.number(1, 5), m.number(1, 5), one(m, 1, 1, 2), m.number(1, 3), m.number(1, 3)
	}
	pad := func(k int) int {
		p := dilation * (k - 1)
		if same {
			return p / 2
		}
		return (p+1)/2 + one(m, 0, 0, 1)
	}
	var groups []int
	for _, g := range []int{1, 1, 2, 3, 4, x.c} {
		if x.c%g == 0 && k%g == 0 {
			groups = append(groups, g)
		}
	}
	return m.add("Convolution", k, false, fmt.Sprintf("convolution_param { num_output: %d kernel_h: %d kernel_w: %d pad_h: %d pad_w: %d stride_h: %d stride_w: %d dilation: %d group: %d bias_term: %v %s }",
		k, h, w, pad(h), pad(w), sh, sw, dilation, one(m, groups...), !m.chance(3), drawnFillers), x)
}

// pool adds a pooling layer.
func (m *netMaker) pool(x drawnBlob, same bool) drawnBlob {
	k, s := one(m, 2, 3, 3, 5), m.number(1, 3)
	if same {
		k, s = one(m, 3, 5), 1
	}
	pad := k / 2
	if k == 2 {
		s, pad = 2, one(m, 0, 1)
	}
	return m.add("Pooling", x.c, false, fmt.Sprintf("pooling_param { pool: %s kernel_size: %d stride: %d pad: %d }",
		one(m, "MAX", "MAX", "AVE"), k, s, pad), x)
}

// pixel adds a layer, or the two or three that usually go together, whose top is
// shaped like the bottom.
func (m *netMaker) pixel(x drawnBlob) drawnBlob {
	// No layer may write over what another reads.
	in := m.chance(2) && x.name != "data" && x.name != m.read
	add := func(kind, param string) drawnBlob { return m.add(kind, x.c, in, param, x) }
	switch m.r.IntN(16) {
	case 0, 1, 2:
		return add("ReLU", one(m, "", "", "relu_param { negative_slope: 0.1 }"))
	case 3, 4, 5:
		x = add("BatchNorm", "batch_norm_param { eps: 0.01 "+one(m, "", "use_global_stats: false")+" }")
		x = m.add("Scale", x.c, in || m.chance(2) && x.name != m.read, "scale_param { bias_term: true filler { type: 'gaussian' mean: 1 std: 0.2 } }", x)
		return m.add("ReLU", x.c, true, "", x)
	case 6:
		return add("PReLU", "prelu_param { channel_shared: "+one(m, "true", "false")+" }")
	case 7:
		return add(one(m, "Sigmoid", "TanH", "BNLL", "Swish", "ELU"), "")
	case 8:
		return add("Power", one(m, "power_param { scale: 0.5 shift: 0.1 }", "power_param { power: 2 scale: 0.3 shift: 1 }"))
	case 9:
		return add("Dropout", "dropout_param { dropout_ratio: 0.3 }")
	case 10:
		return add("LRN", "lrn_param { alpha: 0.1 local_size: "+one(m, "3", "5")+one(m, "", " norm_region: WITHIN_CHANNEL")+" }")
	case 11:
		return add("Scale", "scale_param { filler { type: 'gaussian' mean: 1 std: 0.2 } }")
	case 12:
		return add("Bias", "bias_param { filler { type: 'gaussian' std: 0.2 } }")
	case 13:
		return add("Clip", "clip_param { min: -1.5 max: 1.5 }")
	case 14:
		return m.add("MVN", x.c, false, "mvn_param { eps: 0.1 }", x)
	default:
		return m.add("AbsVal", x.c, false, "", x)
	}
}

// branches adds two or three paths from a blob that meet again.
func (m *netMaker) branches(x drawnBlob) drawnBlob {
	sum := m.chance(2)
	var ends []drawnBlob
	for i := range m.number(2, 3) {
		k := m.channels()
		if sum {
			k = x.c
		}
		y := x
		switch {
		case i == 1 && m.chance(3): // the blob itself
		case m.chance(4):
			y = m.pool(x, true)
		default:
			y = m.conv(x, k, true)
			if m.chance(2) {
				y = m.add("ReLU", y.c, true, "", y)
			}
		}
		if m.chance(3) && y != x {
			y = m.pixel(y)
		}
		ends = append(ends, y)
	}
	if sum {
		op := one(m, "SUM", "SUM", "MAX", "PROD")
		if op == "SUM" && m.chance(2) {
			op += strings.Repeat(" coeff: 0.7", len(ends))
		}
		return m.add("Eltwise", x.c, false, "eltwise_param { operation: "+op+" }", ends...)
	}
	all := 0
	for _, y := range ends {
		all += y.c
	}
	return m.add("Concat", all, false, "", ends...)
}

// sliced takes channels apart and puts them together in the other order.
func (m *netMaker) sliced(x drawnBlob) drawnBlob {
	at := min(one(m, 16, 16, 8, 3), x.c-1)
	m.n++
	a, b := drawnBlob{fmt.Sprintf("part%da", m.n), at}, drawnBlob{fmt.Sprintf("part%db", m.n), x.c - at}
	fmt.Fprintf(&m.text, "layer { type: 'Slice' name: 'slice%d' bottom: '%s' top: '%s' top: '%s' slice_param { slice_point: %d } }\n", m.n, x.name, a.name, b.name, at)
	if m.chance(2) {
		a = m.pixel(a)
	}
	if m.chance(2) {
		b = m.conv(b, one(m, 16, 32), true)
	}
	return m.add("Concat", a.c+b.c, false, "", b, a)
}

// enlarged goes to smaller pictures and back, as nets that segment do.
func (m *netMaker) enlarged(x drawnBlob) drawnBlob {
	y := m.add("Pooling", x.c, false, "pooling_param { kernel_size: 2 stride: 2 }", x)
	group := one(m, 1, 1, x.c)
	y = m.add("Deconvolution", x.c, false, fmt.Sprintf("convolution_param { num_output: %d kernel_size: 4 stride: 2 pad: %d group: %d %s }", x.c, m.number(0, 1), group, drawnFillers), y)
	y = m.add("Crop", x.c, false, "crop_param { axis: 2 }", y, x)
	return m.add("Eltwise", x.c, false, "", x, y)
}

// drawNet writes a net of some layers for pictures of c channels.
func drawNet(seed uint64, c int) string {
	m := &netMaker{r: rand.New(rand.NewPCG(seed, 1)), wide: 1}
	if m.chance(3) {
		m.text.WriteString("force_backward: true\n")
	}
	m.text.WriteString(images(c, 8, 8))
	x := m.conv(drawnBlob{"data", c}, m.channels(), m.chance(2))
	for range m.number(3, 7) {
		switch m.r.IntN(9) {
		case 0, 1:
			x = m.conv(x, m.channels(), m.chance(2))
		case 2:
			x = m.pool(x, false)
		case 3, 4:
			x = m.branches(x)
		case 5:
			x = m.sliced(x)
		case 6:
			if m.wide > 0 {
				m.wide--
				x = m.enlarged(x)
			}
		default:
			x = m.pixel(x)
		}
		if m.chance(6) {
			m.read = x.name
			m.add("Reduction", 0, false, "loss_weight: 0.3 reduction_param { operation: "+one(m, "SUMSQ", "MEAN")+" axis: 0 }", x)
		}
	}
	x = m.add("Pooling", x.c, false, "pooling_param { pool: "+one(m, "AVE", "MAX")+" global_pooling: true }", x)
	m.text.WriteString(scores("ip", x.name))
	return m.text.String()
}

// A tally keeps what goes wrong.
type tally struct {
	testing.TB
	wrong []string
}

func (c *tally) Errorf(format string, args ...any) {
	c.wrong = append(c.wrong, fmt.Sprintf(format, args...))
}

// compareDrawnParams compares gradients of parameters. A bias before a layer that
// takes means out has none but rounding errors: these are measured by the gradient
// of what the bias is added to.
func compareDrawnParams(t testing.TB, got, want *Net) {
	t.Helper()
	largest := map[string]float64{}
	for _, p := range want.Params() {
		for _, v := range p.Blob.Diff() {
			largest[p.Layer] = max(largest[p.Layer], math.Abs(float64(v)))
		}
	}
	for i, p := range want.Params() {
		for j, v := range got.Params()[i].Blob.Diff() {
			if d := math.Abs(float64(v) - float64(p.Blob.Diff()[j])); !(d <= 1e-4*largest[p.Layer]) {
				t.Errorf("gradient of parameter %s of %s: element %d is off by %.2g; the layer's largest is %.2g", p.Name, p.Layer, j, d, largest[p.Layer])
				break
			}
		}
	}
}

// TestRandomNets compares drawn nets with and without passes, in batches of
// changing shapes, and the bits that one thread computes with those of several.
func TestRandomNets(t *testing.T) {
	seeds := uint64(40)
	if race.Enabled || testing.Short() {
		seeds = 8
	}
	for seed := range seeds {
		for _, phase := range []caffepb.Phase{caffepb.Phase_TRAIN, caffepb.Phase_TEST} {
			t.Run(fmt.Sprintf("%d/%v", seed, phase), func(t *testing.T) {
				r := rand.New(rand.NewPCG(seed, 2))
				c := []int{1, 3, 16, 32}[r.IntN(4)]
				text := drawNet(seed, c)
				defer func() {
					if t.Failed() {
						t.Log(text)
					}
				}()
				got, alone, want := build(t, text, phase, Options{}), build(t, text, phase, Options{}), build(t, text, phase, off)
				changed := map[string]bool{}
				for _, f := range got.fusions {
					changed[f.node.TopNames[0]] = true
				}
				for range 3 {
					s := []int{3 + r.IntN(4), c, 5 + r.IntN(14), 5 + r.IntN(14)}
					for _, n := range []*Net{got, alone, want} {
						n.Blob("data").Reshape(s...)
						n.Blob("label").Reshape(s[0])
					}
					// Where a value is near 0, or two are nearly equal, roundings
					// decide where a gradient goes: seldom, and hardly with the next
					// values, too.
					var found *tally
					for try := range uint64(3) {
						feedDrawn(try, got, alone, want)
						a, b := pass(t, got), pass(t, want)
						found = &tally{TB: t}
						near(found, "loss", []float32{a}, []float32{b})
						compareBlobs(found, got, want, changed)
						compareDrawnParams(found, got, want)
						threads := runtime.GOMAXPROCS(1)
						one := pass(t, alone)
						runtime.GOMAXPROCS(threads)
						if one != a {
							t.Errorf("data of %v: loss %v on one thread, %v on several", s, one, a)
						}
						for i, p := range got.Params() {
							if !slices.Equal(p.Blob.Diff(), alone.Params()[i].Blob.Diff()) {
								t.Errorf("data of %v: other bits on one thread: gradient of parameter %s of %s", s, p.Name, p.Layer)
							}
						}
						if len(found.wrong) == 0 {
							break
						}
					}
					if len(found.wrong) > 0 {
						t.Fatalf("data of %v: %s", s, strings.Join(found.wrong, "\n"))
					}
				}
			})
		}
	}
}
