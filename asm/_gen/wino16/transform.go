package main

import (
	"fmt"
	"log"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The interpolation points are 0, ±pa, ±pb and infinity.
const (
	pa = 5. / 8
	pb = 3. / 2
	a2 = pa * pa
	b2 = pb * pb
	n0 = 1 / (a2 * b2)
	na = 1 / (2 * a2 * (b2 - a2)) // the sign is with the input's rows
	nb = 1 / (2 * b2 * (b2 - a2))
)

// A term is a multiple of input i.
type term struct {
	c float64
	i int
}

// A sum is a linear combination of inputs.
type sum []term

// An expandSpec is a transform from in values to 6: rows 0 and 5 alone, 1, 2
// and 3, 4 as sum and difference of an even and an odd part.
type expandSpec struct {
	name, doc string
	in        int
	first     sum
	a, b      [2]sum // even, odd
	last      sum
}

var inputSpec = expandSpec{
	"Input", "6×6 pixels", 6,
	sum{{1, 4}, {-(a2 + b2), 2}, {a2 * b2, 0}},
	[2]sum{{{b2, 2}, {-1, 4}}, {{pa * b2, 1}, {-pa, 3}}},
	[2]sum{{{1, 4}, {-a2, 2}}, {{pb, 3}, {-pb * a2, 1}}},
	sum{{1, 5}, {-(a2 + b2), 3}, {a2 * b2, 1}},
}

var gradSpec = expandSpec{
	"Gradient", "4×4 pixels of an output gradient", 4,
	sum{{1, 0}},
	[2]sum{{{1, 0}, {a2, 2}}, {{pa, 1}, {pa * a2, 3}}},
	[2]sum{{{1, 0}, {b2, 2}}, {{pb, 1}, {pb * b2, 3}}},
	sum{{1, 3}},
}

var filterSpec = expandSpec{
	"Filter", "3×3 taps", 3,
	sum{{n0, 0}},
	[2]sum{{{na, 0}, {na * a2, 2}}, {{na * pa, 1}}},
	[2]sum{{{nb, 0}, {nb * b2, 2}}, {{nb * pb, 1}}},
	sum{{1, 2}},
}

// streaming is s with stores that pass the caches by.
func (s reduceSpec) streaming() reduceSpec {
	s.name += "Stream"
	s.stream = true
	return s
}

// A reduceSpec is a transform from 6 values to out. Its inputs are value 0, sum
// and difference of 1 and 2, the same of 3 and 4, and value 5.
type reduceSpec struct {
	name, doc string
	out       int
	rows      [4]sum
	bias      bool
	stream    bool // stores that pass the caches by
}

// Inputs of a reduceSpec.
const (
	m0 = iota
	sa
	da
	sb
	db
	m5
)

var outputSpec = reduceSpec{"Output", "4×4 pixels", 4, [4]sum{
	{{1, m0}, {1, sa}, {1, sb}},
	{{pa, da}, {pb, db}},
	{{a2, sa}, {b2, sb}},
	{{1, m5}, {pa * a2, da}, {pb * b2, db}},
}, true, false}

var weightsSpec = reduceSpec{"Weights", "3×3 taps of a weight gradient", 3, [4]sum{
	{{n0, m0}, {na, sa}, {nb, sb}},
	{{na * pa, da}, {nb * pb, db}},
	{{1, m5}, {na * a2, sa}, {nb * b2, sb}},
}, false, false}

// gen emits transforms. It hands out vector registers itself, because the
// file is nearly full.
type gen struct {
	target
	free   []reg.VecPhysical
	consts map[float64]Op
	kernel string
}

func (g *gen) begin(name string) {
	g.kernel = name
	g.free = append([]reg.VecPhysical(nil), g.vec...)
	g.consts = map[float64]Op{}
}

func (g *gen) get() reg.VecPhysical {
	if len(g.free) == 0 {
		log.Fatalf("wino16: out of registers in %s", g.kernel)
	}
	r := g.free[0]
	g.free = g.free[1:]
	return r
}

func (g *gen) put(r reg.VecPhysical) { g.free = append([]reg.VecPhysical{r}, g.free...) }

// constants makes the coefficients of sums ready: broadcast into registers if
// there are many of them, else whole vectors in memory.
func (g *gen) constants(sums ...sum) {
	for _, s := range sums {
		for _, t := range s {
			c := math.Abs(t.c)
			if _, ok := g.consts[c]; ok || c == 1 {
				continue
			}
			n := 1
			if g.width == 8 {
				n = 8
			}
			m := GLOBL(fmt.Sprintf("%s_%d", g.kernel, len(g.consts)), RODATA|NOPTR)
			for i := range n {
				DATA(4*i, F32(float32(c)))
			}
			g.consts[c] = m
			if n == 1 {
				r := g.get()
				VBROADCASTSS(m, r)
				g.consts[c] = r
			}
		}
	}
}

// combine emits a linear combination of operands into a new register. The first
// coefficient must be positive.
func (g *gen) combine(s sum, src []Op) reg.VecPhysical {
	dst := g.get()
	rest := s[1:]
	if first := src[s[0].i]; s[0].c == 1 {
		_, inMemory := first.(Mem)
		if len(rest) > 0 && rest[0].c == 1 && !inMemory {
			VADDPS(src[rest[0].i], first, dst)
			rest = rest[1:]
		} else {
			VMOVUPS(first, dst)
		}
	} else {
		if _, ok := first.(Mem); ok {
			VMOVUPS(first, dst)
			first = dst
		}
		VMULPS(g.consts[s[0].c], first, dst)
	}
	for _, t := range rest {
		x := src[t.i]
		c := g.consts[math.Abs(t.c)]
		switch t.c {
		case 1:
			VADDPS(x, dst, dst)
			continue
		case -1:
			VSUBPS(x, dst, dst)
			continue
		}
		tmp := false
		_, constInMemory := c.(Mem)
		if _, ok := x.(Mem); ok && constInMemory {
			r := g.get()
			VMOVUPS(x, r)
			x, tmp = r, true
		}
		m, r := x, c
		if constInMemory {
			m, r = c, x
		}
		if t.c < 0 {
			VFNMADD231PS(m, r, dst)
		} else {
			VFMADD231PS(m, r, dst)
		}
		if tmp {
			g.put(x.(reg.VecPhysical))
		}
	}
	return dst
}

// pair emits even + odd and even − odd of two sums.
func (g *gen) pair(p [2]sum, combine func(sum) reg.VecPhysical) (plus, minus reg.VecPhysical) {
	e, o, r := combine(p[0]), combine(p[1]), g.get()
	VADDPS(o, e, r)
	VSUBPS(o, e, e)
	g.put(o)
	return r, e
}

// group emits rows of an expandSpec: 0 the first, 1 and 2 the pairs, 3 the last.
func (g *gen) group(s *expandSpec, i int, combine func(sum) reg.VecPhysical) []reg.VecPhysical {
	switch i {
	case 0:
		return []reg.VecPhysical{combine(s.first)}
	case 1, 2:
		p := s.a
		if i == 2 {
			p = s.b
		}
		x, y := g.pair(p, combine)
		return []reg.VecPhysical{x, y}
	}
	return []reg.VecPhysical{combine(s.last)}
}

// passes returns the groups whose columns are in registers at the same time.
func (g *gen) passes() [][]int {
	if g.width == 8 {
		return [][]int{{0}, {1}, {2}, {3}}
	}
	return [][]int{{0, 1}, {2, 3}}
}

// A destination is where transformed tiles are written to.
type destination struct {
	dst, ldt, ldp, q0, q3 reg.GPVirtual
	stream                bool // past the caches
}

// destination loads the arguments of one.
func (g *gen) destination(stream bool) *destination {
	d := &destination{
		Load(Param("dst"), GP64()).(reg.GPVirtual), Load(Param("ldt"), GP64()).(reg.GPVirtual), Load(Param("ldp"), GP64()).(reg.GPVirtual),
		GP64(), GP64(), stream,
	}
	SHLQ(U8(2), d.ldt)
	SHLQ(U8(2), d.ldp)
	return d
}

// write emits the second half of a transform, of rows whose columns are in
// registers, and their stores, from q0 on. It gives the registers back.
func (g *gen) write(s *expandSpec, d *destination, held [][]Op) {
	for _, vals := range held {
		LEAQ(Mem{Base: d.q0, Index: d.ldp, Scale: 2}, d.q3)
		ADDQ(d.ldp, d.q3)
		i := 0
		for grp := range 4 {
			for _, r := range g.group(s, grp, func(s sum) reg.VecPhysical { return g.combine(s, vals) }) {
				m := Mem{Base: d.q0}
				if i >= 3 {
					m.Base = d.q3
				}
				if i%3 > 0 {
					m.Index, m.Scale = d.ldp, uint8(i%3)
				}
				if d.stream {
					VMOVNTPS(r, m)
				} else {
					VMOVUPS(r, m)
				}
				g.put(r)
				i++
			}
		}
		for _, r := range vals {
			g.put(r.(reg.VecPhysical))
		}
		LEAQ(Mem{Base: d.q3, Index: d.ldp, Scale: 2}, d.q0)
		ADDQ(d.ldp, d.q0)
	}
}

// filter emits the transform of n filters, whose taps are some distance apart.
func (g *gen) filter(s expandSpec) {
	name := "wino16" + s.name + g.suffix
	g.begin(name)
	TEXT(name, NOSPLIT, "func(n int, src *float32, ldc, next int, dst *float32, ldt, ldp int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s transforms n > 0 tiles of %s, %d lanes each.", name, s.doc, g.width))
	n := Load(Param("n"), GP64())
	src := Load(Param("src"), GP64())
	step := Load(Param("ldc"), GP64())
	next := Load(Param("next"), GP64())
	SHLQ(U8(2), step)
	SHLQ(U8(2), next)
	row, p := GP64(), GP64()
	LEAQ(Mem{Base: step, Index: step, Scale: 2}, row)
	d := g.destination(false)
	g.constants(s.first, s.a[0], s.a[1], s.b[0], s.b[1], s.last)
	Label("tile")
	MOVQ(d.dst, d.q0)
	for _, pass := range g.passes() {
		MOVQ(src, p)
		var held [][]Op
		for c := range s.in {
			col := []Op{Mem{Base: p}, Mem{Base: p, Index: row, Scale: 1}, Mem{Base: p, Index: row, Scale: 2}}
			held = g.hold(&s, pass, held, func(_ int, s sum) reg.VecPhysical { return g.combine(s, col) })
			if c < s.in-1 {
				ADDQ(step, p)
			}
		}
		g.write(&s, d, held)
	}
	ADDQ(next, src)
	ADDQ(d.ldt, d.dst)
	DECQ(n)
	JNZ(LabelRef("tile"))
	VZEROUPPER()
	RET()
}

