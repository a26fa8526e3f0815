// Command skinny generates the kernels of package asm for products of a few
// rows with a large matrix, which is read once and where it lies.
//
//	go run ./skinny -isa avx512 -out FILE.s -stubs FILE.go -pkg asm
package main

import (
	"flag"
	"fmt"
	"log"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// A target is an ISA: its vector registers and the tallest dot tile.
type target struct {
	suffix string
	width  int
	avx512 bool
	// rows·4 sums, 4 vectors of W and one of X must fit. AVX2 has no register
	// left for X and takes it from memory.
	rows int
}

var targets = map[string]target{
	"avx512": {"AVX512", 16, true, 6},
	"avx2":   {"AVX2", 8, false, 3},
}

var t target

func vec() reg.VecVirtual {
	if t.avx512 {
		return ZMM()
	}
	return YMM()
}

func main() {
	isa := flag.String("isa", "", "avx512 or avx2")
	flag.Parse()
	var ok bool
	if t, ok = targets[*isa]; !ok {
		log.Fatalf("skinny: -isa %q is neither avx512 nor avx2", *isa)
	}
	ConstraintExpr("!noasm")
	for _, y := range []reg.VecPhysical{
		reg.Y0, reg.Y1, reg.Y2, reg.Y3, reg.Y4, reg.Y5, reg.Y6, reg.Y7,
		reg.Y8, reg.Y9, reg.Y10, reg.Y11, reg.Y12, reg.Y13, reg.Y14, reg.Y15,
		reg.Y16, reg.Y17, reg.Y18, reg.Y19, reg.Y20, reg.Y21, reg.Y22, reg.Y23,
		reg.Y24, reg.Y25, reg.Y26, reg.Y27, reg.Y28, reg.Y29, reg.Y30, reg.Y31,
	} {
		if t.avx512 {
			y = y.AsZ().(reg.VecPhysical)
		} else if len(vecs) == 16 {
			break
		}
		vecs = append(vecs, y)
	}
	for m := 1; m <= t.rows; m++ {
		dot(m)
	}
	rank(4)
	if t.avx512 {
		rank(8)
	}
	Generate()
}

// vecs is the register file, full width.
var vecs []reg.VecPhysical

// Prefetching. What is read in some microseconds is brought into the level-2
// cache, which can wait for many lines at once; the hardware's prefetchers alone
// are half as fast, as they begin anew with every page. Those lines reach the
// level-1 cache near bytes before their turn.
const near = 512

// rows are addressed as base, base+ld, base+2·ld, base+3·ld.
type rows struct{ ld, ld3 reg.Register }

func newRows(ld reg.Register) rows {
	ld3 := GP64()
	LEAQ(Mem{Base: ld, Index: ld, Scale: 2}, ld3)
	return rows{ld, ld3}
}

func (r rows) at(base reg.Register, i, disp int) Mem {
	switch i {
	case 0:
		return Mem{Base: base, Disp: disp}
	case 3:
		return Mem{Base: base, Index: r.ld3, Scale: 1, Disp: disp}
	}
	return Mem{Base: base, Index: r.ld, Scale: uint8(i), Disp: disp}
}

// dot emits the products of m rows of X with four rows of W.
//
// Of the four products of a vector of X two take it from memory. With one load
// for all of them the loads of W run far ahead of their prefetches, and the
// kernel takes a third longer; with four loads the core cannot keep up.
func dot(m int) {
	const n = 4
	name := fmt.Sprintf("dot%dx4%s", m, t.suffix)
	TEXT(name, NOSPLIT, "func(k, first int, x *float32, step int, w *float32, ldw int, ahead, next *float32, out *float32)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s sets out[4i+j] to the sum of x[p/16·step+16i+p%%16]·w[j·ldw+p] over p < k,", name),
		fmt.Sprintf("i < %d, j < 4; k and first ≤ k are multiples of 16. Meanwhile four rows of", m),
		"ahead, first long, are prefetched, and then of next, k-first long.")
	rest := Load(Param("k"), GP64())
	count := Load(Param("first"), GP64())
	x := Load(Param("x"), GP64())
	step := Load(Param("step"), GP64())
	w := Load(Param("w"), GP64())
	ldw := Load(Param("ldw"), GP64())
	fetch := Load(Param("ahead"), GP64())
	out := Load(Param("out"), GP64())
	SHLQ(U8(2), step)
	SHLQ(U8(2), ldw)
	row := newRows(ldw)
	// Sums in the highest registers, as horizontal additions of AVX reach only
	// the lower sixteen.
	file := vecs[len(vecs)-4*t.rows:]
	acc := make([][n]reg.VecPhysical, m)
	for i := range acc {
		a := &acc[i]
		for j := range a {
			a[j] = file[n*i+j]
			if t.avx512 {
				VPXORD(a[j], a[j], a[j])
			} else {
				VXORPS(a[j], a[j], a[j])
			}
		}
	}
	SUBQ(count, rest)
	wv := vecs[:n]
	TESTQ(count, count)
	JZ(LabelRef("turn"))
	Label("loop")
	for j := range n {
		PREFETCHT1(row.at(fetch, j, 0))
		PREFETCHT0(row.at(w, j, near))
	}
	for half := 0; half < 16; half += t.width {
		for j := range wv {
			VMOVUPS(row.at(w, j, 4*half), wv[j])
		}
		for i := range m {
			from := Mem{Base: x, Disp: 64*i + 4*half}
			if !t.avx512 {
				for j := range n {
					VFMADD231PS(from, wv[j], acc[i][j])
				}
				continue
			}
			xv := vecs[n]
			VFMADD231PS(from, wv[0], acc[i][0])
			VFMADD231PS(from, wv[1], acc[i][1])
			VMOVUPS(from, xv)
			VFMADD231PS(xv, wv[2], acc[i][2])
			VFMADD231PS(xv, wv[3], acc[i][3])
		}
	}
	ADDQ(Imm(64), w)
	ADDQ(Imm(64), fetch)
	ADDQ(step, x)
	SUBQ(Imm(16), count)
	JNZ(LabelRef("loop"))
	Label("turn")
	TESTQ(rest, rest)
	JZ(LabelRef("sum"))
	MOVQ(rest, count)
	XORQ(rest, rest)
	Load(Param("next"), fetch)
	JMP(LabelRef("loop"))
	Label("sum")
	for i := range m {
		var y [n]reg.Register
		for j := range n {
			y[j] = acc[i][j]
			if t.avx512 {
				y[j] = wv[j].AsY()
				VEXTRACTF64X4(U8(1), acc[i][j], y[j])
				VADDPS(acc[i][j].AsY(), y[j], y[j])
			}
		}
		VHADDPS(y[1], y[0], y[0])
		VHADDPS(y[3], y[2], y[2])
		VHADDPS(y[2], y[0], y[0])
		h := wv[n-1].AsX()
		VEXTRACTF128(U8(1), y[0], h)
		VADDPS(y[0].(reg.Vec).AsX(), h, h)
		VMOVUPS(h, Mem{Base: out, Disp: 16 * i})
	}
	VZEROUPPER()
	RET()
}

