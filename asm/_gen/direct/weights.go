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
// pixels in the lanes; or of blocks of 16, with filters in the lanes.
func weights(kind string, taps int) {
	pixels := kind == "Pixels"
	name := fmt.Sprintf("directWeights%s%d%s", kind, taps, t.suffix)
	TEXT(name, NOSPLIT, "func(rows, n int, dy *float32, from *int, ldy int, x *float32, off *int, ldx int, ahead, ahead2, dw *float32, ldw int, acc bool)")
	Pragma("noescape")
	perVector := lanes / t.width // vectors of a pixel
	if pixels {
		perVector = 1
		Doc(fmt.Sprintf("%s computes %d taps of the gradient of %d filters from n > 0 pixels of each of", name, taps, streams),
			"rows > 0 rows: dw[t·ldw+f] = Σ dy[from[f]+j·ldy+i]·x[off[t]+j·ldx+i], or adds them (acc).",
			"It reads whole vectors of x. Meanwhile it fetches what lies from ahead and from ahead2",
			"on, a line for each vector.")
	} else {
		Doc(fmt.Sprintf("%s computes %d taps of the gradient of %d filters f = 16·b+l from n > 0 pixels of", name, taps, streams/perVector*lanes),
			"each of rows > 0 rows: dw[t·ldw+f] = Σ dy[from[b]+j·ldy+16·i+l]·x[off[t]+j·ldx+i], or",
			"adds them (acc). Meanwhile it fetches what lies from ahead and from ahead2 on, a line",
			"for each pixel.")
	}
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
	acc := accumulators(taps, streams)
	for _, row := range acc {
		for _, a := range row {
			zero(a)
		}
	}

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
			for j, row := range acc {
				v := tap(pixels, at(j))
				for i, a := range row {
					VFMADD231PS(gs[i], v, a)
				}
			}
		case mask != nil:
			// There is no register left for the taps.
			for i := range streams {
				v := g(i)
				for j := range acc {
					VFMADD231PS(at(j), v, acc[j][i])
				}
			}
		default:
			var xs []reg.VecVirtual
			for j := range acc {
				xs = append(xs, tap(pixels, at(j)))
			}
			for i := range streams {
				v := g(i)
				for j, x := range xs {
					VFMADD231PS(x, v, acc[j][i])
				}
			}
		}
		for _, p := range []reg.Register{ahead, ahead2} {
			PREFETCHT1(Mem{Base: p})
			ADDQ(U8(64), p)
		}
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
	var results [][]reg.VecVirtual
	for _, row := range acc {
		if pixels {
			row = []reg.VecVirtual{sums(row)}
		}
		results = append(results, row)
	}
	// toSums emits an instruction for each vector of the result.
	toSums := func(f func(m Mem, v reg.VecVirtual)) {
		p := GP64()
		MOVQ(to, p)
		for j, row := range results {
			for i, v := range row {
				f(Mem{Base: p, Disp: i * t.bytes()}, v)
			}
			if j < taps-1 {
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