// hold emits the first half of a transform of the next column, for the groups
// of a pass, and adds what it computes to the rows that are held.
func (g *gen) hold(s *expandSpec, pass []int, held [][]Op, combine func(group int, s sum) reg.VecPhysical) [][]Op {
	i := 0
	for _, grp := range pass {
		for _, r := range g.group(s, grp, func(s sum) reg.VecPhysical { return combine(grp, s) }) {
			if i == len(held) {
				held = append(held, nil)
			}
			held[i] = append(held[i], r)
			i++
		}
	}
	return held
}

const vector = 4 * lanes // bytes from a pixel to the next

// pixels emits the transform of the tiles of a row of an image. Rows of pixels
// outside are a row of zeros that lies elsewhere, and what a column outside would
// give is set to zero out of line. sums: the pixels are added up as well.
func (g *gen) pixels(s expandSpec, stream, sums bool) {
	name, args := "wino16"+s.name, ""
	if stream {
		name += "Stream"
	}
	if sums {
		args = ", sums *float32"
	}
	name += g.suffix
	g.begin(name)
	TEXT(name, NOSPLIT, "func(n int, src *float32, lds, top, rows, left, first, last2, last int, dst *float32, ldt, ldp int"+args+")")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s transforms n > 0 tiles of %s,", name, s.doc),
		fmt.Sprintf("%d lanes each. src is the first pixel inside, after top rows and left columns", g.width),
		"outside. So many rows are inside, and those columns of the first tile, the last",
		"but one and the last whose bit is set.")
	r := g.pixelRows(&s)
	cols := Load(Param("first"), GP64()).(reg.GPVirtual)
	n := Load(Param("n"), GP64())
	d := g.destination(stream)
	g.constants(s.first, s.a[0], s.a[1], s.b[0], s.b[1], s.last)
	var total reg.VecPhysical
	if sums {
		total = g.get()
		g.zero(total)
	}
	type outside struct {
		label string
		regs  []reg.VecPhysical
	}
	var outsides []outside
	Label("tile")
	MOVQ(d.dst, d.q0)
	for i, pass := range g.passes() {
		var held [][]Op
		for c := range s.in {
			label := fmt.Sprintf("%d_%d", i, c)
			TESTL(U32(1<<c), cols.As32())
			JEQ(LabelRef("outside" + label))
			var col []Op
			for _, at := range r.at {
				col = append(col, Mem{Base: at, Disp: vector * c})
			}
			held = g.hold(&s, pass, held, func(group int, s sum) reg.VecPhysical {
				if sums && group == 1 { // whose sums have each row once
					for _, t := range s {
						VADDPS(col[t.i], total, total)
					}
				}
				return g.combine(s, col)
			})
			Label("inside" + label)
			o := outside{label: label}
			for _, row := range held {
				o.regs = append(o.regs, row[c].(reg.VecPhysical))
			}
			outsides = append(outsides, o)
		}
		g.write(&s, d, held)
	}
	for i, at := range r.at {
		ADDQ(r.step[i], at)
	}
	ADDQ(d.ldt, d.dst)
	MOVL(U32(1<<s.in-1), cols.As32())
	DECQ(n)
	JZ(LabelRef("done"))
	CMPQ(n, U8(2))
	JGT(LabelRef("tile"))
	Load(Param("last2"), cols)
	JEQ(LabelRef("tile"))
	Load(Param("last"), cols)
	JMP(LabelRef("tile"))
	Label("done")
	if sums {
		p := Load(Param("sums"), GP64())
		TESTQ(p, p)
		JZ(LabelRef("unwanted"))
		VADDPS(Mem{Base: p}, total, total)
		VMOVUPS(total, Mem{Base: p})
		Label("unwanted")
	}
	if stream {
		SFENCE()
	}
	VZEROUPPER()
	RET()
	for _, o := range outsides {
		Label("outside" + o.label)
		for _, r := range o.regs {
			g.zero(r)
		}
		JMP(LabelRef("inside" + o.label))
	}
}

