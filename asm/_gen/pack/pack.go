// Command pack generates the packing kernels of package asm.
//
//	go run ./pack -isa avx512 -out FILE.s -stubs FILE.go -pkg asm
package main

import (
	"flag"
	"fmt"
	"log"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func main() {
	isa := flag.String("isa", "", "avx512 or avx2")
	flag.Parse()
	ConstraintExpr("!noasm")
	switch *isa {
	case "avx512":
		rows()
		transpose()
	case "avx2":
		rowsAVX2(1)
		rowsAVX2(2)
		for _, rows := range []int{4, 5, 6, 8} {
			transposeAVX2(rows)
		}
	default:
		log.Fatalf("pack: -isa %q is neither avx512 nor avx2", *isa)
	}
	Generate()
}

// rowsAVX2 emits the copy of a strip of rows of one or two vectors.
func rowsAVX2(vecs int) {
	width := 8 * vecs
	name := fmt.Sprintf("packRows%dAVX2", width)
	TEXT(name, NOSPLIT, "func(n, lo, hi int, src *float32, off, lds int, dst *float32, ldd int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s copies n > 0 rows of %d columns from src+off (which may lie before", name, width),
		"src). Only columns lo to hi-1 are read, the others count as zero; all are written.",
		"The next n rows are prefetched.")
	n := Load(Param("n"), GP64())
	lo, err := Param("lo").Resolve()
	if err != nil {
		log.Fatal(err)
	}
	hi, err := Param("hi").Resolve()
	if err != nil {
		log.Fatal(err)
	}
	iota := GLOBL("columns"+name, RODATA|NOPTR)
	for i := range width {
		DATA(4*i, U32(i))
	}
	first, end := YMM(), YMM()
	VPBROADCASTD(lo.Addr, first)
	VPBROADCASTD(hi.Addr, end)
	var load [2]reg.VecVirtual
	for v := range vecs {
		column, before := YMM(), YMM()
		load[v] = YMM()
		VMOVDQU(iota.Offset(32*v), column)
		VPCMPGTD(column, first, before)
		VPCMPGTD(column, end, load[v])
		VPANDN(load[v], before, load[v])
	}
	src := Load(Param("src"), GP64())
	off := Load(Param("off"), GP64())
	lds := Load(Param("lds"), GP64())
	dst := Load(Param("dst"), GP64())
	ldd := Load(Param("ldd"), GP64())
	SHLQ(U8(2), lds)
	SHLQ(U8(2), ldd)
	LEAQ(Mem{Base: src, Index: off, Scale: 4}, src)
	next := GP64()
	MOVQ(n, next)
	IMULQ(lds, next)
	Label("loop")
	PREFETCHT1(Mem{Base: src, Index: next, Scale: 1})
	for v := range vecs {
		y := YMM()
		VMASKMOVPS(Mem{Base: src, Disp: 32 * v}, load[v], y)
		VMOVUPS(y, Mem{Base: dst, Disp: 32 * v})
	}
	ADDQ(lds, src)
	ADDQ(ldd, dst)
	DECQ(n)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// transposeAVX2 emits the transposition of a strip of 4 to 8 rows. Those of 5 and
// 6 are panels of A, where each column is followed by the next: whole vectors are
// stored, and what they put into the next column is overwritten with it.
func transposeAVX2(rows int) {
	name := fmt.Sprintf("transpose%dAVX2", rows)
	overlap := rows == 5 || rows == 6
	sig := "func(cols int, src *float32, lds int, dst *float32, ldd int)"
	column := "c·ldd"
	if overlap {
		sig = "func(cols int, src *float32, lds int, dst *float32)"
		column = fmt.Sprintf("%d·c", rows)
	}
	TEXT(name, NOSPLIT, sig)
	Pragma("noescape")
	Doc(fmt.Sprintf("%s sets dst[%s+r] = src[r·lds+c] for r < %d, c < cols; cols is", name, column, rows),
		"positive. Nothing else is read or written. The next rows are prefetched.")
	cols := Load(Param("cols"), GP64())
	src := Load(Param("src"), GP64())
	lds := Load(Param("lds"), GP64())
	dst := Load(Param("dst"), GP64())
	SHLQ(U8(2), lds)
	lds3, below := GP64(), GP64()
	LEAQ(Mem{Base: lds, Index: lds, Scale: 2}, lds3)
	LEAQ(Mem{Base: src, Index: lds, Scale: 4}, below)
	row := func(r, disp int) Mem {
		m := Mem{Base: src, Disp: disp}
		if r >= 4 {
			m.Base = below
		}
		switch r % 4 {
		case 1, 2:
			m.Index, m.Scale = lds, uint8(r%4)
		case 3:
			m.Index, m.Scale = lds3, 1
		}
		return m
	}
	var ldd, ldd3 reg.Register
	if !overlap {
		ldd = Load(Param("ldd"), GP64())
		SHLQ(U8(2), ldd)
		ldd3 = GP64()
		LEAQ(Mem{Base: ldd, Index: ldd, Scale: 2}, ldd3)
	}
	// to returns the place of column c of four.
	to := func(c int) Mem {
		m := Mem{Base: dst}
		switch {
		case overlap:
			m.Disp = 4 * rows * c
		case c == 3:
			m.Index, m.Scale = ldd3, 1
		case c > 0:
			m.Index, m.Scale = ldd, uint8(c)
		}
		return m
	}
	// forward moves dst by n columns, 1 or 4.
	forward := func(n int) {
		switch {
		case overlap:
			ADDQ(U8(4*rows*n), dst)
		case n == 1:
			ADDQ(ldd, dst)
		default:
			LEAQ(Mem{Base: dst, Index: ldd, Scale: uint8(n)}, dst)
		}
	}
	// four emits the transposition of four columns: rows r and r+4 share a
	// register.
	four := func(disp int) {
		in := []reg.VecPhysical{reg.Y0, reg.Y1, reg.Y2, reg.Y3}
		pair := []reg.VecPhysical{reg.Y4, reg.Y5, reg.Y6, reg.Y7}
		out := []reg.VecPhysical{reg.Y8, reg.Y9, reg.Y10, reg.Y11}
		if rows == 4 {
			for _, v := range [][]reg.VecPhysical{in, pair, out} {
				for i := range v {
					v[i] = v[i].AsX().(reg.VecPhysical)
				}
			}
		}
		for r, y := range in {
			VMOVUPS(row(r, disp), y.AsX())
			if r+4 < rows {
				VINSERTF128(U8(1), row(r+4, disp), y, y)
			}
		}
		VUNPCKLPS(in[1], in[0], pair[0])
		VUNPCKHPS(in[1], in[0], pair[1])
		VUNPCKLPS(in[3], in[2], pair[2])
		VUNPCKHPS(in[3], in[2], pair[3])
		VUNPCKLPD(pair[2], pair[0], out[0])
		VUNPCKHPD(pair[2], pair[0], out[1])
		VUNPCKLPD(pair[3], pair[1], out[2])
		VUNPCKHPD(pair[3], pair[1], out[3])
		for c := range out {
			VMOVUPS(out[c], to(c))
		}
		forward(4)
	}
	// A cache line of each row at a time. After the last four columns something
	// must follow if vectors overlap.
	rest := 0
	if overlap {
		rest = 1
	}
	next, next4 := GP64(), GP64() // the rows below
	IMUL3Q(U8(rows), lds, next)
	ADDQ(src, next)
	if rows > 4 {
		LEAQ(Mem{Base: next, Index: lds, Scale: 4}, next4)
	}
	SUBQ(U8(16+rest), cols)
	JLT(LabelRef("line"))
	Label("lines")
	for r := range rows {
		m := row(r, 0)
		m.Base = next
		if r >= 4 {
			m.Base = next4
		}
		PREFETCHT1(m)
	}
	for c := 0; c < 16; c += 4 {
		four(4 * c)
	}
	for _, p := range []reg.Register{src, below, next} {
		ADDQ(U8(64), p)
	}
	if rows > 4 {
		ADDQ(U8(64), next4)
	}
	SUBQ(U8(16), cols)
	JGE(LabelRef("lines"))
	Label("line")
	ADDQ(U8(16-4), cols)
	JLT(LabelRef("last"))
	Label("fours")
	four(0)
	ADDQ(U8(16), src)
	ADDQ(U8(16), below)
	SUBQ(U8(4), cols)
	JGE(LabelRef("fours"))
	Label("last")
	ADDQ(U8(4+rest), cols)
	JZ(LabelRef("done"))
	Label("ones")
	for r := range rows {
		x := XMM()
		VMOVSS(row(r, 0), x)
		m := Mem{Base: dst, Disp: 4 * r}
		VMOVSS(x, m)
	}
	ADDQ(U8(4), src)
	ADDQ(U8(4), below)
	forward(1)
	DECQ(cols)
	JNZ(LabelRef("ones"))
	Label("done")
	VZEROUPPER()
	RET()
}

// rows emits the copy of a strip of rows up to 32 wide.
func rows() {
	TEXT("packRowsAVX512", NOSPLIT, "func(n int, load, store uint32, src *float32, off, lds int, dst *float32, ldd int)")
	Pragma("noescape")
	Doc("packRowsAVX512 copies n rows of 32 columns from src+off (which may lie before",
		"src). Columns whose bit in load is clear are not read and count as zero; those",
		"whose bit in store is clear are not written. The next n rows are prefetched.")
	n := Load(Param("n"), GP64())
	lm := Load(Param("load"), GP32())
	sm := Load(Param("store"), GP32())
	src := Load(Param("src"), GP64())
	off := Load(Param("off"), GP64())
	lds := Load(Param("lds"), GP64())
	dst := Load(Param("dst"), GP64())
	ldd := Load(Param("ldd"), GP64())
	SHLQ(U8(2), lds)
	SHLQ(U8(2), ldd)
	LEAQ(Mem{Base: src, Index: off, Scale: 4}, src)
	TESTQ(n, n)
	JZ(LabelRef("done"))
	next := GP64()
	MOVQ(n, next)
	IMULQ(lds, next)
	both := GP32()
	MOVL(lm, both)
	ANDL(sm, both)
	CMPL(both, I8(-1))
	JE(LabelRef("full"))

	l0, l1, s0, s1 := K(), K(), K(), K()
	KMOVW(lm, l0)
	SHRL(U8(16), lm)
	KMOVW(lm, l1)
	KMOVW(sm, s0)
	SHRL(U8(16), sm)
	KMOVW(sm, s1)
	z0, z1 := ZMM(), ZMM()
	TESTL(sm, sm)
	JZ(LabelRef("half"))
	copies := func(label string, vecs int, masked bool) {
		Label(label)
		for v := range vecs {
			z, l, s := []reg.VecVirtual{z0, z1}[v], []reg.OpmaskVirtual{l0, l1}[v], []reg.OpmaskVirtual{s0, s1}[v]
			from, to := Mem{Base: src, Disp: 64 * v}, Mem{Base: dst, Disp: 64 * v}
			PREFETCHT1(Mem{Base: src, Index: next, Scale: 1, Disp: 64 * v})
			if masked {
				VMOVUPS_Z(from, l, z)
				VMOVUPS(z, s, to)
			} else {
				VMOVUPS(from, z)
				VMOVUPS(z, to)
			}
		}
		ADDQ(lds, src)
		ADDQ(ldd, dst)
		DECQ(n)
		JNZ(LabelRef(label))
	}
	copies("masked", 2, true)
	JMP(LabelRef("done"))
	Comment("At most 16 columns are written.")
	copies("half", 1, true)
	JMP(LabelRef("done"))
	copies("full", 2, false)
	Label("done")
	VZEROUPPER()
	RET()
}

// transpose emits the transposition of a strip of up to 16 rows, in blocks of
// 16×16: four rounds of shuffles between the two halves of the register file.
func transpose() {
	TEXT("transposeAVX512", NOSPLIT, "func(rows, cols int, src *float32, lds int, dst *float32, ldd int)")
	Pragma("noescape")
	Doc("transposeAVX512 sets dst[c·ldd+r] = src[r·lds+c] for r < rows ≤ 16, c < cols.",
		"Nothing else is read or written. The next 16 rows are prefetched.")
	rows := Load(Param("rows"), GP64())
	cols := Load(Param("cols"), GP64())
	src := Load(Param("src"), GP64())
	lds := Load(Param("lds"), GP64())
	dst := Load(Param("dst"), GP64())
	ldd := Load(Param("ldd"), GP64())
	SHLQ(U8(2), lds)
	SHLQ(U8(2), ldd)
	lo := []reg.VecPhysical{reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7, reg.Z8, reg.Z9, reg.Z10, reg.Z11, reg.Z12, reg.Z13, reg.Z14, reg.Z15}
	hi := []reg.VecPhysical{reg.Z16, reg.Z17, reg.Z18, reg.Z19, reg.Z20, reg.Z21, reg.Z22, reg.Z23, reg.Z24, reg.Z25, reg.Z26, reg.Z27, reg.Z28, reg.Z29, reg.Z30, reg.Z31}
	next := GP64()
	MOVQ(lds, next)
	SHLQ(U8(4), next)
	rmask, cmask := K(), K()
	m := GP64()
	MOVQ(I32(-1), m)
	BZHIQ(rows, m, m)
	KMOVW(m.As32(), rmask)

	Label("block")
	TESTQ(cols, cols)
	JZ(LabelRef("done"))
	MOVQ(I32(-1), m)
	BZHIQ(cols, m, m)
	CMPQ(cols, U8(16))
	JLT(LabelRef("masked"))
	MOVQ(I32(-1), m)
	Label("masked")
	KMOVW(m.As32(), cmask)
	p := GP64()
	MOVQ(src, p)
	Comment("Registers of rows that do not exist keep what they hold: their lanes are not stored.")
	for r := range 16 {
		VMOVUPS_Z(Mem{Base: p}, cmask, lo[r])
		PREFETCHT1(Mem{Base: p, Index: next, Scale: 1})
		if r < 15 {
			CMPQ(rows, U8(r+1))
			JE(LabelRef("loaded"))
			ADDQ(lds, p)
		}
	}
	Label("loaded")
	for i := 0; i < 16; i += 2 {
		VUNPCKLPS(lo[i+1], lo[i], hi[i])
		VUNPCKHPS(lo[i+1], lo[i], hi[i+1])
	}
	Comment("lo[4g+j] holds column j of every 128-bit lane, rows 4g to 4g+3.")
	for g := 0; g < 16; g += 4 {
		VUNPCKLPD(hi[g+2], hi[g], lo[g])
		VUNPCKHPD(hi[g+2], hi[g], lo[g+1])
		VUNPCKLPD(hi[g+3], hi[g+1], lo[g+2])
		VUNPCKHPD(hi[g+3], hi[g+1], lo[g+3])
	}
	for j := range 4 {
		VSHUFF32X4(U8(0x88), lo[4+j], lo[j], hi[j])
		VSHUFF32X4(U8(0xdd), lo[4+j], lo[j], hi[4+j])
		VSHUFF32X4(U8(0x88), lo[12+j], lo[8+j], hi[8+j])
		VSHUFF32X4(U8(0xdd), lo[12+j], lo[8+j], hi[12+j])
	}
	for j := range 4 {
		VSHUFF32X4(U8(0x88), hi[8+j], hi[j], lo[j])
		VSHUFF32X4(U8(0x88), hi[12+j], hi[4+j], lo[4+j])
		VSHUFF32X4(U8(0xdd), hi[8+j], hi[j], lo[8+j])
		VSHUFF32X4(U8(0xdd), hi[12+j], hi[4+j], lo[12+j])
	}
	CMPQ(cols, U8(16))
	JLT(LabelRef("partial"))
	for c := range 16 {
		VMOVUPS(lo[c], rmask, Mem{Base: dst})
		ADDQ(ldd, dst)
	}
	ADDQ(U8(64), src)
	SUBQ(U8(16), cols)
	JMP(LabelRef("block"))

	Label("partial")
	for c := range 15 {
		VMOVUPS(lo[c], rmask, Mem{Base: dst})
		if c < 14 {
			CMPQ(cols, U8(c+1))
			JE(LabelRef("done"))
			ADDQ(ldd, dst)
		}
	}
	Label("done")
	VZEROUPPER()
	RET()
}
