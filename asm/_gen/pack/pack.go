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
		rowsAVX2()
		transposeAVX2(6)
		transposeAVX2(8)
	default:
		log.Fatalf("pack: -isa %q is neither avx512 nor avx2", *isa)
	}
	Generate()
}

// rowsAVX2 emits the copy of a strip of whole rows of 16.
func rowsAVX2() {
	TEXT("packRowsAVX2", NOSPLIT, "func(n int, src *float32, lds int, dst *float32, ldd int)")
	Pragma("noescape")
	Doc("packRowsAVX2 copies n > 0 rows of 16 columns, and prefetches the next n.")
	n := Load(Param("n"), GP64())
	src := Load(Param("src"), GP64())
	lds := Load(Param("lds"), GP64())
	dst := Load(Param("dst"), GP64())
	ldd := Load(Param("ldd"), GP64())
	SHLQ(U8(2), lds)
	SHLQ(U8(2), ldd)
	next := GP64()
	MOVQ(n, next)
	IMULQ(lds, next)
	y0, y1 := YMM(), YMM()
	Label("loop")
	PREFETCHT1(Mem{Base: src, Index: next, Scale: 1})
	VMOVUPS(Mem{Base: src}, y0)
	VMOVUPS(Mem{Base: src, Disp: 32}, y1)
	VMOVUPS(y0, Mem{Base: dst})
	VMOVUPS(y1, Mem{Base: dst, Disp: 32})
	ADDQ(lds, src)
	ADDQ(ldd, dst)
	DECQ(n)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// transposeAVX2 emits the transposition of a strip of 8 rows, or of the 6 of a
// panel of A, in blocks of eight columns.
func transposeAVX2(rows int) {
	name := fmt.Sprintf("transpose%dAVX2", rows)
	TEXT(name, NOSPLIT, "func(cols int, src *float32, lds int, dst *float32, ldd int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s sets dst[c·ldd+r] = src[r·lds+c] for r < %d, c < cols; cols is a", name, rows),
		"positive multiple of 8. The next rows are prefetched.")
	cols := Load(Param("cols"), GP64())
	src := Load(Param("src"), GP64())
	lds := Load(Param("lds"), GP64())
	dst := Load(Param("dst"), GP64())
	ldd := Load(Param("ldd"), GP64())
	SHLQ(U8(2), lds)
	SHLQ(U8(2), ldd)
	p, next := GP64(), GP64()
	IMUL3Q(U8(rows), lds, next)
	Label("block")
	MOVQ(src, p)
	var row, pair, quad [8]reg.VecVirtual
	for r := range rows {
		row[r] = YMM()
		VMOVUPS(Mem{Base: p}, row[r])
		PREFETCHT1(Mem{Base: p, Index: next, Scale: 1})
		if r < rows-1 {
			ADDQ(lds, p)
		}
	}
	for r := 0; r < rows; r += 2 {
		pair[r], pair[r+1] = YMM(), YMM()
		VUNPCKLPS(row[r+1], row[r], pair[r])
		VUNPCKHPS(row[r+1], row[r], pair[r+1])
	}
	Comment("Each 128-bit half: four rows of column j below, of column j+4 above.")
	for j := range 4 {
		quad[j] = YMM()
		if j%2 == 0 {
			VUNPCKLPD(pair[2+j/2], pair[j/2], quad[j])
		} else {
			VUNPCKHPD(pair[2+j/2], pair[j/2], quad[j])
		}
	}
	if rows == 8 {
		for j := range 4 {
			quad[4+j] = YMM()
			if j%2 == 0 {
				VUNPCKLPD(pair[6+j/2], pair[4+j/2], quad[4+j])
			} else {
				VUNPCKHPD(pair[6+j/2], pair[4+j/2], quad[4+j])
			}
		}
	}
	for half := range 2 {
		var rest [2]reg.VecVirtual // rows 4 and 5 of columns 0,1 and 2,3 of the half
		if rows == 6 {
			for i := range rest {
				rest[i] = pair[4+i].AsX().(reg.VecVirtual)
				if half == 1 {
					rest[i] = XMM()
					VEXTRACTF128(U8(1), pair[4+i], rest[i])
				}
			}
		}
		for j := range 4 {
			switch {
			case rows == 8:
				y := YMM()
				VPERM2F128(U8(0x20+0x11*half), quad[4+j], quad[j], y)
				VMOVUPS(y, Mem{Base: dst})
			case half == 0:
				VMOVUPS(quad[j].AsX(), Mem{Base: dst})
			default:
				VEXTRACTF128(U8(1), quad[j], Mem{Base: dst})
			}
			if rows == 6 {
				if j%2 == 0 {
					VMOVLPS(rest[j/2], Mem{Base: dst, Disp: 16})
				} else {
					VMOVHPS(rest[j/2], Mem{Base: dst, Disp: 16})
				}
			}
			ADDQ(ldd, dst)
		}
	}
	ADDQ(U8(32), src)
	SUBQ(U8(8), cols)
	JNZ(LabelRef("block"))
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
