package asm_test

import (
	"fmt"
	"testing"

	"crema/asm"
	"crema/bench"
	"crema/internal/kerneltest"
)

// tileShape is where a tile lies in the product of a layer: so deep, so far
// apart the rows of B and C, and the columns of A if it is stored transposed.
type tileShape struct {
	name             string
	kc, ldb, ldc, ra int
}

// tileShapes are those of VGG-16's convolutions as products of one image,
// forward, with blocks of depth as package gemm chooses them.
func tileShapes() []tileShape {
	var all []tileShape
	for _, c := range bench.Convs(1) {
		g := c.GEMM(bench.Forward)
		kc := asm.Sgemm().KC
		blocks := (g.K + kc - 1) / kc
		all = append(all, tileShape{c.Name, (g.K + blocks - 1) / blocks, g.N, g.N, g.M})
	}
	return all
}

// BenchmarkTile measures the SGEMM micro-kernels: tiles of all widths, those
// that pack an operand on the way, and those that read A where it lies. Panels of
// A and B in turn fill a part of the level-2 cache, as in a product.
func BenchmarkTile(b *testing.B) {
	const panels = 8
	kerneltest.EachBench(b, func(b *testing.B) {
		k := asm.Sgemm()
		for _, s := range tileShapes() {
			ap, bp := make([]float32, panels*k.MR*s.kc), make([]float32, panels*k.NR*s.kc)
			src := make([]float32, s.kc*max(s.ldb, s.ra+panels*k.MR))
			c := make([]float32, k.MR*s.ldc)
			for i, x := range [][]float32{ap, bp, src} {
				kerneltest.Integers(uint64(i), x)
			}
			columns := (s.ldb / k.NR) * k.NR // whole panels of them
			a := func(i int) []float32 { return ap[i%panels*k.MR*s.kc:][:k.MR*s.kc] }
			p := func(i int) []float32 { return bp[i%panels*k.NR*s.kc:][:k.NR*s.kc] }
			at := func(i int) int { return i * k.NR % columns }
			for _, v := range []struct {
				name string
				nr   int
				run  func(i, nr int)
			}{
				{"whole", k.NR, func(i, nr int) { k.Tile(k.MR, nr, s.kc, 1, a(i), p(i/panels), c[at(i):], s.ldc, true) }},
				{"half", k.NR / 2, func(i, nr int) { k.Tile(k.MR, nr, s.kc, 1, a(i), p(i/panels), c[at(i):], s.ldc, true) }},
				{"quarter", k.NR / 4, func(i, nr int) { k.Tile(k.MR, nr, s.kc, 1, a(i), p(i/panels), c[at(i):], s.ldc, true) }},
				{"packA", k.NR, func(i, nr int) {
					k.TilePackA(k.MR, s.kc, 1, src[i%panels*k.MR:], s.ra+panels*k.MR, a(i), p(i), c[at(i):], s.ldc, true)
				}},
				{"rows", k.NR, func(i, nr int) {
					a := src[i%panels*k.MR*s.kc:]
					k.TileRows(k.MR, nr, s.kc, 1, a, a, s.kc, p(i/panels), c[at(i):], s.ldc, true)
				}},
				{"packB", k.NR, func(i, nr int) {
					k.TilePackB(k.MR, s.kc, 1, a(i), src[at(i):], s.ldb, p(i), c[at(i):], s.ldc, true)
				}},
			} {
				if v.name == "rows" && k.Low == 0 {
					continue
				}
				b.Run("tile="+v.name+"/shape="+s.name, func(b *testing.B) {
					i := 0
					for b.Loop() {
						v.run(i, v.nr)
						i++
					}
					kerneltest.ReportFlops(b, 2*float64(k.MR*v.nr*s.kc), 1)
				})
			}
		}
	})
}

