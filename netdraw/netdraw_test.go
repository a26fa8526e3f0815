package netdraw

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"image/png"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"crema/netinfo"
)

// net makes a description of layers written as "name type bottoms > tops".
func net(layers ...string) *netinfo.Info {
	i := &netinfo.Info{Name: "n & m", Phase: "TEST", Batch: 2, MACs: 3000, Parameters: 40}
	for _, l := range layers {
		left, right, _ := strings.Cut(l, ">")
		f := strings.Fields(left)
		d := netinfo.Layer{Name: f[0], Type: f[1], MACs: 3000, Parameters: 40}
		for _, b := range f[2:] {
			d.Bottoms = append(d.Bottoms, netinfo.Blob{Name: b, Shape: []int{2, 3}})
		}
		for _, b := range strings.Fields(right) {
			d.Tops = append(d.Tops, netinfo.Blob{Name: b, Shape: []int{2, 3}})
		}
		i.Layers = append(i.Layers, d)
	}
	return i
}

var sample = net(
	"data Data > x label",
	"conv Convolution x > a",
	"relu ReLU a > a",
	"left Convolution a > b",
	"right Pooling a > c",
	"more Convolution c > d",
	"sum Eltwise b d > e",
	"drop Dropout e > e",
	"fc InnerProduct e > f",
	"loss SoftmaxWithLoss f label > loss",
	`acc"1" Accuracy f label > acc`,
)

func TestBoxes(t *testing.T) {
	d := newDiagram(sample)
	var got []string
	for _, b := range d.boxes {
		s := ""
		for _, l := range b.layers {
			s += l.Name + " "
		}
		got = append(got, s)
	}
	want := []string{"data ", "conv relu ", "left ", "right ", "more ", "sum drop ", "fc ", "loss ", `acc"1" `}
	if !slices.Equal(got, want) {
		t.Errorf("boxes %q, want %q", got, want)
	}
	var text []string
	for _, l := range d.boxes[1].lines {
		text = append(text, l.text)
	}
	// The figures of a box are those of all its layers; multiply-adds of an item.
	if want := []string{"conv", "Convolution", "+ ReLU relu", "2×3", "80 parameters, 3.00 k multiply-adds"}; !slices.Equal(text, want) {
		t.Errorf("text %q, want %q", text, want)
	}
	if text := d.boxes[0].lines; text[2].text != "x 2×3" || text[3].text != "label 2×3" {
		t.Errorf("text of a layer of two tops: %v", text)
	}
	for i, k := range map[int]kind{0: source, 1: product, 3: pooling, 5: joint, 7: loss, 8: loss} {
		if d.boxes[i].kind != k {
			t.Errorf("%q is of kind %d, want %d", got[i], d.boxes[i].kind, k)
		}
	}
	if w := d.wires[2]; w.blob != "a" || len(w.to) != 2 {
		t.Errorf("wire %q goes to %d boxes", w.blob, len(w.to))
	}
}

// TestInPlaceApart: a layer in place that would not be where it acts if it
// stood in the box has one of its own.
func TestInPlaceApart(t *testing.T) {
	d := newDiagram(net("data Data > x label", "scale Scale x > x", "a ReLU x > y", "b ReLU x > x", "c ReLU x > z"))
	if len(d.boxes) != 5 {
		t.Fatalf("%d boxes, want 5", len(d.boxes))
	}
	// c reads what b made, a what scale made.
	if from := d.boxes[4].in[0].from; from != d.boxes[3] {
		t.Errorf("c reads from %q", from.layers[0].Name)
	}
	if from := d.boxes[2].in[0].from; from != d.boxes[1] {
		t.Errorf("a reads from %q", from.layers[0].Name)
	}
}

// random makes a net with many branches and long wires.
func random(seed uint64, n int) *netinfo.Info {
	r := rand.New(rand.NewPCG(seed, 1))
	layers := []string{"l0 Data > b0 label"}
	for i := 1; i < n; i++ {
		bottoms := fmt.Sprintf("b%d", max(0, i-1-r.IntN(4)))
		for r.IntN(3) == 0 {
			bottoms += fmt.Sprintf(" b%d", r.IntN(i))
		}
		if r.IntN(9) == 0 {
			bottoms += " label"
		}
		layers = append(layers, fmt.Sprintf("l%d%s Concat %s > b%d", i, strings.Repeat("x", r.IntN(12)), bottoms, i))
	}
	return net(layers...)
}

// TestLayout checks that boxes stand behind what they read and do not overlap,
// and that wires have their own places between them.
func TestLayout(t *testing.T) {
	nets := map[string]*netinfo.Info{"sample": sample, "empty": net(), "one": net("a Data > x")}
	for seed := range uint64(6) {
		nets[fmt.Sprint("random", seed)] = random(seed, 5+int(seed)*12)
	}
	for name, i := range nets {
		for _, dir := range []Direction{TopBottom, BottomTop, LeftRight, RightLeft} {
			t.Run(name+" "+string(dir), func(t *testing.T) { checkLayout(t, newPicture(newDiagram(i), dir)) })
		}
	}
}

