package conv

import (
	"fmt"
	"testing"

	"crema/asm"
	"crema/internal/kerneltest"
	"crema/internal/race"
)

var depthwiseShapes = []Shape{
	{N: 1, C: 6, H: 12, W: 12, K: 6, R: 3, S: 3, PadH: 1, PadW: 1},
	{N: 2, C: 6, H: 12, W: 9, K: 6, R: 3, S: 3, StrideH: 2, StrideW: 2, PadH: 1, PadW: 1},
	{N: 2, C: 3, H: 13, W: 17, K: 3, R: 3, S: 3, StrideH: 2, StrideW: 2},
	{N: 1, C: 2, H: 1, W: 1, K: 2, R: 1, S: 1},
	{N: 3, C: 5, H: 7, W: 7, K: 5, R: 5, S: 5, PadH: 2, PadW: 2},
	{N: 1, C: 2, H: 65, W: 70, K: 2, R: 3, S: 3, PadH: 1, PadW: 1},
	{N: 1, C: 2, H: 90, W: 71, K: 2, R: 3, S: 3, StrideH: 2, StrideW: 2, PadH: 1, PadW: 1},
	{N: 2, C: 2, H: 15, W: 13, K: 2, R: 3, S: 2, StrideH: 3, StrideW: 2, PadH: 2, DilationH: 2, DilationW: 3},
	{N: 1, C: 3, H: 6, W: 5, K: 3, R: 2, S: 2, PadH: 3, PadW: 4, StrideW: 3},
	{N: 1, C: 2, H: 9, W: 8, K: 2, R: 4, S: 7, PadH: 1, PadW: 3, StrideH: 2, StrideW: 4},
}

func TestDepthwise(t *testing.T) {
	kerneltest.EachISA(t, func(t *testing.T) {
		for _, s := range depthwiseShapes {
			s.Group = s.C
			t.Run(s.String(), func(t *testing.T) {
				p := plan(t, s, Options{})
				for d := range numDirections {
					if p.Algorithm(d) != "depthwise" && !pointwise(&p.s) {
						t.Errorf("%v by %s", d, p.Algorithm(d))
					}
				}
				checkForced(t, s, "depthwise", NCHW)
			})
		}
	})
}

// TestDepthwiseChoice: only groups of one channel and one filter.
func TestDepthwiseChoice(t *testing.T) {
	for _, s := range []Shape{
		{N: 1, C: 4, H: 8, W: 8, K: 8, R: 3, S: 3, Group: 4},
		{N: 1, C: 4, H: 8, W: 8, K: 4, R: 3, S: 3, Group: 2},
		{N: 1, C: 1, H: 8, W: 8, K: 1, R: 3, S: 3},
	} {
		p := plan(t, s, Options{Algorithm: "depthwise"})
		for d := range numDirections {
			if p.Algorithm(d) == "depthwise" {
				t.Errorf("%v: %v is depthwise", p.Shape(), d)
			}
		}
	}
}

// TestDepthwiseLargeStride: what enlarges an image by a large factor is not done
// with zeros between pixels, unless it is forced.
func TestDepthwiseLargeStride(t *testing.T) {
	s := Shape{N: 1, C: 3, H: 40, W: 32, K: 3, R: 16, S: 16, StrideH: 8, StrideW: 8, PadH: 4, PadW: 4, Group: 3}
	for _, c := range []struct{ algorithm, forward, data string }{{"", "depthwise", "col2im"}, {"depthwise", "depthwise", "depthwise"}} {
		p := plan(t, s, Options{Algorithm: c.algorithm})
		if f, d := p.Algorithm(Forward), p.Algorithm(BackwardData); f != c.forward || d != c.data {
			t.Errorf("forced %q: forward %s, backward-data %s", c.algorithm, f, d)
		}
		o := newOperands(p, kerneltest.Integers)
		o.run(p)
		reference(p, o).check(t, p, o, true)
	}
}

func TestDepthwiseNoAllocations(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	s := depthwiseShapes[6]
	s.Group = s.C
	p := plan(t, s, Options{ReLU: true})
	o := newOperands(p, kerneltest.Normals)
	if n := testing.AllocsPerRun(5, func() {
		p.Forward(o.x, o.w, o.bias, o.y)
		p.BackwardData(o.dy, o.y, o.w, o.dx)
		p.BackwardWeights(o.x, o.dy, o.y, o.dw, o.db)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkGroups times depthwise convolutions of MobileNet (Howard et al.,
// 2017, table 1), each by the algorithm of its own and by the one it would
// have without, and the grouped ones of AlexNet.
func BenchmarkGroups(b *testing.B) {
	const batch = 6
	for _, l := range []struct {
		name                      string
		c, h, k, r, stride, group int
		algorithms                []string
	}{
		{"dw2", 32, 112, 32, 3, 1, 32, []string{"depthwise", "implicit"}},
		{"dw3", 64, 112, 64, 3, 2, 64, []string{"depthwise", "implicit"}},
		{"dw5", 128, 56, 128, 3, 1, 128, []string{"depthwise", "implicit"}},
		{"dw11", 512, 14, 512, 3, 1, 512, []string{"depthwise", "implicit"}},
		{"dw13", 512, 14, 512, 3, 2, 512, []string{"depthwise", "implicit"}},
		{"alexnet_conv2", 96, 27, 256, 5, 1, 2, []string{""}},
		{"alexnet_conv4", 384, 13, 384, 3, 1, 2, []string{"", "implicit"}},
		{"resnext_conv3", 256, 28, 256, 3, 1, 32, []string{""}},
	} {
		for _, algorithm := range l.algorithms {
			for d := range numDirections {
				b.Run(fmt.Sprintf("isa=%s/shape=%s/algorithm=%s/direction=%v/threads=1", asm.ISA(), l.name, algorithm, d), func(b *testing.B) {
					s := Shape{N: batch, C: l.c, H: l.h, W: l.h, K: l.k, R: l.r, S: l.r, StrideH: l.stride, StrideW: l.stride, PadH: l.r / 2, PadW: l.r / 2, Group: l.group}
					p := plan(b, s, Options{Threads: 1, Algorithm: algorithm})
					o := newOperands(p, kerneltest.Integers)
					for b.Loop() {
						o.direction(p, d)
					}
					flops := 2 * float64(p.outputSize()) * float64(l.c/l.group*l.r*l.r) * float64(b.N)
					b.ReportMetric(flops/float64(b.Elapsed().Nanoseconds()), "GFLOPS")
				})
			}
		}
	}
}

// direction computes one direction.
func (o *operands) direction(p *Plan, d Direction) {
	switch d {
	case Forward:
		p.Forward(o.x, o.w, o.bias, o.y)
	case BackwardData:
		p.BackwardData(o.dy, o.y, o.w, o.dx)
	case BackwardWeights:
		p.BackwardWeights(o.x, o.dy, o.y, o.dw, o.db)
	}
}
