package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// streams is the number of vectors of the output gradient that are multiplied
// by each tap.
const streams = 4

// weights emits the gradient of so many taps of some filters: of four, with
// pixels in the lanes; or of blocks of 16, with filters in the lanes. Behind the
// taps may come the gradient of the biases.
func weights(kind string, taps int, bias bool) {
	pixels := kind == "Pixels"
	name, results := fmt.Sprintf("directWeights%s%d", kind, taps), taps
	if bias {
		name += "Bias"
		results++
	}
	name += t.suffix
	TEXT(name, NOSPLIT, "func(rows, n int, dy *float32, from *int, ldy int, x *float32, off *int, ldx int, ahead *float32, lines int, ahead2 *float32, lines2 int, dw *float32, ldw int, acc bool)")
	Pragma("noescape")
	perVector := lanes / t.width // vectors of a pixel
	filters, dyAt := streams/perVector*lanes, "from[b]+j·ldy+16·i+l"
	which := fmt.Sprintf("%d filters f = 16·b+l", filters)
	if pixels {
		perVector, dyAt = 1, "from[f]+j·ldy+i"
		which = fmt.Sprintf("%d filters", streams)
	}
	doc := []string{
		fmt.Sprintf("%s computes %d taps of the gradient of %s from n > 0 pixels", name, taps, which),
		fmt.Sprintf("of each of rows > 0 rows: dw[t·ldw+f] = Σ dy[%s]·x[off[t]+j·ldx+i], or adds them (acc).", dyAt),
	}
	if bias {
		doc = append(doc, fmt.Sprintf("Behind the taps comes the gradient of the biases, Σ dy[%s].", dyAt))
	}
	if pixels {
		doc = append(doc, "It reads whole vectors of x. Meanwhile it fetches as many lines from ahead and from ahead2", "on, one for each vector.")
	} else {
		doc = append(doc, "Meanwhile it fetches as many lines from ahead and from ahead2 on, one for each pixel.")
	}
	Doc(doc...)
	at := GP64()
	pointers := func(base, offsets string, n int, disp func(i int) (entry, disp int)) []reg.GPVirtual {
		p := make([]reg.GPVirtual, n)
		b, o := Load(Param(base), GP64()), Load(Param(offsets), GP64())
		for i := range p {
			p[i] = GP64()
			entry, d := disp(i)
			MOVQ(Mem{Base: o, Disp: 8 * entry}, at)
			LEAQ(Mem{Base: b, Index: at, Scale: 4, Disp: d}, p[i])
		}
		return p
	}
	dy := pointers("dy", "from", streams, func(i int) (int, int) { return i / perVector, i % perVector * t.bytes() })
	x := pointers("x", "off", taps, func(i int) (int, int) { return i, 0 })
	ahead, ahead2 := Load(Param("ahead"), GP64()), Load(Param("ahead2"), GP64())
	acc := accumulators(results, streams)
	ones := acc[taps:] // the taps of the biases
	for _, row := range acc {
		for _, a := range row {
			zero(a)
		}
	}

	steps := 0
	// step emits the products of one vector of each stream. If a mask is given,
	// only what it selects of them is read.
	step := func(mask reg.Register) {
		g := func(i int) reg.VecVirtual {
			v := vec()
			if mask != nil {
				loadFirst(Mem{Base: dy[i]}, mask, v)
			} else {
				VMOVUPS(Mem{Base: dy[i]}, v)
			}
			return v
		}
		at := func(j int) Mem { return Mem{Base: x[j], Index: at, Scale: 4} }
		switch {
		case t.avx512:
			var gs [streams]reg.VecVirtual
			for i := range gs {
				gs[i] = g(i)
			}
			for j, row := range acc[:taps] {
				v := tap(pixels, at(j))
				for i, a := range row {
					VFMADD231PS(gs[i], v, a)
				}
			}
			for _, row := range ones {
				for i, a := range row {
					VADDPS(gs[i], a, a)
				}
			}
		case mask != nil:
			// There is no register left for the taps.
			for i := range streams {
				v := g(i)
				for j := range taps {
					VFMADD231PS(at(j), v, acc[j][i])
				}
				for _, row := range ones {
					VADDPS(v, row[i], row[i])
				}
			}
		default:
			var xs []reg.VecVirtual
			for j := range taps {
				xs = append(xs, tap(pixels, at(j)))
			}
			for i := range streams {
				v := g(i)
				for j, x := range xs {
					VFMADD231PS(x, v, acc[j][i])
				}
				for _, row := range ones {
					VADDPS(v, row[i], row[i])
				}
			}
		}
		for _, c := range []struct {
			name string
			at   reg.Register
		}{{"lines", ahead}, {"lines2", ahead2}} {
			fetched := fmt.Sprintf("%sfetched%d", c.name, steps)
			DECQ(param(c.name))
			JL(LabelRef(fetched))
			PREFETCHT1(Mem{Base: c.at})
			ADDQ(U8(64), c.at)
			Label(fetched)
		}
		steps++
	}
	move := func(bytes int) {
		for _, p := range dy {
			ADDQ(U8(bytes), p)
		}
	}
	Label("row")
	XORQ(at, at)
	if pixels {
		rest := GP64()
		Label("whole")
		ADDQ(U8(t.width), at)
		CMPQ(at, param("n"))
		JG(LabelRef("part"))
		SUBQ(U8(t.width), at)
		step(nil)
		move(t.bytes())
		ADDQ(U8(t.width), at)
		JMP(LabelRef("whole"))
		Label("part")
		SUBQ(U8(t.width), at)
		MOVQ(param("n"), rest)
		SUBQ(at, rest)
		JZ(LabelRef("next"))
		// The pointers stay: what the row's end is short of n is made up below.
		mask := firstOf(rest)
		step(mask)
		Label("next")
	} else {
		Label("whole")
		step(nil)
		move(4 * lanes)
		INCQ(at)
		CMPQ(at, param("n"))
		JL(LabelRef("whole"))
	}
	// at is how many pixels the pointers have moved.
	back := GP64()
	MOVQ(param("ldy"), back)
	if !pixels {
		SHLQ(U8(4), at)
	}
	SUBQ(at, back)
	SHLQ(U8(2), back)
	for _, p := range dy {
		ADDQ(back, p)
	}
	MOVQ(param("ldx"), back)
	SHLQ(U8(2), back)
	for _, p := range x {
		ADDQ(back, p)
	}
	// No register is left to count in.
	DECQ(param("rows"))
	JNZ(LabelRef("row"))

	to, ldw, add := Load(Param("dw"), GP64()), Load(Param("ldw"), GP64()), Load(Param("acc"), GP8())
	SHLQ(U8(2), ldw)
	var totals [][]reg.VecVirtual
	for _, row := range acc {
		if pixels {
			row = []reg.VecVirtual{sums(row)}
		}
		totals = append(totals, row)
	}
	// toSums emits an instruction for each vector of the result.
	toSums := func(f func(m Mem, v reg.VecVirtual)) {
		p := GP64()
		MOVQ(to, p)
		for j, row := range totals {
			for i, v := range row {
				f(Mem{Base: p, Disp: i * t.bytes()}, v)
			}
			if j < results-1 {
				ADDQ(ldw, p)
			}
		}
	}
	TESTB(add, add)
	JZ(LabelRef("store"))
	toSums(func(m Mem, v reg.VecVirtual) { VADDPS(m, v, v) })
	Label("store")
	toSums(func(m Mem, v reg.VecVirtual) { VMOVUPS(v, m) })
	VZEROUPPER()
	RET()
}

