package asm_test

import (
	"fmt"
	"math"
	"testing"

	"crema/asm"
	"crema/internal/kerneltest"
	"crema/internal/race"
)

var minusInf = float32(math.Inf(-1))

// A guard is memory between protected pages that arrays of one kind share.
type guard struct {
	all   []float32
	atEnd bool
}

func newGuard(t *testing.T, atEnd bool) *guard {
	return &guard{kerneltest.Guarded(t, 1<<16, atEnd), atEnd}
}

// get returns n elements that end or begin at a protected page.
func (g *guard) get(n int, fill float32) []float32 {
	s := g.all[:n]
	if g.atEnd {
		s = g.all[len(g.all)-n:]
	}
	kerneltest.Fill(s, fill)
	return s
}

// offsets are the places of taps in a patch, of which some meet.
func offsets(taps int) []int {
	off := make([]int, taps)
	for t := range off {
		off[t] = t * 7 % (2*taps + 1)
	}
	return off
}

func TestDirectForward(t *testing.T) {
	const slack = asm.DirectSlack
	kerneltest.EachISA(t, func(t *testing.T) {
		k := asm.Direct()
		for _, atEnd := range []bool{true, false} {
			xs, ws, ys := newGuard(t, atEnd), newGuard(t, atEnd), newGuard(t, atEnd)
			for _, taps := range []int{1, 2, 3, 9, 27} {
				for _, n := range append(kerneltest.Edges(7, 14, 16, 32, 48), 64, 96, 113) {
					off := offsets(taps)
					last := 2*taps + 1
					x := xs.get(last+n+slack, kerneltest.NaN)
					kerneltest.Integers(1, x[:last+n])
					for _, floor := range []float32{minusInf, 0} {
						for filters := 1; filters <= k.Panel; filters++ {
							w, bias := ws.get(taps*k.Panel, 0), make([]float32, k.Panel)
							kerneltest.Integers(2, w)
							kerneltest.Integers(3, bias)
							ldy := n + 3
							y := ys.get((filters-1)*ldy+n, 77)
							k.Pixels(&asm.DirectRow{N: n, Bias: bias, Floor: floor}, filters, x, off, w, y, ldy)
							for i := range y {
								f, p := i/ldy, i%ldy
								want := float64(77)
								if p < n {
									want = float64(bias[f])
									for q, o := range off {
										want += float64(w[q*k.Panel+f]) * float64(x[o+p])
									}
									want = max(want, float64(floor))
								}
								if float64(y[i]) != want {
									t.Fatalf("Pixels, %d taps, %d pixels, %d filters: pixel %d of filter %d is %v, not %v", taps, n, filters, p, f, y[i], want)
								}
							}
						}
						for blocks := 1; blocks <= k.Blocks; blocks++ {
							filters := blocks * 16
							w, bias := ws.get(taps*filters, 0), make([]float32, filters)
							kerneltest.Integers(2, w)
							kerneltest.Integers(3, bias)
							for _, rows := range []int{1, 2, 5} {
								r := asm.DirectBand{
									DirectRow: asm.DirectRow{N: n, Bias: bias, Floor: floor},
									Rows:      rows, LdX: last + n, LdY: n*16 + 5, LdB: rows*(n*16+5) + 2,
								}
								x := xs.get(rows*r.LdX+slack, kerneltest.NaN)
								kerneltest.Integers(1, x[:rows*r.LdX])
								r.Ahead = [2][]float32{x, w[:taps]}
								y := ys.get((blocks-1)*r.LdB+(rows-1)*r.LdY+n*16, 77)
								k.Lanes(&r, blocks, x, off, w, y)
								for i := range y {
									b, j, p, l := i/r.LdB, i%r.LdB/r.LdY, i%r.LdB%r.LdY/16, i%r.LdB%r.LdY%16
									want := float64(77)
									if j < rows && p < n {
										want = float64(bias[b*16+l])
										for q, o := range off {
											want += float64(w[(q*blocks+b)*16+l]) * float64(x[o+j*r.LdX+p])
										}
										want = max(want, float64(floor))
									}
									if float64(y[i]) != want {
										t.Fatalf("Lanes, %d taps, %d rows of %d pixels, %d blocks: pixel %d of row %d of filter %d is %v, not %v", taps, rows, n, blocks, p, j, b*16+l, y[i], want)
									}
								}
							}
						}
					}
				}
			}
		}
	})
}