// rank emits the update of a few rows by depth rows of a matrix, a cache line
// of columns at a time.
func rank(depth int) {
	name := fmt.Sprintf("rank%d%s", depth, t.suffix)
	TEXT(name, NOSPLIT, "func(m, n, first int, a, b *float32, ldb int, ahead, next, c *float32, ldc int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s adds a[%d·i+p]·b[p·ldb+j], p = 0 to %d in turn, to c[i·ldc+j] for i < m,", name, depth, depth-1),
		"j < n; m is positive, n and first ≤ n are multiples of 16, n is positive. Meanwhile",
		fmt.Sprintf("%d rows of ahead, first long, are prefetched, and then of next, n-first long.", depth))
	m := Load(Param("m"), GP64())
	rest := Load(Param("n"), GP64())
	count := Load(Param("first"), GP64())
	a := Load(Param("a"), GP64())
	b := Load(Param("b"), GP64())
	ldb := Load(Param("ldb"), GP64())
	// Prefetches are so far from b.
	fetch := Load(Param("ahead"), GP64())
	c := Load(Param("c"), GP64())
	ldc := Load(Param("ldc"), GP64())
	SHLQ(U8(2), ldb)
	SHLQ(U8(2), ldc)
	SUBQ(b, fetch)
	SUBQ(count, rest)
	const line = 16
	parts := line / t.width
	row := newRows(ldb)
	low, i, ai, ci := GP64(), GP64(), GP64(), GP64()
	TESTQ(count, count)
	JZ(LabelRef("turn"))
	Label("columns")
	bv := make([][]reg.VecVirtual, depth)
	MOVQ(b, low)
	for p := range bv {
		if p > 0 && p%4 == 0 {
			LEAQ(Mem{Base: low, Index: ldb, Scale: 4}, low)
		}
		PREFETCHT0(row.at(low, p%4, near))
		for v := range parts {
			x := vec()
			VMOVUPS(row.at(low, p%4, 4*t.width*v), x)
			bv[p] = append(bv[p], x)
		}
	}
	LEAQ(Mem{Base: b, Index: fetch, Scale: 1}, low)
	for p := range bv {
		if p > 0 && p%4 == 0 {
			LEAQ(Mem{Base: low, Index: ldb, Scale: 4}, low)
		}
		PREFETCHT1(row.at(low, p%4, 0))
	}
	MOVQ(m, i)
	MOVQ(a, ai)
	MOVQ(c, ci)
	Label("rows")
	cv := make([]reg.VecVirtual, parts)
	for v := range cv {
		cv[v] = vec()
		VMOVUPS(Mem{Base: ci, Disp: 4 * t.width * v}, cv[v])
	}
	for p := range bv {
		if t.avx512 {
			VFMADD231PS_BCST(Mem{Base: ai, Disp: 4 * p}, bv[p][0], cv[0])
			continue
		}
		s := vec()
		VBROADCASTSS(Mem{Base: ai, Disp: 4 * p}, s)
		for v := range cv {
			VFMADD231PS(bv[p][v], s, cv[v])
		}
	}
	for v := range cv {
		VMOVUPS(cv[v], Mem{Base: ci, Disp: 4 * t.width * v})
	}
	ADDQ(U8(4*depth), ai)
	ADDQ(ldc, ci)
	DECQ(i)
	JNZ(LabelRef("rows"))
	ADDQ(Imm(4*line), b)
	ADDQ(Imm(4*line), c)
	SUBQ(Imm(line), count)
	JNZ(LabelRef("columns"))
	Label("turn")
	TESTQ(rest, rest)
	JZ(LabelRef("done"))
	MOVQ(rest, count)
	XORQ(rest, rest)
	Load(Param("next"), fetch)
	SUBQ(b, fetch)
	JMP(LabelRef("columns"))
	Label("done")
	VZEROUPPER()
	RET()
}
