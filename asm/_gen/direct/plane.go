package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// plane emits the convolution of a single channel with a single filter: tiles
// of four rows, and then of one, of a vector each.
func plane() {
	const most = 4
	name := "directPlane" + t.suffix
	TEXT(name, NOSPLIT, "func(rows, n, taps int, x *float32, off *int, ldx int, w *float32, bias, floor float32, y *float32, ldy int)")
	Pragma("noescape")
	Doc(name+" computes n > 0 pixels of each of rows > 0 rows:",
		"y[j·ldy+i] = max(floor, bias + Σ w[t]·x[off[t]+j·ldx+i]). It reads whole vectors of x.")
	rows := Load(Param("rows"), GP64())
	n := Load(Param("n"), GP64())
	x := Load(Param("x"), GP64())
	y := Load(Param("y"), GP64())
	strides := func(name string) (ld, ld3 reg.Register) {
		ld, ld3 = Load(Param(name), GP64()), GP64()
		SHLQ(U8(2), ld)
		LEAQ(Mem{Base: ld, Index: ld, Scale: 2}, ld3)
		return ld, ld3
	}
	ldx, ldx3 := strides("ldx")
	ldy, ldy3 := strides("ldy")
	row := func(base, ld, ld3 reg.Register, i int) Mem {
		switch i {
		case 0:
			return Mem{Base: base}
		case 3:
			return Mem{Base: base, Index: ld3, Scale: 1}
		}
		return Mem{Base: base, Index: ld, Scale: uint8(i)}
	}
	bias, floor := vec(), vec()
	VBROADCASTSS(param("bias"), bias)
	VBROADCASTSS(param("floor"), floor)

	Label("rows4")
	CMPQ(rows, U8(most))
	JL(LabelRef("rows1"))
	for _, tile := range []int{most, 1} {
		l := func(s string) string { return fmt.Sprintf("%s%d", s, tile) }
		if tile == 1 {
			Label("rows1")
			TESTQ(rows, rows)
			JZ(LabelRef("done"))
		}
		at := GP64() // column
		XORQ(at, at)
		Label(l("columns"))
		acc := accumulators(tile, 1)
		for _, a := range acc {
			VMOVAPS(bias, a[0])
		}
		off, w := Load(Param("off"), GP64()), Load(Param("w"), GP64())
		taps := Load(Param("taps"), GP64())
		from := GP64()
		Label(l("taps"))
		MOVQ(Mem{Base: off}, from)
		ADDQ(at, from)
		LEAQ(Mem{Base: x, Index: from, Scale: 4}, from)
		f := vec()
		VBROADCASTSS(Mem{Base: w}, f)
		for i, a := range acc {
			VFMADD231PS(row(from, ldx, ldx3, i), f, a[0])
		}
		ADDQ(U8(8), off)
		ADDQ(U8(4), w)
		DECQ(taps)
		JNZ(LabelRef(l("taps")))
		for _, a := range acc {
			VMAXPS(a[0], floor, a[0])
		}
		to := GP64()
		LEAQ(Mem{Base: y, Index: at, Scale: 4}, to)
		ADDQ(U8(t.width), at)
		CMPQ(at, n)
		JG(LabelRef(l("part")))
		for i, a := range acc {
			VMOVUPS(a[0], row(to, ldy, ldy3, i))
		}
		JL(LabelRef(l("columns")))
		JMP(LabelRef(l("next")))
		Label(l("part"))
		SUBQ(U8(t.width), at)
		rest := GP64()
		MOVQ(n, rest)
		SUBQ(at, rest)
		mask := firstOf(rest)
		for i, a := range acc {
			storeFirst(a[0], mask, row(to, ldy, ldy3, i))
		}
		Label(l("next"))
		for range tile {
			ADDQ(ldx, x)
			ADDQ(ldy, y)
		}
		SUBQ(U8(tile), rows)
		JMP(LabelRef(fmt.Sprintf("rows%d", tile)))
	}
	Label("done")
	VZEROUPPER()
	RET()
}