// pixelRows are the rows of pixels of a tile.
type pixelRows struct {
	at   []reg.GPVirtual // the tile's first column
	step []Mem           // bytes to the next tile, none for rows of zeros
}

// pixelRows emits the addresses of rows.
func (g *gen) pixelRows(s *expandSpec) *pixelRows {
	zeros := GLOBL(g.kernel+"_zeros", RODATA|NOPTR)
	DATA(vector*s.in-8, U64(0))
	src := Load(Param("src"), GP64())
	lds := Load(Param("lds"), GP64())
	rows := Load(Param("rows"), GP64())
	left := Load(Param("left"), GP64())
	SHLQ(U8(2), lds)
	IMUL3Q(Imm(vector), left, left)
	SUBQ(left, src)
	elsewhere, i := GP64(), GP64() // i counts rows from the first inside
	LEAQ(zeros, elsewhere)
	XORL(i.As32(), i.As32())
	SUBQ(paramAddr("top"), i)
	frame := AllocLocal(8 * s.in)
	x := &pixelRows{}
	for r := range s.in {
		at, step, label := GP64(), frame.Offset(8*r), fmt.Sprintf("row%d", r)
		MOVQ(elsewhere, at)
		MOVQ(U32(0), step)
		CMPQ(i, rows)
		JCC(LabelRef(label)) // also if i < 0
		MOVQ(src, at)
		MOVQ(U32(4*vector), step)
		ADDQ(lds, src)
		Label(label)
		if r < s.in-1 {
			INCQ(i)
		}
		x.at, x.step = append(x.at, at), append(x.step, step)
	}
	return x
}