// BenchmarkPack measures the packing of panels: of B from rows as far apart as
// the layer's pixels, of A from rows as far apart as its taps. Reading and
// writing count.
func BenchmarkPack(b *testing.B) {
	kerneltest.EachBench(b, func(b *testing.B) {
		k := asm.Sgemm()
		for _, s := range tileShapes() {
			src, dst := make([]float32, s.kc*s.ldb), make([]float32, k.NR*s.kc)
			kerneltest.Integers(1, src)
			columns := (s.ldb / k.NR) * k.NR
			b.Run("op=rows/shape="+s.name, func(b *testing.B) {
				j := 0
				for b.Loop() {
					asm.PackRows(s.kc, k.NR, 0, k.NR, src, j, s.ldb, dst, k.NR)
					j = (j + k.NR) % columns
				}
				kerneltest.ReportBytes(b, 8*float64(k.NR*s.kc), 1)
			})
			rows := s.ldb * s.kc / (s.kc + 16) / k.MR * k.MR
			b.Run("op=transpose/shape="+s.name, func(b *testing.B) {
				i := 0
				for b.Loop() {
					asm.Transpose(k.MR, s.kc, src[i*(s.kc+16):], s.kc+16, dst, k.MR)
					i = (i + k.MR) % (rows - k.MR)
				}
				kerneltest.ReportBytes(b, 8*float64(k.MR*s.kc), 1)
			})
		}
	})
}

// BenchmarkSkinny passes over the weights of a fully connected layer, as its
// forward and its data pass do, and makes a step of them by their gradient.
// The weights read (and written) count.
func BenchmarkSkinny(b *testing.B) {
	const batch = 6
	kerneltest.EachBench(b, func(b *testing.B) {
		for _, f := range bench.FCs(batch) {
			in, out := f.In, f.Out
			w, h := make([]float32, in*out), make([]float32, in*out)
			x, y := make([]float32, batch*(in+16)), make([]float32, batch*(in+16))
			kerneltest.Fill(w, 1e-3)
			kerneltest.Fill(h, 1e-3)
			kerneltest.Normals(1, x)
			bytes := 4 * float64(in*out)
			b.Run("op=dot/shape="+f.Name, func(b *testing.B) {
				var sums [4 * asm.MaxDotRows]float32
				depth := in / 2
				for b.Loop() {
					for j := 0; j < out; j += 4 {
						for p := 0; p < in; p += depth {
							n := min(depth, in-p)
							next := w[min(j*in+p+n, len(w)-1):]
							asm.DotRows(batch, n, x[batch*p:], 16*batch, w[j*in+p:], in, next, &sums)
						}
					}
				}
				kerneltest.ReportBytes(b, bytes, 1)
			})
			depth, add := 4, asm.Rank4
			if asm.RankDepth() == 8 {
				depth, add = 8, asm.Rank8
			}
			a := make([]float32, depth*batch)
			b.Run(fmt.Sprintf("op=rank%d/shape=%s", depth, f.Name), func(b *testing.B) {
				for b.Loop() {
					for i := 0; i+depth <= out; i += depth {
						add(batch, in, a, w[i*in:], in, y, in+16)
					}
				}
				kerneltest.ReportBytes(b, bytes, 1)
			})
			b.Run("op=step/shape="+f.Name, func(b *testing.B) {
				for b.Loop() {
					for i := 0; i < out; i += asm.OuterRows {
						asm.SGDOuter(1e-6, 5e-4, 0.9, batch, asm.OuterRows, in, a[:batch*asm.OuterRows], x, in+16, h[i*in:], w[i*in:], in)
					}
				}
				kerneltest.ReportBytes(b, 4*bytes, 1)
			})
		}
	})
}