func checkLayout(t *testing.T, p *picture) {
	for i, a := range p.d.boxes {
		r := p.boxes[a]
		if r.x < margin-1 || r.y < margin-1 || r.x+r.w > p.width-margin+1 || r.y+r.h > p.height-margin+1 {
			t.Errorf("box %q at %v is not within %v×%v", a.layers[0].Name, r, p.width, p.height)
		}
		for _, w := range a.in {
			from := p.boxes[w.from]
			behind := map[Direction]bool{TopBottom: from.y+from.h < r.y, BottomTop: from.y > r.y+r.h, LeftRight: from.x+from.w < r.x, RightLeft: from.x > r.x+r.w}
			if !behind[p.dir] {
				t.Errorf("%q is not behind %q", a.layers[0].Name, w.from.layers[0].Name)
			}
		}
		for _, b := range p.d.boxes[:i] {
			s := p.boxes[b]
			if r.x < s.x+s.w && s.x < r.x+r.w && r.y < s.y+s.h && s.y < r.y+r.h {
				t.Errorf("boxes %q and %q overlap", a.layers[0].Name, b.layers[0].Name)
			}
		}
	}
	for _, rank := range p.l.ranks {
		for i, n := range rank[:max(0, len(rank)-1)] {
			if o := rank[i+1]; o.at-n.at < distance(n, o)-1e-6 {
				t.Errorf("rank %d: nodes %d and %d are %v apart, not %v", n.rank, i, i+1, o.at-n.at, distance(n, o))
			}
		}
	}
	for _, w := range p.d.wires {
		last := w.from.rank + 1
		for _, b := range w.to {
			last = max(last, b.rank)
		}
		if n := len(p.l.places[w]); n != last-w.from.rank-1 {
			t.Errorf("wire %q has %d places over %d ranks", w.blob, n, last-w.from.rank)
		}
	}
}

// TestStraight: a chain is straight, and so is a long wire beside it.
func TestStraight(t *testing.T) {
	layers := []string{"d Data > b0 label"}
	for i := 1; i < 30; i++ {
		layers = append(layers, fmt.Sprintf("l%d%s Convolution b%d > b%d", i, strings.Repeat("w", i%7), i-1, i))
	}
	layers = append(layers, "loss SoftmaxWithLoss b29 label > loss")
	p := newPicture(newDiagram(net(layers...)), TopBottom)
	for _, w := range p.d.wires {
		places := p.l.places[w]
		for i := range places {
			if math.Abs(places[i].at-places[0].at) > 0.01 {
				t.Errorf("wire %q bends at rank %d", w.blob, places[i].rank)
			}
		}
	}
	for _, b := range p.d.boxes[2:30] {
		if a, o := p.l.nodes[b].at, p.l.nodes[p.d.boxes[1]].at; math.Abs(a-o) > 0.01 {
			t.Errorf("%q is at %v, not at %v", b.layers[0].Name, a, o)
		}
	}
}

// TestCrossings: two chains that begin in the wrong order are put side by side.
func TestCrossings(t *testing.T) {
	p := newPicture(newDiagram(net("a Data > a", "b Data > b", "b1 ReLU b > b1", "a1 ReLU a > a1", "b2 ReLU b1 > b2", "a2 ReLU a1 > a2")), TopBottom)
	if n := p.l.crossings(); n != 0 {
		t.Errorf("%d crossings", n)
	}
}

func TestSVG(t *testing.T) {
	for _, dir := range []Direction{TopBottom, LeftRight} {
		var b bytes.Buffer
		if err := WriteSVG(&b, sample, dir); err != nil {
			t.Fatal(err)
		}
		var text []string
		for d := xml.NewDecoder(&b); ; {
			tok, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if c, ok := tok.(xml.CharData); ok {
				text = append(text, strings.TrimSpace(string(c)))
			}
		}
		for _, want := range []string{"n & m", `acc"1"`, "x 2×3", "+ Dropout drop", "label"} {
			if !slices.Contains(text, want) {
				t.Errorf("%s: no text %q", dir, want)
			}
		}
	}
}

func TestSave(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "n.PNG")
	if err := Save(path, sample, TopBottom); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	p := newPicture(newDiagram(sample), TopBottom)
	if s := m.Bounds().Size(); s.X != int(p.width) || s.Y != int(p.height) {
		t.Errorf("%v, want %v×%v", s, p.width, p.height)
	}
	if err := Save(filepath.Join(dir, "n.pdf"), sample, TopBottom); err == nil || !strings.Contains(err.Error(), ".svg, .png, .dot or .gv") {
		t.Errorf("a .pdf file: %v", err)
	}
	if err := Save(filepath.Join(dir, "none", "n.svg"), sample, TopBottom); err == nil {
		t.Error("a folder that is not there: no error")
	}
}

func TestDot(t *testing.T) {
	var b bytes.Buffer
	if err := WriteDot(&b, sample, LeftRight); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"rankdir=LR;", "digraph \"n & m\" {\n", `l1 [label="conv\nConvolution\n+ ReLU relu\n2×3\n80 parameters, 3.00 k multiply-adds", fillcolor="#cfe2f6"];`,
		"l0 -> l1 [label=\"x\"];", "l1 -> l2;", "l1 -> l3;", `l8 [label="acc\"1\"\n`, "l0 -> l8 [label=\"label\"];"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %s in\n%s", want, b.String())
		}
	}
	if dot, err := exec.LookPath("dot"); err == nil {
		c := exec.Command(dot, "-Tsvg")
		c.Stdin = &b
		if out, err := c.CombinedOutput(); err != nil {
			t.Errorf("dot: %v: %s", err, out)
		}
	}
}

func TestDirection(t *testing.T) {
	if d, err := ParseDirection("lr"); err != nil || d != LeftRight {
		t.Errorf("lr: %v, %v", d, err)
	}
	if _, err := ParseDirection("UP"); err == nil {
		t.Error("UP: no error")
	}
}