func TestDirectPlane(t *testing.T) {
	kerneltest.EachISA(t, func(t *testing.T) {
		k := asm.Direct()
		for _, atEnd := range []bool{true, false} {
			xs, ws, ys := newGuard(t, atEnd), newGuard(t, atEnd), newGuard(t, atEnd)
			for _, rows := range []int{1, 3, 4, 5, 11} {
				for _, n := range kerneltest.Edges(8, 16, 32) {
					for _, taps := range []int{1, 2, 9, 25} {
						off := offsets(taps)
						ldx, ldy := 2*taps+n+4, n+3
						x := xs.get(2*taps+1+(rows-1)*ldx+n+asm.DirectSlack, kerneltest.NaN)
						for j := range rows {
							kerneltest.Integers(uint64(j), x[j*ldx:][:2*taps+1+n])
						}
						w := ws.get(taps, 0)
						kerneltest.Integers(2, w)
						for _, floor := range []float32{minusInf, 0} {
							y := ys.get((rows-1)*ldy+n, 77)
							k.Plane(&asm.DirectRow{N: n, Bias: []float32{5}, Floor: floor}, rows, x, off, ldx, w, y, ldy)
							for i, v := range y {
								j, q := i/ldy, i%ldy
								want := float64(77)
								if q < n {
									want = 5
									for p, o := range off {
										want += float64(w[p]) * float64(x[o+j*ldx+q])
									}
									want = max(want, float64(floor))
								}
								if float64(v) != want {
									t.Fatalf("%d rows of %d pixels, %d taps: pixel %d of row %d is %v, not %v", rows, n, taps, q, j, v, want)
								}
							}
						}
					}
				}
			}
		}
	})
}

// TestDirectStream compares stores past the caches with others.
func TestDirectStream(t *testing.T) {
	kerneltest.EachISA(t, func(t *testing.T) {
		k := asm.Direct()
		const n, taps = 80, 5
		off := offsets(taps)
		x := make([]float32, 2*taps+1+n+asm.DirectSlack)
		w := make([]float32, taps*16*k.Blocks)
		bias := make([]float32, 16*k.Blocks)
		kerneltest.Normals(1, x)
		kerneltest.Normals(2, w)
		kerneltest.Normals(3, bias)
		got, want := kerneltest.Guarded(t, n*k.Panel, true), make([]float32, n*k.Panel)
		k.Pixels(&asm.DirectRow{N: n, Bias: bias, Floor: 0.5}, k.Panel, x, off, w, want, n)
		k.Pixels(&asm.DirectRow{N: n, Bias: bias, Floor: 0.5, Stream: true}, k.Panel, x, off, w, got, n)
		kerneltest.Same(t, "y", got, want)
	})
}

// TestDirectNaN: max(floor, NaN) is NaN, as for the layer.
func TestDirectNaN(t *testing.T) {
	kerneltest.EachISA(t, func(t *testing.T) {
		k := asm.Direct()
		x := make([]float32, 1+asm.DirectSlack)
		x[0] = kerneltest.NaN
		w, bias, y := make([]float32, 32), make([]float32, 32), make([]float32, 32)
		k.Pixels(&asm.DirectRow{N: 1, Bias: bias}, 1, x, []int{0}, w, y, 1)
		k.Lanes(&asm.DirectBand{DirectRow: asm.DirectRow{N: 1, Bias: bias}, Rows: 1}, 1, x, []int{0}, w, y[1:])
		if y[0] == y[0] || y[1] == y[1] {
			t.Errorf("NaN became %v and %v", y[0], y[1])
		}
	})
}