// BenchmarkVec measures the vector operations on the activations of some
// layers, the update on the weights of fc7, and the exponential function and what
// is made of it on the scores. What is read and written counts.
func BenchmarkVec(b *testing.B) {
	const batch = 6
	size := map[string]int{"fc7": 4096 * 4096, "fc8": batch * 1000}
	for _, c := range bench.Convs(1) {
		size[c.Name] = c.K * c.H * c.H
	}
	one := asm.Splat(1)
	var sum, dot [asm.Lanes]float64
	kerneltest.EachBench(b, func(b *testing.B) {
		for _, op := range []struct {
			name   string
			shapes []string
			arrays int // passed over, reading and writing apart
			run    func(x, y, z []float32)
		}{
			{"axpy", []string{"conv1_2", "conv3_2", "conv5_1"}, 3, func(x, y, _ []float32) { asm.Axpy(0, x, y) }},
			{"add", []string{"conv1_2", "conv3_2", "conv5_1"}, 3, func(x, y, _ []float32) { asm.Add(x, y) }},
			{"scal", []string{"conv1_2", "conv3_2", "conv5_1"}, 2, func(x, _, _ []float32) { asm.Scal(1, x) }},
			{"relu", []string{"conv1_2", "conv3_2", "conv5_1"}, 2, func(x, y, _ []float32) { asm.ReLU(0, x, y) }},
			{"reluBackward", []string{"conv1_2", "conv3_2", "conv5_1"}, 3, func(x, y, z []float32) { asm.ReLUBackward(0, x, y, z) }},
			{"sum", []string{"conv1_2", "conv3_2", "conv5_1"}, 1, func(x, _, _ []float32) { asm.Sum(x) }},
			{"asum", []string{"conv1_2", "conv3_2", "conv5_1"}, 1, func(x, _, _ []float32) { asm.Asum(x) }},
			{"sumsq", []string{"conv1_2", "conv3_2", "conv5_1", "fc7"}, 1, func(x, _, _ []float32) { asm.Sumsq(x) }},
			{"dot", []string{"conv1_2", "conv3_2", "conv5_1"}, 2, func(x, y, _ []float32) { asm.Dot(x, y) }},
			{"exp", []string{"fc8"}, 2, func(x, y, _ []float32) { asm.Exp(x, y) }},
			{"sigmoid", []string{"fc8"}, 2, func(x, y, _ []float32) { asm.Sigmoid(x, y) }},
			{"tanh", []string{"fc8"}, 2, func(x, y, _ []float32) { asm.Tanh(x, y) }},
			{"affine", []string{"conv1_2", "conv5_1"}, 2, func(x, y, _ []float32) { asm.Affine(&one, &one, x, y) }},
			{"standardize", []string{"conv1_2", "conv5_1"}, 3, func(x, y, z []float32) { asm.Standardize(&one, &one, x, y, z) }},
			{"standardizeBackward", []string{"conv1_2", "conv5_1"}, 3, func(x, y, z []float32) { asm.StandardizeBackward(&one, &one, &one, x, y, z) }},
			{"laneSums", []string{"conv1_2", "conv5_1"}, 2, func(x, y, _ []float32) { asm.LaneSums(x, y, &sum, &dot) }},
			{"laneReLU", []string{"conv1_2", "conv5_1"}, 2, func(x, y, _ []float32) { asm.LaneReLU(&one, x, y) }},
			{"laneReLUBackward", []string{"conv1_2", "conv5_1"}, 3, func(x, y, z []float32) { asm.LaneReLUBackward(&one, x, y, z) }},
			{"product", []string{"conv1_2", "conv5_1"}, 3, func(x, y, z []float32) { asm.Product(x, y, z) }},
			{"powerMinus34", []string{"conv5_1"}, 2, func(x, y, _ []float32) { asm.PowerMinus34(y, x) }},
			{"sgd", []string{"conv5_1", "fc7"}, 5, func(x, y, z []float32) { asm.SGDUpdate(1e-6, 5e-4, 0.9, x, y, z) }},
		} {
			for _, shape := range op.shapes {
				n := size[shape]
				x, y, z := make([]float32, n), make([]float32, n), make([]float32, n)
				kerneltest.Normals(1, x)
				kerneltest.Fill(y, 1e-3)
				kerneltest.Fill(z, 1e-3)
				b.Run("op="+op.name+"/shape="+shape, func(b *testing.B) {
					for b.Loop() {
						op.run(x, y, z)
					}
					kerneltest.ReportBytes(b, 4*float64(n*op.arrays), 1)
				})
			}
		}
	})
}

