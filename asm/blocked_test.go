package asm_test

import (
	"fmt"
	"testing"

	"crema/asm"
	"crema/internal/kerneltest"
)

// TestBlockedRow compares with sums of integers, which are exact, between
// protected pages, with what must not be read or written marked.
func TestBlockedRow(t *testing.T) {
	const lanes = asm.WinoLanes
	kerneltest.EachISA(t, func(t *testing.T) {
		k := asm.Blocked()
		for _, atEnd := range []bool{true, false} {
			xs, ws, ys := newGuard(t, atEnd), newGuard(t, atEnd), newGuard(t, atEnd)
			for groups := 1; groups <= k.Groups; groups++ {
				width := groups * lanes
				for _, n := range []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 27, 28, 29, 43} {
					for _, taps := range []int{1, 2, 7} {
						for _, lds := range [][2]int{{lanes, lanes}, {2*lanes + 3, lanes}, {lanes, 3 * lanes}} {
							r := asm.BlockedRow{N: n, LdX: lds[0], LdY: lds[1]}
							r.LdG = (n-1)*r.LdY + lanes + 5
							off := make([]int, taps)
							for i := range off {
								off[i] = i * 9 % (2*taps + 1)
							}
							x := xs.get(2*taps+(n-1)*r.LdX+lanes, 0)
							kerneltest.Integers(1, x)
							w := ws.get(taps*lanes*width, 0)
							kerneltest.Integers(2, w)
							r.Bias = make([]float32, width)
							kerneltest.Integers(3, r.Bias)
							for _, r.Floor = range []float32{minusInf, 0} {
								for _, r.Add = range []bool{false, true} {
									y := ys.get((groups-1)*r.LdG+(n-1)*r.LdY+lanes, 7)
									k.Row(&r, groups, x, off, w, y)
									for at, got := range y {
										g, i, l := at/r.LdG, at%r.LdG/r.LdY, at%r.LdG%r.LdY
										want := 7.0
										if i < n && l < lanes {
											if !r.Add {
												want = float64(r.Bias[g*lanes+l])
											}
											for q, o := range off {
												for c := range lanes {
													want += float64(w[((q*lanes+c)*groups+g)*lanes+l]) * float64(x[o+i*r.LdX+c])
												}
											}
											want = max(want, float64(r.Floor))
										}
										if float64(got) != want {
											t.Fatalf("%d groups, %d pixels, %d taps, %+v: pixel %d of filter %d is %v, not %v", groups, n, taps, r, i, g*lanes+l, got, want)
										}
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

func TestBlockedWeights(t *testing.T) {
	const lanes = asm.WinoLanes
	kerneltest.EachISA(t, func(t *testing.T) {
		k := asm.Blocked()
		for _, atEnd := range []bool{true, false} {
			xs, ds, ws := newGuard(t, atEnd), newGuard(t, atEnd), newGuard(t, atEnd)
			for groups := 1; groups <= k.Groups; groups++ {
				for _, rows := range []int{1, 2, 5} {
					for _, n := range []int{1, 2, 3, 14} {
						for _, ldx := range []int{lanes, 2*lanes + 1} {
							r := asm.BlockedRows{Rows: rows, N: n, LdR: n*lanes + 3, LdX: ldx, LdQ: (n + 1) * ldx}
							r.LdG = rows*r.LdR + 1
							dy := ds.get((groups-1)*r.LdG+(rows-1)*r.LdR+n*lanes, 0)
							kerneltest.Integers(1, dy)
							x := xs.get((rows-1)*r.LdQ+(n-1)*ldx+lanes, 0)
							kerneltest.Integers(2, x)
							for _, r.Add = range []bool{false, true} {
								dw := ws.get(lanes*groups*lanes, 7)
								if !r.Add {
									dw = ws.get(lanes*groups*lanes, kerneltest.NaN)
								}
								k.Weights(&r, groups, dy, x, dw)
								for at, got := range dw {
									c, g, l := at/(groups*lanes), at/lanes%groups, at%lanes
									want := 0.0
									if r.Add {
										want = 7
									}
									for j := range rows {
										for i := range n {
											want += float64(dy[g*r.LdG+j*r.LdR+i*lanes+l]) * float64(x[j*r.LdQ+i*ldx+c])
										}
									}
									if float64(got) != want {
										t.Fatalf("%d groups, %+v: channel %d of filter %d is %v, not %v", groups, r, c, g*lanes+l, got, want)
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

func TestBlockedPanics(t *testing.T) {
	k := asm.Blocked()
	x, w, y := make([]float32, 64), make([]float32, 16*16), make([]float32, 64)
	row := asm.BlockedRow{N: 4, LdX: 16, LdY: 16, Bias: make([]float32, 16)}
	rows := asm.BlockedRows{Rows: 2, N: 2, LdR: 32, LdQ: 32, LdX: 16}
	for name, f := range map[string]func(){
		"short x":  func() { k.Row(&row, 1, x[:63], []int{0}, w, y) },
		"offset":   func() { k.Row(&row, 1, x, []int{1}, w, y) },
		"negative": func() { k.Row(&row, 1, x, []int{-1}, w, y) },
		"short w":  func() { k.Row(&row, 1, x, []int{0}, w[:255], y) },
		"short y":  func() { k.Row(&row, 1, x, []int{0}, w, y[:63]) },
		"no taps":  func() { k.Row(&row, 1, x, nil, w, y) },
		"groups": func() {
			k.Row(&row, k.Groups+1, make([]float32, 999), []int{0}, make([]float32, 9999), make([]float32, 999))
		},
		"no bias":        func() { r := row; r.Bias = nil; k.Row(&r, 1, x, []int{0}, w, y) },
		"weights: dy":    func() { k.Weights(&rows, 1, x[:63], x, w) },
		"weights: x":     func() { k.Weights(&rows, 1, x, x[:63], w) },
		"weights: dw":    func() { k.Weights(&rows, 1, x, x, w[:255]) },
		"weights: group": func() { k.Weights(&rows, k.Groups+1, make([]float32, 999), x, make([]float32, 9999)) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			f()
		})
	}
	k.Row(&row, 1, x, []int{0}, w, y) // this fits
	k.Weights(&rows, 1, x, x, w)
}

func BenchmarkBlocked(b *testing.B) {
	k := asm.Blocked()
	const lanes = asm.WinoLanes
	width := k.Groups * lanes
	for _, c := range []struct{ channels, pixels int }{{64, 196}, {256, 56}, {512, 49}} {
		taps := c.channels / lanes
		x, w, y := make([]float32, c.channels*c.pixels), make([]float32, c.channels*width), make([]float32, width*c.pixels)
		off := make([]int, taps)
		for i := range off {
			off[i] = i * c.pixels * lanes
		}
		r := asm.BlockedRow{N: c.pixels, LdX: lanes, LdY: lanes, LdG: c.pixels * lanes, Bias: make([]float32, width)}
		b.Run(fmt.Sprintf("row/channels=%d/pixels=%d", c.channels, c.pixels), func(b *testing.B) {
			for b.Loop() {
				k.Row(&r, k.Groups, x, off, w, y)
			}
			kerneltest.ReportFlops(b, 2*float64(c.channels*width*c.pixels), 1)
		})
		rs := asm.BlockedRows{Rows: 1, N: c.pixels, LdG: c.pixels * lanes, LdX: lanes}
		b.Run(fmt.Sprintf("weights/channels=%d/pixels=%d", c.channels, c.pixels), func(b *testing.B) {
			for b.Loop() {
				for t := range taps {
					k.Weights(&rs, k.Groups, y, x[off[t]:], w[t*lanes*width:])
				}
			}
			kerneltest.ReportFlops(b, 2*float64(c.channels*width*c.pixels), 1)
		})
	}
}
