// Command wino generates the tile transforms of Winograd convolution
// F(4×4,3×3): out = T·in·Tᵀ for each lane, two passes of a one-dimensional
// transform with the middle kept on the stack.
//
//	go run ./wino -isa avx512 -out FILE.s -stubs FILE.go -pkg asm
package main

import (
	"flag"
	"fmt"
	"log"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

var (
	avx512 bool
	suffix string
	width  int // lanes
)

// Constants by their place in the table that kernels are handed (winoTable in
// wino.go of package asm): each eight times, so that AVX2 can use it from
// memory.
const (
	p2 = iota
	q2
	p1
	q1
	pq2
	p2q
	p2q2
	sum
	p3
	q3
	inv
	n1
	n2
	n1p
	n2q
	n1p2
	n2q2
)

func vec() reg.VecVirtual {
	if avx512 {
		return ZMM()
	}
	return YMM()
}

// A line is one run of the one-dimensional transform under construction.
type line struct {
	konst func(c int) Op
	load  func(j int) reg.VecVirtual
	store func(i int, v reg.VecVirtual)
}

func mul(a Op, x reg.VecVirtual) reg.VecVirtual {
	v := vec()
	VMULPS(a, x, v)
	return v
}

func add(x, y reg.VecVirtual) reg.VecVirtual {
	v := vec()
	VADDPS(x, y, v)
	return v
}

// sub returns x − y.
func sub(x, y reg.VecVirtual) reg.VecVirtual {
	v := vec()
	VSUBPS(y, x, v)
	return v
}

func dup(x reg.VecVirtual) reg.VecVirtual {
	v := vec()
	VMOVAPS(x, v)
	return v
}

// fma adds a·x to acc, fnma subtracts it.
func fma(acc reg.VecVirtual, a Op, x reg.VecVirtual)  { VFMADD231PS(a, x, acc) }
func fnma(acc reg.VecVirtual, a Op, x reg.VecVirtual) { VFNMADD231PS(a, x, acc) }

// input is Bᵀ, 6 from 6.
func input(l line) {
	k := l.konst
	d1, d2, d3, d4 := l.load(1), l.load(2), l.load(3), l.load(4)
	even, odd := dup(d4), mul(k(p1), d3)
	fnma(even, k(q2), d2)
	fnma(odd, k(pq2), d1)
	l.store(1, add(even, odd))
	l.store(2, sub(even, odd))
	even, odd = dup(d4), mul(k(q1), d3)
	fnma(even, k(p2), d2)
	fnma(odd, k(p2q), d1)
	l.store(3, add(even, odd))
	l.store(4, sub(even, odd))
	t := mul(k(p2q2), l.load(0))
	fnma(t, k(sum), d2)
	l.store(0, add(t, d4))
	t = mul(k(p2q2), d1)
	fnma(t, k(sum), d3)
	l.store(5, add(t, l.load(5)))
}

// output is Aᵀ, 4 from 6.
func output(l line) {
	k := l.konst
	m1, m2, m3, m4 := l.load(1), l.load(2), l.load(3), l.load(4)
	s1, d1, s2, d2 := add(m1, m2), sub(m1, m2), add(m3, m4), sub(m3, m4)
	l.store(0, add(l.load(0), add(s1, s2)))
	t := mul(k(p1), d1)
	fma(t, k(q1), d2)
	l.store(1, t)
	t = mul(k(p2), s1)
	fma(t, k(q2), s2)
	l.store(2, t)
	t = l.load(5)
	fma(t, k(p3), d1)
	fma(t, k(q3), d2)
	l.store(3, t)
}

// gradient is A, 6 from 4.
func gradient(l line) {
	k := l.konst
	y0, y1, y2, y3 := l.load(0), l.load(1), l.load(2), l.load(3)
	l.store(0, y0)
	even, odd := dup(y0), mul(k(p1), y1)
	fma(even, k(p2), y2)
	fma(odd, k(p3), y3)
	l.store(1, add(even, odd))
	l.store(2, sub(even, odd))
	even, odd = dup(y0), mul(k(q1), y1)
	fma(even, k(q2), y2)
	fma(odd, k(q3), y3)
	l.store(3, add(even, odd))
	l.store(4, sub(even, odd))
	l.store(5, y3)
}

// filter is G, 6 from 3.
func filter(l line) {
	k := l.konst
	g0, g1, g2 := l.load(0), l.load(1), l.load(2)
	l.store(0, mul(k(inv), g0))
	even, odd := mul(k(n1), g0), mul(k(n1p), g1)
	fma(even, k(n1p2), g2)
	l.store(1, add(even, odd))
	l.store(2, sub(even, odd))
	even, odd = mul(k(n2), g0), mul(k(n2q), g1)
	fma(even, k(n2q2), g2)
	l.store(3, add(even, odd))
	l.store(4, sub(even, odd))
	l.store(5, g2)
}

// filterGradient is Gᵀ, 3 from 6.
func filterGradient(l line) {
	k := l.konst
	r1, r2, r3, r4 := l.load(1), l.load(2), l.load(3), l.load(4)
	s1, d1, s2, d2 := add(r1, r2), sub(r1, r2), add(r3, r4), sub(r3, r4)
	t := mul(k(inv), l.load(0))
	fma(t, k(n1), s1)
	fma(t, k(n2), s2)
	l.store(0, t)
	t = mul(k(n1p), d1)
	fma(t, k(n2q), d2)
	l.store(1, t)
	t = l.load(5)
	fma(t, k(n1p2), s1)
	fma(t, k(n2q2), s2)
	l.store(2, t)
}

// strided returns the operand base + j·stride for 0 ≤ j < 6.
func strided(base, s, s3, s5 reg.Register, j int) Mem {
	switch j {
	case 0:
		return Mem{Base: base}
	case 3:
		return Mem{Base: base, Index: s3, Scale: 1}
	case 5:
		return Mem{Base: base, Index: s5, Scale: 1}
	}
	return Mem{Base: base, Index: s, Scale: uint8(j)}
}

// multiples returns 3 and 5 times a stride.
func multiples(s reg.Register) (s3, s5 reg.Register) {
	a, b := GP64(), GP64()
	LEAQ(Mem{Base: s, Index: s, Scale: 2}, a)
	LEAQ(Mem{Base: s, Index: s, Scale: 4}, b)
	return a, b
}

// kernel emits the two-dimensional transform of in×in to out×out elements. If
// overlap, columns 4 and 5 of the source are the lanes after those of columns
// 0 and 1.
func kernel(name, doc string, in, out int, overlap bool, consts []int, f func(line)) {
	TEXT(name+suffix, 0, "func(n int, table, src *float32, s1, s2 int, dst *float32, d1, d2 int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s%s %s for n lanes.", name, suffix, doc))
	n := Load(Param("n"), GP64())
	table := Load(Param("table"), GP64())
	src := Load(Param("src"), GP64())
	s1 := Load(Param("s1"), GP64())
	s2 := Load(Param("s2"), GP64())
	dst := Load(Param("dst"), GP64())
	d1 := Load(Param("d1"), GP64())
	d2 := Load(Param("d2"), GP64())
	for _, s := range []reg.Register{s1, s2, d1, d2} {
		SHLQ(U8(2), s)
	}
	s3, s5 := multiples(s2)
	d3, d5 := multiples(d1)
	middle := AllocLocal(in * out * width * 4)
	at := func(i, j int) Mem { return middle.Offset((i*out + j) * width * 4) }

	inReg := map[int]reg.VecVirtual{}
	if avx512 {
		for _, c := range consts {
			v := ZMM()
			VBROADCASTSS(Mem{Base: table, Disp: 32 * c}, v)
			inReg[c] = v
		}
	}
	konst := func(c int) Op {
		if avx512 {
			return inReg[c]
		}
		return Mem{Base: table, Disp: 32 * c}
	}

	Label("loop")
	var mask reg.OpmaskVirtual
	if avx512 {
		Comment("A mask of the lanes there are.")
		m, w := GP64(), GP64()
		MOVQ(U32(16), w)
		CMPQ(n, w)
		CMOVQLT(n, w)
		MOVQ(I32(-1), m)
		BZHIQ(w, m, m)
		mask = K()
		KMOVW(m.As32(), mask)
	}
	load := func(a Mem) reg.VecVirtual {
		v := vec()
		if avx512 {
			VMOVUPS_Z(a, mask, v)
		} else {
			VMOVUPS(a, v)
		}
		return v
	}
	Comment("Rows.")
	row := GP64()
	MOVQ(src, row)
	for i := range in {
		f(line{konst: konst,
			load: func(j int) reg.VecVirtual {
				if overlap && j >= 4 {
					a := strided(row, s2, s3, s5, j-4)
					a.Disp += 4
					return load(a)
				}
				return load(strided(row, s2, s3, s5, j))
			},
			store: func(j int, v reg.VecVirtual) { VMOVUPS(v, at(i, j)) },
		})
		ADDQ(s1, row)
	}
	Comment("Columns.")
	col := GP64()
	MOVQ(dst, col)
	for j := range out {
		f(line{konst: konst,
			load: func(i int) reg.VecVirtual {
				v := vec()
				VMOVUPS(at(i, j), v)
				return v
			},
			store: func(i int, v reg.VecVirtual) {
				a := strided(col, d1, d3, d5, i)
				if avx512 {
					VMOVUPS(v, mask, a)
				} else {
					VMOVUPS(v, a)
				}
			},
		})
		ADDQ(d2, col)
	}
	ADDQ(U32(4*width), src)
	ADDQ(U32(4*width), dst)
	SUBQ(U32(width), n)
	JG(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

func main() {
	isa := flag.String("isa", "", "avx512 or avx2")
	flag.Parse()
	switch *isa {
	case "avx512":
		avx512, suffix, width = true, "AVX512", 16
	case "avx2":
		suffix, width = "AVX2", 8
	default:
		log.Fatalf("wino: -isa %q is neither avx512 nor avx2", *isa)
	}
	ConstraintExpr("!noasm")
	kernel("winoInput", "computes Bᵀ·d·B", 6, 6, true, []int{p1, q1, p2, q2, pq2, p2q, p2q2, sum}, input)
	kernel("winoOutput", "computes Aᵀ·m·A", 6, 4, false, []int{p1, q1, p2, q2, p3, q3}, output)
	kernel("winoGradient", "computes A·y·Aᵀ", 4, 6, false, []int{p1, q1, p2, q2, p3, q3}, gradient)
	kernel("winoFilter", "computes G·g·Gᵀ", 3, 6, false, []int{inv, n1, n2, n1p, n2q, n1p2, n2q2}, filter)
	kernel("winoFilterGradient", "computes Gᵀ·u·G", 6, 3, false, []int{inv, n1, n2, n1p, n2q, n1p2, n2q2}, filterGradient)
	Generate()
}