// BenchmarkMaxPool2 is of one image in VGG-16's pooling layers, channel after
// channel. What is read and written counts.
func BenchmarkMaxPool2(b *testing.B) {
	kerneltest.EachBench(b, func(b *testing.B) {
		for _, s := range []struct {
			name        string
			channels, h int
		}{{"pool1", 64, 224}, {"pool2", 128, 112}, {"pool3", 256, 56}, {"pool4", 512, 28}, {"pool5", 512, 14}} {
			n := s.channels * s.h * s.h
			x, dx, y, mask := make([]float32, n), make([]float32, n), make([]float32, n/4), make([]int32, n/4)
			kerneltest.Normals(1, x)
			half := s.h / 2
			bytes := 4 * float64(n+n/4+n/4)
			b.Run("op=forward/shape="+s.name, func(b *testing.B) {
				for b.Loop() {
					for i := range s.channels * half {
						at := 2 * i * s.h
						asm.MaxPool2(at, s.h, x[at:], x[at+s.h:], y[i*half:][:half], mask[i*half:][:half])
					}
				}
				kerneltest.ReportBytes(b, bytes, 1)
			})
			b.Run("op=backward/shape="+s.name, func(b *testing.B) {
				for b.Loop() {
					for i := range s.channels * half {
						at := 2 * i * s.h
						asm.MaxPool2Backward(at, s.h, y[i*half:][:half], mask[i*half:][:half], dx[at:], dx[at+s.h:])
					}
				}
				kerneltest.ReportBytes(b, bytes, 1)
			})
		}
	})
}

// BenchmarkWino measures the kernels of Winograd convolutions: the products at
// one point, with panels of U in turn that fill a part of the level-2 cache, and
// the transforms of the topmost row of tiles.
func BenchmarkWino(b *testing.B) {
	const l, rows, panels = asm.WinoLanes, 56, 4
	kerneltest.EachBench(b, func(b *testing.B) {
		k := asm.Wino()
		mc := k.MC
		for k.NR%mc != 0 {
			mc--
		}
		for _, c := range bench.Convs(1) {
			if c.C < l {
				continue
			}
			v, u, m := make([]float32, max(rows, k.NR)*c.C), make([]float32, panels*c.C*k.NR), make([]float32, rows*k.NR)
			kerneltest.Integers(1, v)
			kerneltest.Integers(2, u)
			for name, f := range map[string]func(u []float32) (done int){
				"rows": func(u []float32) int {
					k.Rows(rows/k.MR, k.MR, c.C/l, v, rows*l, u, m, k.NR, false)
					return rows / k.MR * k.MR
				},
				"cols": func(u []float32) int {
					k.Cols(k.NR/mc, mc, c.C, v, nil, u, m, k.NR, true)
					return k.NR
				},
			} {
				b.Run("product="+name+"/shape="+c.Name, func(b *testing.B) {
					done, i := 0, 0
					for b.Loop() {
						done = f(u[i%panels*c.C*k.NR:])
						i++
					}
					kerneltest.ReportFlops(b, 2*float64(done*c.C*k.NR), 1)
				})
			}
			n := (c.H + 3) / 4
			ldp := n*k.NR + 5*l
			src, dst, taps := make([]float32, 6*c.H*l), make([]float32, 36*ldp), make([]float32, 9*n*l)
			kerneltest.Integers(3, src)
			kerneltest.Integers(4, dst)
			var sums [l]float32
			in := asm.WinoPixels{Data: src, LD: c.H * l, Top: 1, Left: 1, Right: 4*n + 1 - c.H}
			out := asm.WinoPixels{Data: src, LD: c.H * l, Right: 4*n - c.H}
			for name, f := range map[string]func(){
				"input":    func() { k.Input(n, &in, dst, k.NR, ldp, false) },
				"gradient": func() { k.Gradient(n, &out, dst, k.NR, ldp, &sums, false) },
				"filter":   func() { k.Filter(n, src, 0, l, l, dst, k.NR, ldp) },
				"output":   func() { k.Output(n, dst, k.NR, ldp, &sums, 0, &out, false) },
				"weights":  func() { k.Weights(n, dst, k.NR, ldp, taps) },
			} {
				b.Run("transform="+name+"/shape="+c.Name, func(b *testing.B) {
					for b.Loop() {
						f()
					}
					b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/tile")
				})
			}
		}
	})
}
