// Command pool generates the kernels of package asm for max pooling over
// windows of 2×2 with stride 2.
//
//	go run ./pool -isa avx512 -out FILE.s -stubs FILE.go -pkg asm
package main

import (
	"flag"
	"log"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// A target is an ISA.
type target struct {
	suffix string
	width  int
	avx512 bool
}

var targets = map[string]target{
	"avx512": {"AVX512", 16, true},
	"avx2":   {"AVX2", 8, false},
}

var t target

func vec() reg.VecVirtual {
	if t.avx512 {
		return ZMM()
	}
	return YMM()
}

// table makes a read-only vector of the given elements.
func table(name string, f func(i int) int) Mem {
	m := GLOBL(name+t.suffix, RODATA|NOPTR)
	for i := range t.width {
		DATA(4*i, U32(uint32(f(i))))
	}
	return m
}

// load reads two vectors, of which the second may reach beyond the row.
func load(row reg.Register, masks []reg.OpmaskVirtual) [2]reg.VecVirtual {
	var v [2]reg.VecVirtual
	for i := range v {
		v[i] = vec()
		m := Mem{Base: row, Disp: i * 4 * t.width}
		if masks != nil {
			VMOVUPS_Z(m, masks[i], v[i])
		} else {
			VMOVUPS(m, v[i])
		}
	}
	return v
}

// splat broadcasts the constant c.
func splat(c uint32) reg.VecVirtual {
	g, x, v := GP32(), XMM(), vec()
	MOVL(U32(c), g)
	VMOVD(g, x)
	VPBROADCASTD(x, v)
	return v
}

// tailMasks returns masks of n outputs, and of the two vectors of 2·n elements
// they come from, 0 < n < 16.
func tailMasks(n reg.Register) (out reg.OpmaskVirtual, in []reg.OpmaskVirtual) {
	ones, two, m := GP64(), GP64(), GP64()
	MOVQ(I32(-1), ones)
	out = K()
	BZHIQ(n, ones, m)
	KMOVW(m.As32(), out)
	LEAQ(Mem{Base: n, Index: n, Scale: 1}, two)
	BZHIQ(two, ones, m)
	for range 2 {
		k := K()
		KMOVW(m.As32(), k)
		in = append(in, k)
		SHRQ(U8(16), m)
	}
	return out, in
}

func forward() {
	name := "maxPool" + t.suffix
	TEXT(name, NOSPLIT, "func(n, at, width int, x0, x1, y *float32, mask *int32)")
	Pragma("noescape")
	doc := "n is positive."
	if !t.avx512 {
		doc = "n is a multiple of 8, and positive."
	}
	Doc(name+" sets y[i] to the first maximum of x0[2i], x0[2i+1], x1[2i], x1[2i+1], mask[i] to",
		"its place, at+2i for the first and at+width+2i for the third. "+doc)
	n := Load(Param("n"), GP64())
	at := Load(Param("at"), GP64())
	width := Load(Param("width"), GP64())
	x0 := Load(Param("x0"), GP64())
	x1 := Load(Param("x1"), GP64())
	y := Load(Param("y"), GP64())
	mask := Load(Param("mask"), GP64())
	least := splat(math.Float32bits(-math.MaxFloat32))
	none := splat(math.MaxUint32)
	one := splat(1)
	place := vec()
	{
		// Places of the first vector of windows; that of the lower row is
		// width further.
		x := XMM()
		VMOVD(at.(reg.GPVirtual).As32(), x)
		VPBROADCASTD(x, place)
		VPADDD(table("poolTwice", func(i int) int { return 2 * i }), place, place)
	}
	down, step := vec(), splat(uint32(2*t.width))
	{
		x := XMM()
		VMOVD(width.(reg.GPVirtual).As32(), x)
		VPBROADCASTD(x, down)
	}
	var even, odd reg.VecVirtual
	if t.avx512 {
		even, odd = vec(), vec()
		VMOVDQU32(table("poolEven", func(i int) int { return 2 * i }), even)
		VMOVDQU32(table("poolOdd", func(i int) int { return 2*i + 1 }), odd)
	}
	// The elements of even and of odd index of two vectors.
	split := func(v [2]reg.VecVirtual) (e, o reg.VecVirtual) {
		e, o = vec(), vec()
		if t.avx512 {
			VMOVDQA32(even, e)
			VPERMI2PS(v[1], v[0], e)
			VMOVDQA32(odd, o)
			VPERMI2PS(v[1], v[0], o)
			return e, o
		}
		VSHUFPS(U8(0x88), v[1], v[0], e)
		VPERMPD(U8(0xd8), e, e)
		VSHUFPS(U8(0xdd), v[1], v[0], o)
		VPERMPD(U8(0xd8), o, o)
		return e, o
	}
	body := func(out reg.OpmaskVirtual, in []reg.OpmaskVirtual) {
		a, b := split(load(x0, in))
		c, d := split(load(x1, in))
		best, where := vec(), vec()
		if t.avx512 {
			VMOVAPS(least, best)
			VMOVDQA32(none, where)
		} else {
			VMOVAPS(least, best)
			VMOVDQA(none, where)
		}
		p := vec()
		VPADDD(one, place, p)
		q := vec()
		VPADDD(down, place, q)
		r := vec()
		VPADDD(one, q, r)
		for i, v := range []reg.VecVirtual{a, b, c, d} {
			from := []reg.VecVirtual{place, p, q, r}[i]
			// Greater, and neither a NaN.
			if t.avx512 {
				k := K()
				VCMPPS(U8(0x1e), best, v, k)
				VBLENDMPS(v, best, k, best)
				VPBLENDMD(from, where, k, where)
			} else {
				k := vec()
				VCMPPS(U8(0x1e), best, v, k)
				VBLENDVPS(k, v, best, best)
				VBLENDVPS(k, from, where, where)
			}
		}
		if out != nil {
			VMOVUPS(best, out, Mem{Base: y})
			VMOVDQU32(where, out, Mem{Base: mask})
			return
		}
		VMOVUPS(best, Mem{Base: y})
		VMOVUPS(where, Mem{Base: mask})
	}
	Label("loop")
	CMPQ(n, U32(t.width))
	JLT(LabelRef("tail"))
	body(nil, nil)
	VPADDD(step, place, place)
	for _, r := range []reg.Register{x0, x1} {
		ADDQ(U32(8*t.width), r)
	}
	for _, r := range []reg.Register{y, mask} {
		ADDQ(U32(4*t.width), r)
	}
	SUBQ(U32(t.width), n)
	JMP(LabelRef("loop"))
	Label("tail")
	if t.avx512 {
		TESTQ(n, n)
		JZ(LabelRef("done"))
		out, in := tailMasks(n)
		body(out, in)
		Label("done")
	}
	VZEROUPPER()
	RET()
}

func backward() {
	name := "maxPoolBackward" + t.suffix
	TEXT(name, NOSPLIT, "func(n, at, width int, dy *float32, mask *int32, dx0, dx1 *float32)")
	Pragma("noescape")
	doc := "n is positive."
	if !t.avx512 {
		doc = "n is a multiple of 8, and positive."
	}
	Doc(name+" sets that one of dx0[2i], dx0[2i+1], dx1[2i], dx1[2i+1] to dy[i] whose place,",
		"numbered as in the forward kernel, is mask[i], the others to 0. "+doc)
	n := Load(Param("n"), GP64())
	at := Load(Param("at"), GP64())
	width := Load(Param("width"), GP64())
	dy := Load(Param("dy"), GP64())
	mask := Load(Param("mask"), GP64())
	dx0 := Load(Param("dx0"), GP64())
	dx1 := Load(Param("dx1"), GP64())
	// A place and its gradient go to two neighbours; each takes it if the
	// place is its own.
	lo := table("poolLow", func(i int) int { return i / 2 })
	hi := table("poolHigh", func(i int) int { return t.width/2 + i/2 })
	low, high := vec(), vec()
	VMOVUPS(lo, low)
	VMOVUPS(hi, high)
	own, step, down := vec(), splat(uint32(t.width)), vec()
	x := XMM()
	VMOVD(at.(reg.GPVirtual).As32(), x)
	VPBROADCASTD(x, own)
	VPADDD(table("poolCount", func(i int) int { return i }), own, own)
	y := XMM()
	VMOVD(width.(reg.GPVirtual).As32(), y)
	VPBROADCASTD(y, down)
	body := func(out reg.OpmaskVirtual, in []reg.OpmaskVirtual) {
		g, m := vec(), vec()
		if out != nil {
			VMOVUPS_Z(Mem{Base: dy}, out, g)
			VMOVDQU32_Z(Mem{Base: mask}, out, m)
		} else {
			VMOVUPS(Mem{Base: dy}, g)
			VMOVUPS(Mem{Base: mask}, m)
		}
		for i, half := range []reg.VecVirtual{low, high} {
			gg, mm, under := vec(), vec(), vec()
			VPERMPS(g, half, gg)
			VPERMD(m, half, mm)
			VPADDD(down, own, under)
			for r, row := range []reg.Register{dx0, dx1} {
				place := []reg.VecVirtual{own, under}[r]
				v := vec()
				if t.avx512 {
					k := K()
					VPCMPEQD(place, mm, k)
					VMOVAPS_Z(gg, k, v)
				} else {
					VPCMPEQD(place, mm, v)
					VANDPS(gg, v, v)
				}
				d := Mem{Base: row, Disp: i * 4 * t.width}
				if in != nil {
					VMOVUPS(v, in[i], d)
				} else {
					VMOVUPS(v, d)
				}
			}
			VPADDD(step, own, own)
		}
	}
	Label("loop")
	CMPQ(n, U32(t.width))
	JLT(LabelRef("tail"))
	body(nil, nil)
	for _, r := range []reg.Register{dx0, dx1} {
		ADDQ(U32(8*t.width), r)
	}
	for _, r := range []reg.Register{dy, mask} {
		ADDQ(U32(4*t.width), r)
	}
	SUBQ(U32(t.width), n)
	JMP(LabelRef("loop"))
	Label("tail")
	if t.avx512 {
		TESTQ(n, n)
		JZ(LabelRef("done"))
		out, in := tailMasks(n)
		body(out, in)
		Label("done")
	}
	VZEROUPPER()
	RET()
}

func main() {
	isa := flag.String("isa", "", "avx512 or avx2")
	flag.Parse()
	var ok bool
	if t, ok = targets[*isa]; !ok {
		log.Fatalf("pool: -isa %q is neither avx512 nor avx2", *isa)
	}
	ConstraintExpr("!noasm")
	forward()
	backward()
	Generate()
}