func TestDirectWeights(t *testing.T) {
	kerneltest.EachISA(t, func(t *testing.T) {
		k := asm.Direct()
		for _, atEnd := range []bool{true, false} {
			xs, dys, dws := newGuard(t, atEnd), newGuard(t, atEnd), newGuard(t, atEnd)
			for _, rows := range []int{1, 3} {
				for _, n := range append(kerneltest.Edges(8, 16), 32, 48, 61) {
					for taps := 1; taps <= k.Taps; taps++ {
						off := offsets(taps)
						ldx, ldy := 2*taps+n+4, n+2
						x := xs.get(2*taps+1+(rows-1)*ldx+n+asm.DirectSlack, 1000)
						for j := range rows {
							kerneltest.Integers(uint64(j), x[j*ldx:][:2*taps+1+n])
						}
						for _, kind := range []struct {
							lanes int
							bias  bool
						}{{1, false}, {16, false}, {1, true}, {16, true}} {
							lanes := kind.lanes
							// The biases' tap is the last.
							weights := taps
							if kind.bias {
								weights--
							}
							if weights == 0 {
								continue
							}
							streams, call := asm.DirectFilters, k.WeightsPixels
							if lanes > 1 {
								streams, call = k.WeightBlocks, k.WeightsLanes
							}
							r := asm.DirectRows{Rows: rows, N: n, LdY: ldy * lanes, LdX: ldx, LdW: streams*lanes + 3, Bias: kind.bias}
							// What is fetched need not be whole lines.
							r.Ahead = [2][]float32{x[:len(x)/2], dys.all[1:100]}
							each := ((rows-1)*ldy + n) * lanes
							dy := dys.get(streams*each, kerneltest.NaN)
							for b := range streams {
								// Streams may be the same.
								r.From[b] = b / 2 * each
								if b == streams-1 {
									r.From[b] = b * each
								}
								for j := range rows {
									kerneltest.Integers(uint64(b), dy[r.From[b]+j*r.LdY:][:n*lanes])
								}
							}
							dw := dws.get((taps-1)*r.LdW+streams*lanes, 77)
							call(&r, dy, x, off[:weights], dw)
							once := make([]float32, 0, len(dw))
							for i := range dw {
								p, f := i/r.LdW, i%r.LdW
								want := float64(77)
								if f < streams*lanes {
									want = 0
									for j := range rows {
										for q := range n {
											v := float64(1)
											if p < weights {
												v = float64(x[off[p]+j*ldx+q])
											}
											want += float64(dy[r.From[f/lanes]+j*r.LdY+q*lanes+f%lanes]) * v
										}
									}
								}
								once = append(once, dw[i])
								if float64(dw[i]) != want {
									t.Fatalf("%d lanes, %d rows of %d pixels, %d taps: tap %d of filter %d is %v, not %v", lanes, rows, n, taps, p, f, dw[i], want)
								}
							}
							r.Add = true
							call(&r, dy, x, off[:weights], dw)
							for i, v := range once {
								if i%r.LdW < streams*lanes {
									v *= 2
								}
								if dw[i] != v {
									t.Fatalf("%d lanes: sum %d is %v, and %v when added again", lanes, i, once[i], dw[i])
								}
							}
						}
					}
				}
			}
		}
	})
}

func TestDirectPanics(t *testing.T) {
	k := asm.Direct()
	bias, w, y := make([]float32, 32), make([]float32, 32), make([]float32, 64)
	x := make([]float32, 4+asm.DirectSlack)
	off, long := []int{0}, []int{1}
	row := func(n int) *asm.DirectRow { return &asm.DirectRow{N: n, Bias: bias} }
	band := func(rows, n, ldx, ldy, ldb int) *asm.DirectBand {
		return &asm.DirectBand{DirectRow: *row(n), Rows: rows, LdX: ldx, LdY: ldy, LdB: ldb}
	}
	rows := func(r asm.DirectRows) *asm.DirectRows { return &r }
	for i, f := range []func(){
		func() { k.Pixels(row(4), 1, x, long, w, y, 4) },
		func() { k.Pixels(row(4), k.Panel+1, x, off, w, y, 4) },
		func() { k.Pixels(row(4), 2, x, off, w, y[:7], 4) },
		func() { k.Pixels(row(4), 1, x, off, w[:k.Panel-1], y, 4) },
		func() { k.Pixels(row(4), 1, x, nil, w, y, 4) },
		func() { k.Lanes(band(1, 4, 0, 0, 0), 1, x, long, w, y) },
		func() { k.Lanes(band(2, 4, 1, 0, 0), 1, x, off, w, y) },
		func() { k.Lanes(band(1, 4, 0, 0, 0), k.Blocks+1, x, off, w, y) },
		func() { k.Lanes(band(1, 4, 0, 0, 0), 1, x, off, w, y[:63]) },
		func() { k.Lanes(band(2, 2, 0, 33, 0), 1, x, off, w, y) },
		func() { k.Lanes(band(2, 2, 0, 32, -1), 1, x, off, w, y) },
		func() {
			k.Lanes(&asm.DirectBand{DirectRow: asm.DirectRow{N: 4, Bias: bias[:15]}, Rows: 1}, 1, x, off, w, y)
		},
		func() { k.Plane(row(4), 1, x, long, 0, w, y, 4) },
		func() { k.Plane(row(4), 2, x, off, 1, w, y, 4) },
		func() { k.Plane(row(4), 2, x, off, 0, w, y[:7], 4) },
		func() { k.Plane(&asm.DirectRow{N: 4}, 1, x, off, 0, w, y, 4) },
		func() { k.WeightsPixels(rows(asm.DirectRows{Rows: 1, N: 4}), y, x, long, w) },
		func() { k.WeightsPixels(rows(asm.DirectRows{Rows: 2, N: 4, LdY: 4, LdX: 1}), y, x, off, w) },
		func() { k.WeightsPixels(rows(asm.DirectRows{Rows: 1, N: 4, From: [4]int{3: 61}}), y, x, off, w) },
		func() { k.WeightsPixels(rows(asm.DirectRows{Rows: 1, N: 4}), y, x, make([]int, k.Taps+1), w) },
		func() {
			k.WeightsPixels(rows(asm.DirectRows{Rows: 1, N: 4, Bias: true}), y, x, make([]int, k.Taps), make([]float32, 64))
		},
		func() { k.WeightsPixels(rows(asm.DirectRows{Rows: 1, N: 4, Bias: true, LdW: 4}), y, x, off, w[:7]) },
		func() { k.WeightsLanes(rows(asm.DirectRows{Rows: 1, N: 4}), y, x, off, w[:16*k.WeightBlocks-1]) },
		func() { k.WeightsLanes(rows(asm.DirectRows{Rows: 1, N: 4}), y[:63], x, off, make([]float32, 64)) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("call %d did not panic", i)
				}
			}()
			f()
		}()
	}
}

