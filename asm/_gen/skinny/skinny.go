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

// near is how far, in bytes, a row of the large matrix is prefetched into the
// level-1 cache. That many lines in flight are not enough to use the memory's
// bandwidth, as the core can wait for a few only; so what is read next is brought
// into the level-2 cache before, which waits for many more.
const near = 512

// dot emits the products of m rows of X with four rows of W.
func dot(m int) {
	const n = 4
	name := fmt.Sprintf("dot%dx4%s", m, t.suffix)
	TEXT(name, NOSPLIT, "func(k int, x *float32, ldx int, w *float32, ldw int, next *float32, out *float32)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s sets out[4i+j] to the sum of x[i·ldx+p]·w[j·ldw+p] over p < k,", name),
		fmt.Sprintf("i < %d, j < 4; k is a multiple of %d. As much of next as of w is prefetched.", m, t.width))
	k := Load(Param("k"), GP64())
	x := Load(Param("x"), GP64())
	ldx := Load(Param("ldx"), GP64())
	w := Load(Param("w"), GP64())
	ldw := Load(Param("ldw"), GP64())
	next := Load(Param("next"), GP64())
	out := Load(Param("out"), GP64())
	SHLQ(U8(2), ldx)
	SHLQ(U8(2), ldw)
	wp := [n]reg.Register{w}
	for j := 1; j < n; j++ {
		g := GP64()
		LEAQ(Mem{Base: wp[j-1], Index: ldw, Scale: 1}, g)
		wp[j] = g
	}
	np := [n]reg.Register{next}
	for j := 1; j < n; j++ {
		g := GP64()
		LEAQ(Mem{Base: np[j-1], Index: ldw, Scale: 1}, g)
		np[j] = g
	}
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
	p := GP64()
	XORQ(p, p)
	xi := GP64()
	Label("loop")
	CMPQ(p, k)
	JGE(LabelRef("sum"))
	wv := vecs[:n]
	for j := range wv {
		PREFETCHT0(Mem{Base: wp[j], Index: p, Scale: 4, Disp: near})
		PREFETCHT1(Mem{Base: np[j], Index: p, Scale: 4})
		VMOVUPS(Mem{Base: wp[j], Index: p, Scale: 4}, wv[j])
	}
	LEAQ(Mem{Base: x, Index: p, Scale: 4}, xi)
	for i := range m {
		if t.avx512 {
			xv := vecs[n]
			VMOVUPS(Mem{Base: xi}, xv)
			for j := range n {
				VFMADD231PS(xv, wv[j], acc[i][j])
			}
		} else {
			for j := range n {
				VFMADD231PS(Mem{Base: xi}, wv[j], acc[i][j])
			}
		}
		if i < m-1 {
			ADDQ(ldx, xi)
		}
	}
	ADDQ(U32(t.width), p)
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

// rank emits the update of a few rows by depth rows of a matrix.
func rank(depth int) {
	name := fmt.Sprintf("rank%d%s", depth, t.suffix)
	TEXT(name, NOSPLIT, "func(m, n int, a, b *float32, ldb int, c *float32, ldc int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s adds a[%d·i+p]·b[p·ldb+j], p = 0 to %d in turn, to c[i·ldc+j] for i < m,", name, depth, depth-1),
		fmt.Sprintf("j < n; n is a multiple of %d, m and n are positive.", 2*t.width))
	m := Load(Param("m"), GP64())
	n := Load(Param("n"), GP64())
	a := Load(Param("a"), GP64())
	b := Load(Param("b"), GP64())
	ldb := Load(Param("ldb"), GP64())
	c := Load(Param("c"), GP64())
	ldc := Load(Param("ldc"), GP64())
	SHLQ(U8(2), ldb)
	SHLQ(U8(2), ldc)
	bytes := 4 * t.width
	bp, i, ai, ci, below := GP64(), GP64(), GP64(), GP64(), GP64()
	IMUL3Q(U8(depth), ldb, below)
	Label("columns")
	MOVQ(b, bp)
	// The rows of the next call lie below these.
	bv := make([][2]reg.VecVirtual, depth)
	for p := range bv {
		for line := 0; line < 2*bytes; line += 64 {
			PREFETCHT0(Mem{Base: bp, Disp: near + line})
			PREFETCHT1(Mem{Base: bp, Index: below, Scale: 1, Disp: line})
		}
		for v := range 2 {
			bv[p][v] = vec()
			VMOVUPS(Mem{Base: bp, Disp: v * bytes}, bv[p][v])
		}
		if p < depth-1 {
			ADDQ(ldb, bp)
		}
	}
	MOVQ(m, i)
	MOVQ(a, ai)
	MOVQ(c, ci)
	Label("rows")
	c0, c1 := vec(), vec()
	VMOVUPS(Mem{Base: ci}, c0)
	VMOVUPS(Mem{Base: ci, Disp: bytes}, c1)
	for p := range bv {
		s := vec()
		VBROADCASTSS(Mem{Base: ai, Disp: 4 * p}, s)
		VFMADD231PS(bv[p][0], s, c0)
		VFMADD231PS(bv[p][1], s, c1)
	}
	VMOVUPS(c0, Mem{Base: ci})
	VMOVUPS(c1, Mem{Base: ci, Disp: bytes})
	ADDQ(U8(4*depth), ai)
	ADDQ(ldc, ci)
	DECQ(i)
	JNZ(LabelRef("rows"))
	ADDQ(U32(2*bytes), b)
	ADDQ(U32(2*bytes), c)
	SUBQ(U32(2*t.width), n)
	JNZ(LabelRef("columns"))
	VZEROUPPER()
	RET()
}
