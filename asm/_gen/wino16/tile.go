package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

const (
	unroll = 4  // k steps per turn of the main loop
	block  = 32 // terms that kind Rows adds up by themselves
)

// tile emits the product of mr rows of A and a panel of B, two vectors wide.
// kind Rows reads A along rows, lda apart; kind Cols reads mr columns of rows
// that are as wide as the panel.
//
// The errors of a transform of sums are several times those of the sums, which
// grow with the number of terms. So kind Rows adds up blocks of terms, and the
// sums of blocks: in registers if there are enough, else in the tile of C.
func (t target) tile(kind string, mr int) {
	nr := 2 * t.width
	vbytes := 4 * t.width
	name := fmt.Sprintf("wino16%s%dx%d%s", kind, mr, nr, t.suffix)
	rows := kind == "Rows"
	if rows {
		TEXT(name, NOSPLIT, "func(kc int, a *float32, lda int, b, c *float32, ldc int, acc bool)")
		Pragma("noescape")
		Doc(fmt.Sprintf("%s adds (acc) or assigns to the %d×%d tile c the product of a (%d rows, lda", name, mr, nr, mr),
			"apart) and the panel b.")
	} else {
		TEXT(name, NOSPLIT, "func(kc int, a, b, c *float32, ldc int, acc bool)")
		Pragma("noescape")
		Doc(fmt.Sprintf("%s adds (acc) or assigns to the %d×%d tile c the product of the transpose of", name, mr, nr),
			fmt.Sprintf("%d columns of a, whose rows are %d wide, and the panel b.", mr, nr))
	}
	last := len(t.vec)
	accs := func(i, j int) reg.VecPhysical { return t.vec[2*i+j] }
	bv := [2]reg.VecPhysical{t.vec[last-4], t.vec[last-3]}
	av := [2]reg.VecPhysical{t.vec[last-2], t.vec[last-1]}

	kc := Load(Param("kc"), GP64())
	a := []reg.Register{Load(Param("a"), GP64())}
	var lda reg.Register
	if rows {
		lda = Load(Param("lda"), GP64())
		SHLQ(U8(2), lda)
		for len(a)*3 < mr {
			next := GP64()
			LEAQ(Mem{Base: a[len(a)-1], Index: lda, Scale: 2}, next)
			ADDQ(lda, next)
			a = append(a, next)
		}
	}
	b := Load(Param("b"), GP64())
	c := Load(Param("c"), GP64())
	ldc := Load(Param("ldc"), GP64())
	SHLQ(U8(2), ldc)
	for i := range mr {
		for j := range 2 {
			if t.width == 16 {
				VPXORD(accs(i, j), accs(i, j), accs(i, j))
			} else {
				VXORPS(accs(i, j), accs(i, j), accs(i, j))
			}
		}
	}
	step := func(u int) {
		for j := range 2 {
			VMOVUPS(Mem{Base: b, Disp: (2*u + j) * vbytes}, bv[j])
		}
		for i := range mr {
			m := Mem{Base: a[0], Disp: 4 * (u*nr + i)}
			if rows {
				m = Mem{Base: a[i/3], Disp: 4 * u}
				if i%3 > 0 {
					m.Index, m.Scale = lda, uint8(i%3)
				}
			}
			VBROADCASTSS(m, av[i%2])
			VFMADD231PS(bv[0], av[i%2], accs(i, 0))
			VFMADD231PS(bv[1], av[i%2], accs(i, 1))
		}
	}
	advance := func(k int) {
		for _, p := range a {
			if rows {
				ADDQ(U32(4*k), p)
			} else {
				ADDQ(U32(4*k*nr), p)
			}
		}
		ADDQ(U32(k*2*vbytes), b)
	}
	zero := func(r reg.VecPhysical) {
		if t.width == 16 {
			VPXORD(r, r, r)
		} else {
			VXORPS(r, r, r)
		}
	}
	// toC emits one instruction or more for each vector of the tile of C.
	cp := GP64()
	toC := func(f func(m Mem, r reg.VecPhysical), from func(i, j int) reg.VecPhysical) {
		MOVQ(c, cp)
		for i := range mr {
			for j := range 2 {
				f(Mem{Base: cp, Disp: j * vbytes}, from(i, j))
			}
			if i < mr-1 {
				ADDQ(ldc, cp)
			}
		}
	}
	store := func(m Mem, r reg.VecPhysical) { VMOVUPS(r, m) }
	add := func(m Mem, r reg.VecPhysical) { VADDPS(m, r, r) }
	accumulate := Load(Param("acc"), GP8L())
	result := accs
	inRegisters := rows && 4*mr+4 <= last
	flush := func() {}
	switch {
	case inRegisters:
		result = func(i, j int) reg.VecPhysical { return t.vec[2*mr+2*i+j] }
		for i := range mr {
			for j := range 2 {
				zero(result(i, j))
			}
		}
		flush = func() {
			for i := range mr {
				for j := range 2 {
					VADDPS(accs(i, j), result(i, j), result(i, j))
					zero(accs(i, j))
				}
			}
		}
	case rows:
		TESTB(accumulate, accumulate)
		JNZ(LabelRef("start"))
		toC(store, accs)
		Label("start")
		flush = func() {
			toC(func(m Mem, r reg.VecPhysical) { add(m, r); store(m, r); zero(r) }, accs)
		}
	}
	n := GP64()
	if rows {
		blocks := GP64()
		MOVQ(kc, blocks)
		SHRQ(U8(5), blocks)
		JZ(LabelRef("rest"))
		Label("block")
		MOVQ(U32(block/unroll), n)
		Label("blockloop")
		for u := range unroll {
			step(u)
		}
		advance(unroll)
		DECQ(n)
		JNZ(LabelRef("blockloop"))
		flush()
		DECQ(blocks)
		JNZ(LabelRef("block"))
		Label("rest")
		ANDQ(U8(block-1), kc)
		JZ(LabelRef("done"))
	}
	MOVQ(kc, n)
	SHRQ(U8(2), n)
	JZ(LabelRef("tail"))
	Label("loop")
	for u := range unroll {
		step(u)
	}
	advance(unroll)
	DECQ(n)
	JNZ(LabelRef("loop"))
	Label("tail")
	ANDQ(U8(unroll-1), kc)
	JZ(LabelRef("tailend"))
	Label("tailloop")
	step(0)
	advance(1)
	DECQ(kc)
	JNZ(LabelRef("tailloop"))
	Label("tailend")
	if rows {
		flush()
		Label("done")
	}
	if !rows || inRegisters {
		TESTB(accumulate, accumulate)
		JZ(LabelRef("store"))
		toC(add, result)
		Label("store")
		toC(store, result)
	}
	VZEROUPPER()
	RET()
}
