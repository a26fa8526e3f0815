package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

const (
	lanes  = 16 // channels of a group
	unroll = 4  // terms in a turn of kind Cols
	block  = 64 // terms that kind Rows adds up by themselves
)

func (t target) zero(r reg.VecPhysical) {
	if t.width == 16 {
		VPXORD(r, r, r)
	} else {
		VXORPS(r, r, r)
	}
}

// tile emits the product of some blocks of mr rows of A and a panel of B, two
// vectors wide. A of kind Rows is in groups of lanes columns, each with its rows
// one after the other, as a transform writes them; kind Cols reads columns of
// rows that are as wide as the panel, each block mr columns.
//
// The errors of a transform of sums are several times those of the sums, which
// grow with the number of terms. So kind Rows adds up blocks of terms, and the
// sums of blocks: in registers if there are enough, else in the tile of C.
//
// A block's rows of a group are too few for hardware to see a stream. So kind
// Rows touches the next block's meanwhile. Kind Cols asks for what follows at
// next: half a line for each term.
func (t target) tile(kind string, mr int) {
	nr := 2 * t.width
	vbytes := 4 * t.width
	name := fmt.Sprintf("wino16%s%dx%d%s", kind, mr, nr, t.suffix)
	rows := kind == "Rows"
	if rows {
		TEXT(name, NOSPLIT, "func(blocks, groups int, a *float32, lda int, b, c *float32, ldc int, acc bool)")
		Pragma("noescape")
		Doc(fmt.Sprintf("%s adds (acc) or assigns to tiles c, %d×%d, the products of blocks > 0", name, mr, nr),
			fmt.Sprintf("times %d rows of a, in groups > 0 of %d columns, lda apart, and the panel b.", mr, lanes))
	} else {
		TEXT(name, NOSPLIT, "func(blocks, kc int, a, next, b, c *float32, ldc int, acc bool)")
		Pragma("noescape")
		Doc(fmt.Sprintf("%s adds (acc) or assigns to tiles c, %d×%d, the products of the transposes", name, mr, nr),
			fmt.Sprintf("of blocks > 0 times %d columns of a, whose rows are %d wide, and the panel b,", mr, nr),
			"while what is at next is fetched into the second cache.")
	}
	last := len(t.vec)
	accs := func(i, j int) reg.VecPhysical { return t.vec[2*i+j] }
	bv := [2]reg.VecPhysical{t.vec[last-4], t.vec[last-3]}
	av := [2]reg.VecPhysical{t.vec[last-2], t.vec[last-1]}

	tiles := Load(Param("blocks"), GP64())
	first := Load(Param("a"), GP64()) // of the block
	var lda reg.Register
	if rows {
		lda = Load(Param("lda"), GP64())
		SHLQ(U8(2), lda)
	}
	c := Load(Param("c"), GP64())
	ldc := Load(Param("ldc"), GP64())
	SHLQ(U8(2), ldc)
	a, b, n, cp := GP64(), GP64(), GP64(), GP64()
	accumulate := paramAddr("acc")
	var next reg.Register
	if !rows {
		next = Load(Param("next"), GP64())
	}

	// step emits term u, whose A is at the given displacements.
	step := func(u int, disp func(i int) int) {
		for j := range 2 {
			VMOVUPS(Mem{Base: b, Disp: (2*u + j) * vbytes}, bv[j])
		}
		for i := range mr {
			VBROADCASTSS(Mem{Base: a, Disp: disp(i)}, av[i%2])
			VFMADD231PS(bv[0], av[i%2], accs(i, 0))
			VFMADD231PS(bv[1], av[i%2], accs(i, 1))
		}
	}
	// toC emits one instruction or more for each vector of the tile of C.
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
	each := func(f func(i, j int)) {
		for i := range mr {
			for j := range 2 {
				f(i, j)
			}
		}
	}
	store := func(m Mem, r reg.VecPhysical) { VMOVUPS(r, m) }
	add := func(m Mem, r reg.VecPhysical) { VADDPS(m, r, r) }

	Label("tile")
	Load(Param("b"), b)
	MOVQ(first, a)
	each(func(i, j int) { t.zero(accs(i, j)) })
	if rows {
		sums := accs
		inRegisters := 4*mr+4 <= last
		if inRegisters {
			sums = func(i, j int) reg.VecPhysical { return t.vec[2*mr+2*i+j] }
			each(func(i, j int) { t.zero(sums(i, j)) })
		} else {
			CMPB(accumulate, U8(0))
			JNE(LabelRef("start"))
			toC(store, accs)
			Label("start")
		}
		flush := func() {
			if inRegisters {
				each(func(i, j int) { VADDPS(accs(i, j), sums(i, j), sums(i, j)); t.zero(accs(i, j)) })
			} else {
				toC(func(m Mem, r reg.VecPhysical) { add(m, r); store(m, r); t.zero(r) }, accs)
			}
		}
		Load(Param("groups"), n)
		Label("group")
		for u := range lanes {
			step(u, func(i int) int { return 4 * (i*lanes + u) })
			if u%2 == 1 && u/2 < mr {
				PREFETCHT0(Mem{Base: a, Disp: 4 * lanes * (mr + u/2)})
			}
		}
		ADDQ(lda, a)
		ADDQ(U32(lanes*2*vbytes), b)
		DECQ(n)
		JZ(LabelRef("last"))
		TESTQ(U32(block/lanes-1), n)
		JNZ(LabelRef("group"))
		flush()
		JMP(LabelRef("group"))
		Label("last")
		flush()
		if inRegisters {
			CMPB(accumulate, U8(0))
			JEQ(LabelRef("store"))
			toC(add, sums)
			Label("store")
			toC(store, sums)
		}
		ADDQ(U32(4*lanes*mr), first)
	} else {
		at := func(u int) func(i int) int { return func(i int) int { return 4 * (u*nr + i) } }
		advance := func(k int) {
			ADDQ(U32(4*k*nr), a)
			ADDQ(U32(k*2*vbytes), b)
		}
		Load(Param("kc"), n)
		SHRQ(U8(2), n)
		JZ(LabelRef("tail"))
		Label("loop")
		for u := range unroll {
			step(u, at(u))
			if u%2 == 1 {
				PREFETCHT1(Mem{Base: next, Disp: 64 * (u / 2)})
			}
		}
		advance(unroll)
		ADDQ(U32(unroll/2*64), next)
		DECQ(n)
		JNZ(LabelRef("loop"))
		Label("tail")
		Load(Param("kc"), n)
		ANDQ(U8(unroll-1), n)
		JZ(LabelRef("tailend"))
		Label("tailloop")
		step(0, at(0))
		advance(1)
		DECQ(n)
		JNZ(LabelRef("tailloop"))
		Label("tailend")
		CMPB(accumulate, U8(0))
		JEQ(LabelRef("store"))
		toC(add, accs)
		Label("store")
		toC(store, accs)
		ADDQ(U32(4*mr), first)
	}
	IMUL3Q(Imm(uint64(mr)), ldc, cp)
	ADDQ(cp, c)
	DECQ(tiles)
	JNZ(LabelRef("tile"))
	VZEROUPPER()
	RET()
}