// tap loads a vector of pixels, or one pixel into all lanes.
func tap(pixels bool, m Mem) reg.VecVirtual {
	v := vec()
	if pixels {
		VMOVUPS(m, v)
	} else {
		VBROADCASTSS(m, v)
	}
	return v
}

// sums emits the sums of the lanes of four vectors, in the four lanes of the
// result.
func sums(v []reg.VecVirtual) reg.VecVirtual {
	half := func(a, b reg.VecVirtual, lo, hi func(a, b, to reg.VecVirtual)) {
		s := vec()
		lo(b, a, s)
		hi(b, a, a)
		VADDPS(s, a, a)
	}
	single := [2]func(a, b, to reg.VecVirtual){
		func(a, b, to reg.VecVirtual) { VUNPCKLPS(a, b, to) },
		func(a, b, to reg.VecVirtual) { VUNPCKHPS(a, b, to) },
	}
	double := [2]func(a, b, to reg.VecVirtual){
		func(a, b, to reg.VecVirtual) { VUNPCKLPD(a, b, to) },
		func(a, b, to reg.VecVirtual) { VUNPCKHPD(a, b, to) },
	}
	half(v[0], v[1], single[0], single[1])
	half(v[2], v[3], single[0], single[1])
	half(v[0], v[2], double[0], double[1])
	// Each group of four lanes holds parts of the four sums.
	s, x := v[0], XMM()
	if t.avx512 {
		y := YMM()
		VEXTRACTF64X4(U8(1), s, y)
		VADDPS(y, s.AsY(), s.AsY())
		VEXTRACTF32X4(U8(1), s.AsY(), x)
	} else {
		VEXTRACTF128(U8(1), s.AsY(), x)
	}
	VADDPS(x, s.AsX(), x)
	return x
}
