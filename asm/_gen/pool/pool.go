// Command pool generates the kernels of package asm for pooling: the maxima of
// windows of 2×2 with stride 2, of rows of numbers and of rows of pixels of 16
// channels, and maxima and means of windows of any size of such pixels.
//
//	go run ./pool -isa avx512 -out FILE.s -stubs FILE.go -pkg asm
package main

import (
	"flag"
	"fmt"
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

// lanes is the number of channels of a pixel, quarters that of the elements of
// a window.
const lanes, quarters = 16, 4

// forwardLanes emits the forward kernel for pixels of 16 channels. Which element
// of a window has the maximum is told by a word for each, with a bit for each
// channel.
func forwardLanes() {
	name := "maxPoolLanes" + t.suffix
	TEXT(name, NOSPLIT, "func(n int, x0, x1, y *float32, chosen *uint16)")
	Pragma("noescape")
	Doc(name+" sets each of n > 0 pixels of 16 channels in y to the maxima of two pixels of",
		"x0 and two of x1, and bit c of four words of chosen for the pixel that has the first",
		"maximum of channel c.")
	n := Load(Param("n"), GP64())
	x0 := Load(Param("x0"), GP64())
	x1 := Load(Param("x1"), GP64())
	y := Load(Param("y"), GP64())
	chosen := Load(Param("chosen"), GP64())
	least := splat(math.Float32bits(-math.MaxFloat32))
	Label("loop")
	for half := range lanes / t.width {
		off := 4 * t.width * half
		var v [quarters]reg.VecVirtual
		for q := range v {
			v[q] = vec()
			VMOVUPS(Mem{Base: []reg.Register{x0, x1}[q/2], Disp: 4*lanes*(q%2) + off}, v[q])
		}
		best := vec()
		VMOVAPS(least, best)
		// Greater, and neither a NaN; an element is chosen if no later one is.
		if t.avx512 {
			var k [quarters]reg.OpmaskVirtual
			for q := range v {
				k[q] = K()
				VCMPPS(U8(0x1e), best, v[q], k[q])
				VBLENDMPS(v[q], best, k[q], best)
			}
			later := K()
			KMOVW(k[3], later)
			for q := 2; q >= 0; q-- {
				mine := K()
				KANDNW(k[q], later, mine)
				KMOVW(mine, Mem{Base: chosen, Disp: 2 * q})
				if q > 0 {
					KORW(k[q], later, later)
				}
			}
			KMOVW(k[3], Mem{Base: chosen, Disp: 2 * 3})
		} else {
			var k [quarters]reg.GPVirtual
			for q := range v {
				greater := vec()
				k[q] = GP32()
				VCMPPS(U8(0x1e), best, v[q], greater)
				VBLENDVPS(greater, v[q], best, best)
				VMOVMSKPS(greater, k[q])
			}
			later := GP32()
			MOVL(k[3], later)
			MOVB(k[3].As8(), Mem{Base: chosen, Disp: 2*3 + half})
			for q := 2; q >= 0; q-- {
				mine := GP32()
				ANDNL(k[q], later, mine)
				MOVB(mine.As8(), Mem{Base: chosen, Disp: 2*q + half})
				if q > 0 {
					ORL(k[q], later)
				}
			}
		}
		VMOVUPS(best, Mem{Base: y, Disp: off})
	}
	ADDQ(U32(2*4*lanes), x0)
	ADDQ(U32(2*4*lanes), x1)
	ADDQ(U8(4*lanes), y)
	ADDQ(U8(2*quarters), chosen)
	DECQ(n)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// backwardLanes emits its gradient.
func backwardLanes() {
	name := "maxPoolLanesBackward" + t.suffix
	TEXT(name, NOSPLIT, "func(n int, dy *float32, chosen *uint16, dx0, dx1 *float32)")
	Pragma("noescape")
	Doc(name+" is the gradient of the kernel of n > 0 pixels: that of two pixels of dx0 and",
		"two of dx1 for each of dy.")
	n := Load(Param("n"), GP64())
	dy := Load(Param("dy"), GP64())
	chosen := Load(Param("chosen"), GP64())
	dx0 := Load(Param("dx0"), GP64())
	dx1 := Load(Param("dx1"), GP64())
	var bits reg.VecVirtual
	if !t.avx512 {
		bits = vec()
		VMOVDQU(table("poolBits", func(i int) int { return 1 << i }), bits)
	}
	Label("loop")
	for half := range lanes / t.width {
		off := 4 * t.width * half
		g := vec()
		VMOVUPS(Mem{Base: dy, Disp: off}, g)
		for q := range quarters {
			v := vec()
			from := Mem{Base: chosen, Disp: 2*q + half}
			if t.avx512 {
				k := K()
				KMOVW(from, k)
				VMOVAPS_Z(g, k, v)
			} else {
				VPBROADCASTB(from, v)
				VPAND(bits, v, v)
				VPCMPEQD(bits, v, v)
				VANDPS(g, v, v)
			}
			VMOVUPS(v, Mem{Base: []reg.Register{dx0, dx1}[q/2], Disp: 4*lanes*(q%2) + off})
		}
	}
	ADDQ(U8(4*lanes), dy)
	ADDQ(U8(2*quarters), chosen)
	ADDQ(U32(2*4*lanes), dx0)
	ADDQ(U32(2*4*lanes), dx1)
	DECQ(n)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// windows emits the loops over n windows and their pixels: begin before, tap at
// and end after the pixels of one window and the half of its channels whose
// elements are off bytes from those of the first. rowEnd comes after each row.
func windows(x, y, step, width reg.Register, begin func(), tap func(Mem), rowEnd func(), end func(off int), next func()) {
	n, rows, cols := load64("n"), load64("rows"), load64("cols")
	for _, r := range []reg.Register{step, width} {
		SHLQ(U8(6), r) // pixels to bytes
	}
	row, at, r, c := GP64(), GP64(), GP64(), GP64()
	Label("window")
	for half := range lanes / t.width {
		off := 4 * t.width * half
		begin()
		MOVQ(x, row)
		MOVQ(rows, r)
		Label(fmt.Sprintf("row%d", half))
		MOVQ(row, at)
		MOVQ(cols, c)
		Label(fmt.Sprintf("pixel%d", half))
		tap(Mem{Base: at, Disp: off})
		ADDQ(U8(4*lanes), at)
		DECQ(c)
		JNZ(LabelRef(fmt.Sprintf("pixel%d", half)))
		rowEnd()
		ADDQ(width, row)
		DECQ(r)
		JNZ(LabelRef(fmt.Sprintf("row%d", half)))
		end(off)
	}
	ADDQ(step, x)
	ADDQ(U8(4*lanes), y)
	next()
	DECQ(n)
	JNZ(LabelRef("window"))
	VZEROUPPER()
	RET()
}

func load64(name string) reg.Register { return Load(Param(name), GP64()) }

// broadcast makes a vector of the low 32 bits of a register.
func broadcast(r reg.Register) reg.VecVirtual {
	x, v := XMM(), vec()
	VMOVD(r.(reg.GPVirtual).As32(), x)
	VPBROADCASTD(x, v)
	return v
}

// windowMax emits the maxima of windows of any size.
func windowMax() {
	name := "maxPoolWindows" + t.suffix
	TEXT(name, NOSPLIT, "func(n, rows, cols, step, width, at int, x, y *float32, places *int32)")
	Pragma("noescape")
	Doc(name+" sets each of n > 0 pixels of 16 channels in y to the first maxima of a window of",
		"rows×cols pixels, both positive, of an image of the given width, and places to their",
		"places unless it is nil. x is the first pixel of the first window, at its place; the",
		"next windows are step pixels apart.")
	x, y, places := load64("x"), load64("y"), load64("places")
	step, width := load64("step"), load64("width")
	first, jump := broadcast(load64("at")), broadcast(width)
	VPSUBD(broadcast(load64("cols")), jump, jump) // from one row's end to the next
	stride := broadcast(step)
	least, none, one := splat(math.Float32bits(-math.MaxFloat32)), splat(math.MaxUint32), splat(1)
	best, where, place := vec(), vec(), vec()
	windows(x, y, step, width, func() {
		VMOVAPS(least, best)
		VMOVAPS(none, where)
		VMOVAPS(first, place)
	}, func(m Mem) {
		v := vec()
		VMOVUPS(m, v)
		// Greater, and neither a NaN.
		if t.avx512 {
			k := K()
			VCMPPS(U8(0x1e), best, v, k)
			VMOVAPS(v, k, best)
			VMOVDQA32(place, k, where)
		} else {
			k := vec()
			VCMPPS(U8(0x1e), best, v, k)
			VBLENDVPS(k, v, best, best)
			VBLENDVPS(k, place, where, where)
		}
		VPADDD(one, place, place)
	}, func() {
		VPADDD(jump, place, place)
	}, func(off int) {
		VMOVUPS(best, Mem{Base: y, Disp: off})
		TESTQ(places, places)
		JZ(LabelRef(fmt.Sprintf("noPlaces%d", off)))
		VMOVUPS(where, Mem{Base: places, Disp: off})
		Label(fmt.Sprintf("noPlaces%d", off))
	}, func() {
		VPADDD(stride, first, first)
		TESTQ(places, places)
		JZ(LabelRef("next"))
		ADDQ(U8(4*lanes), places)
		Label("next")
	})
}

// windowMean emits the means of windows of any size.
func windowMean() {
	name := "meanPoolWindows" + t.suffix
	TEXT(name, NOSPLIT, "func(n, rows, cols, step, width int, x, y *float32, divisor float32)")
	Pragma("noescape")
	Doc(name+" sets each of n > 0 pixels of 16 channels in y to the sums, row by row, of a window",
		"of rows×cols pixels, both positive, of an image of the given width, over divisor. x is",
		"the first pixel of the first window; the next windows are step pixels apart.")
	x, y := load64("x"), load64("y")
	step, width := load64("step"), load64("width")
	d, divisor, sum := XMM(), vec(), vec()
	Load(Param("divisor"), d)
	VBROADCASTSS(d, divisor)
	windows(x, y, step, width, func() {
		VXORPS(sum, sum, sum)
	}, func(m Mem) {
		VADDPS(m, sum, sum)
	}, func() {}, func(off int) {
		mean := vec()
		VDIVPS(divisor, sum, mean)
		VMOVUPS(mean, Mem{Base: y, Disp: off})
	}, func() {})
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
	forwardLanes()
	backwardLanes()
	windowMax()
	windowMean()
	Generate()
}