// halves returns the inputs that rows of the given parity use: sums and value 0
// for even rows, differences for odd ones, and value 5. fresh are the registers
// to give back.
func (g *gen) halves(rows []sum, m [6]Op) (in [6]Op, fresh []reg.VecPhysical) {
	in[m0], in[m5] = m[0], m[5]
	uses := map[int]bool{}
	for _, s := range rows {
		for _, t := range s {
			uses[t.i] = true
		}
	}
	for _, k := range []struct{ i, x, y int }{{sa, 1, 2}, {da, 1, 2}, {sb, 3, 4}, {db, 3, 4}} {
		if !uses[k.i] {
			continue
		}
		r := g.get()
		x := m[k.x]
		if _, ok := x.(Mem); ok {
			VMOVUPS(x, r)
			x = r
		}
		if k.i == sa || k.i == sb {
			VADDPS(m[k.y], x, r)
		} else {
			VSUBPS(m[k.y], x, r)
		}
		in[k.i] = r
		fresh = append(fresh, r)
	}
	return in, fresh
}

// reduce emits the transform of n tiles from 6×6 to out×out vectors.
func (g *gen) reduce(s reduceSpec) {
	name := "wino16" + s.name + g.suffix
	g.begin(name)
	sig := "func(n int, src *float32, ldt, ldp int, dst *float32)"
	if s.bias {
		sig = "func(n int, src *float32, ldt, ldp int, bias *float32, low float32, dst *float32, ldd, all, last int)"
	}
	TEXT(name, NOSPLIT, sig)
	Pragma("noescape")
	doc := []string{fmt.Sprintf("%s transforms n > 0 tiles back to %s, %d lanes each.", name, s.doc, g.width)}
	if s.bias {
		doc = append(doc, "Only pixels are written whose bit is set in last for the last tile, in all for others.")
	}
	Doc(doc...)
	n := Load(Param("n"), GP64())
	src := Load(Param("src"), GP64())
	ldt := Load(Param("ldt"), GP64())
	ldp := Load(Param("ldp"), GP64())
	dst := Load(Param("dst"), GP64())
	SHLQ(U8(2), ldt)
	SHLQ(U8(2), ldp)
	var bias, ldd reg.Register
	var there reg.GPVirtual // pixels to be written, a bit each
	if s.bias {
		there = GP64()
		bias = Load(Param("bias"), GP64())
		ldd = Load(Param("ldd"), GP64())
		SHLQ(U8(2), ldd)
	}
	g.constants(s.rows[:]...)
	var low reg.VecPhysical
	if s.bias {
		low = g.get()
		VBROADCASTSS(paramAddr("low"), low)
	}
	l6, p0, p3, q := GP64(), GP64(), GP64(), GP64()
	LEAQ(Mem{Base: ldp, Index: ldp, Scale: 2}, l6)
	ADDQ(l6, l6)
	if s.bias {
		Label("next")
		Load(Param("all"), there)
		CMPQ(n, U8(1))
		JNE(LabelRef("tile"))
		Load(Param("last"), there)
	}
	Label("tile")
	for parity := range 2 {
		var part []sum
		for i := parity; i < s.out; i += 2 {
			part = append(part, s.rows[i])
		}
		MOVQ(src, p0)
		LEAQ(Mem{Base: p0, Index: l6, Scale: 2}, p3)
		ADDQ(l6, p3)
		var held [2][6]Op
		for c := range 6 {
			var col [6]Op
			for r := range 6 {
				m := Mem{Base: p0}
				if r >= 3 {
					m.Base = p3
				}
				if r%3 > 0 {
					m.Index, m.Scale = l6, uint8(r%3)
				}
				col[r] = m
			}
			in, fresh := g.halves(part, col)
			for i, row := range part {
				held[i][c] = g.combine(row, in[:])
			}
			for _, r := range fresh {
				g.put(r)
			}
			if c < 5 {
				ADDQ(ldp, p0)
				ADDQ(ldp, p3)
			}
		}
		MOVQ(dst, q)
		if s.bias && parity == 1 {
			ADDQ(ldd, q)
		}
		for i := range part {
			for half := range 2 {
				var cols []sum
				for j := half; j < s.out; j += 2 {
					cols = append(cols, s.rows[j])
				}
				in, fresh := g.halves(cols, held[i])
				for k, c := range cols {
					j := 2*k + half
					r := g.combine(c, in[:])
					if s.bias {
						VADDPS(Mem{Base: bias}, r, r)
						VMAXPS(r, low, r) // a NaN in r stays one
						m := Mem{Base: q, Disp: 64 * j}
						pixel := 4*(2*i+parity) + j
						absent := fmt.Sprintf("absent%d", pixel)
						TESTL(U32(1<<pixel), there.As32())
						JEQ(LabelRef(absent))
						if s.stream {
							VMOVNTPS(r, m)
						} else {
							VMOVUPS(r, m)
						}
						Label(absent)
					} else {
						VMOVUPS(r, Mem{Base: dst, Disp: 64 * (3*(2*i+parity) + j)})
					}
					g.put(r)
				}
				for _, r := range fresh {
					g.put(r)
				}
			}
			for _, r := range held[i] {
				g.put(r.(reg.VecPhysical))
			}
			if s.bias && i < len(part)-1 {
				LEAQ(Mem{Base: q, Index: ldd, Scale: 2}, q)
			}
		}
	}
	ADDQ(ldt, src)
	again := "tile"
	if s.bias {
		ADDQ(U32(4*64), dst)
		again = "next"
	} else {
		ADDQ(U32(9*64), dst)
	}
	DECQ(n)
	JNZ(LabelRef(again))
	if s.stream {
		SFENCE()
	}
	VZEROUPPER()
	RET()
}

// paramAddr returns where a parameter lies.
func paramAddr(name string) Mem {
	b, err := Param(name).Resolve()
	if err != nil {
		log.Fatal(err)
	}
	return b.Addr
}

// prefetch emits the request of n lines.
func (g *gen) prefetch() {
	name := "wino16Prefetch" + g.suffix
	TEXT(name, NOSPLIT, "func(n int, src *float32)")
	Pragma("noescape")
	Doc(name + " asks for n > 0 lines of 64 bytes to be brought near, into the second cache.")
	n := Load(Param("n"), GP64())
	src := Load(Param("src"), GP64())
	Label("loop")
	PREFETCHT1(Mem{Base: src})
	ADDQ(U32(64), src)
	DECQ(n)
	JNZ(LabelRef("loop"))
	RET()
}