func TestDirectNoAllocations(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	kerneltest.EachISA(t, func(t *testing.T) {
		k := asm.Direct()
		x, w := make([]float32, 64), make([]float32, 64)
		dy, dw := make([]float32, 256), make([]float32, 256)
		if n := testing.AllocsPerRun(10, func() {
			var bias [32]float32
			var off [2]int
			r := asm.DirectRow{N: 4, Bias: bias[:]}
			k.Pixels(&r, k.Panel, x, off[:], w, dy, 4)
			k.Lanes(&asm.DirectBand{DirectRow: r, Rows: 1, LdB: 64}, k.Blocks, x, off[:], w, dy)
			k.Plane(&r, 2, x, off[:], 4, w, dy, 4)
			g := asm.DirectRows{Rows: 1, N: 4, LdW: 64}
			k.WeightsPixels(&g, dy, x, off[:], dw)
			k.WeightsLanes(&g, dy, x, off[:], dw)
		}); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}

// BenchmarkDirect takes a row, or eight, of VGG-16's conv1_1 from the caches.
func BenchmarkDirect(b *testing.B) {
	was := asm.ISA()
	defer func() {
		if err := asm.Select(was); err != nil {
			b.Fatal(err)
		}
	}()
	const n, taps, ld = 224, 27, 241
	x := make([]float32, 3*10*ld+asm.DirectSlack)
	off := make([]int, taps)
	for t := range off {
		off[t] = t/9*10*ld + t/3%3*ld + t%3
	}
	w, bias := make([]float32, taps*32), make([]float32, 32)
	y := kerneltest.Guarded(b, n*64*8, true)
	dw := make([]float32, 6*64)
	for _, isa := range asm.Available() {
		if err := asm.Select(isa); err != nil {
			b.Fatal(err)
		}
		k := asm.Direct()
		row := &asm.DirectRow{N: n, Bias: bias, Floor: 0}
		band := &asm.DirectBand{DirectRow: *row, Rows: 8, LdX: ld, LdY: 16 * n, LdB: 8 * 16 * n}
		rows := &asm.DirectRows{Rows: 8, N: n, LdX: ld}
		for _, c := range []struct {
			name  string
			flops int
			f     func()
		}{
			{"pixels", 2 * n * taps * k.Panel, func() { k.Pixels(row, k.Panel, x, off, w, y, n) }},
			{"lanes", 2 * 8 * n * taps * 16 * k.Blocks, func() { k.Lanes(band, k.Blocks, x, off, w, y) }},
			{"plane", 2 * 8 * n * 9, func() { k.Plane(row, 8, x, off[:9], ld, w, y, n) }},
			{"weights-pixels", 2 * 8 * n * k.Taps * 4, func() {
				rows.LdY, rows.LdW, rows.From = n, 4, [4]int{0, 8 * n, 16 * n, 24 * n}
				k.WeightsPixels(rows, y, x, off[:k.Taps], dw)
			}},
			{"weights-lanes", 2 * 8 * n * k.Taps * 16 * k.WeightBlocks, func() {
				rows.LdY, rows.LdW, rows.From = 16*n, 64, [4]int{}
				for i := range k.WeightBlocks {
					rows.From[i] = 8 * 16 * n * i
				}
				k.WeightsLanes(rows, y, x, off[:k.Taps], dw)
			}},
		} {
			b.Run(fmt.Sprintf("isa=%s/kernel=%s", isa, c.name), func(b *testing.B) {
				for b.Loop() {
					c.f()
				}
				b.ReportMetric(float64(c.flops)*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GFLOPS")
			})
		}
	}
}
