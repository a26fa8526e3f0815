package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// sumTaps emits the sums over taps of a tile of rows × vecs accumulators: row i
// gets the products of its scalar and of every vector. vectors loads the
// vectors of a tap, scalar says where that of a row is.
func sumTaps(label string, taps Mem, acc [][]reg.VecVirtual, off reg.Register, vectors func(v []reg.VecVirtual), scalar func(i int) Mem, advance func()) {
	n := GP64()
	v := make([]reg.VecVirtual, len(acc[0]))
	for j := range v {
		v[j] = vec()
	}
	s := make([]reg.VecVirtual, t.broadcasts)
	for i := range s {
		s[i] = vec()
	}
	MOVQ(taps, n)
	Label(label)
	vectors(v)
	for i := range acc {
		b := s[i%len(s)]
		VBROADCASTSS(scalar(i), b)
		for j := range v {
			VFMADD231PS(v[j], b, acc[i][j])
		}
	}
	advance()
	ADDQ(U8(8), off)
	DECQ(n)
	JNZ(LabelRef(label))
}

func accumulators(rows, vecs int) [][]reg.VecVirtual {
	acc := make([][]reg.VecVirtual, rows)
	for i := range acc {
		acc[i] = make([]reg.VecVirtual, vecs)
		for j := range acc[i] {
			acc[i][j] = vec()
		}
	}
	return acc
}

// atLeast emits the maxima of the accumulators and the argument floor, of which
// a NaN is the accumulator's.
func atLeast(acc [][]reg.VecVirtual) {
	f := vec()
	VBROADCASTSS(param("floor"), f)
	for _, row := range acc {
		for _, a := range row {
			VMAXPS(a, f, a)
		}
	}
}

// store emits a store of a vector, or one that goes past the caches.
func store(stream bool, v reg.VecVirtual, m Mem) {
	if stream {
		VMOVNTPS(v, m)
	} else {
		VMOVUPS(v, m)
	}
}

// forwardPixels emits the convolution with pixels in the lanes.
func forwardPixels() {
	name := "directPixels" + t.suffix
	TEXT(name, NOSPLIT, "func(n, filters, taps int, x *float32, off *int, w, bias *float32, floor float32, y *float32, ldy int, stream bool)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s computes n > 0 pixels of a row of the first filters of a panel of %d:", name, t.panel),
		fmt.Sprintf("y[f·ldy+i] = max(floor, bias[f] + Σ w[%d·t+f]·x[off[t]+i]).", t.panel))
	n := Load(Param("n"), GP64())
	x := Load(Param("x"), GP64())
	y := Load(Param("y"), GP64())
	ldy := Load(Param("ldy"), GP64())
	SHLQ(U8(2), ldy)
	Label("tile")
	const most = 3
	for vecs := most; vecs > 0; vecs-- {
		l := func(s string) string { return fmt.Sprintf("%s%d", s, vecs) }
		Label(l("vecs"))
		if vecs > 1 {
			CMPQ(n, U8((vecs-1)*t.width))
			JLE(LabelRef(fmt.Sprintf("vecs%d", vecs-1)))
		}
		acc := accumulators(t.panel, vecs)
		bias := Load(Param("bias"), GP64())
		for i := range acc {
			VBROADCASTSS(Mem{Base: bias, Disp: 4 * i}, acc[i][0])
			for j := 1; j < vecs; j++ {
				VMOVAPS(acc[i][0], acc[i][j])
			}
		}
		off := Load(Param("off"), GP64())
		w := Load(Param("w"), GP64())
		at := GP64()
		sumTaps(l("taps"), param("taps"), acc, off, func(v []reg.VecVirtual) {
			MOVQ(Mem{Base: off}, at)
			for j := range v {
				VMOVUPS(Mem{Base: x, Index: at, Scale: 4, Disp: j * t.bytes()}, v[j])
			}
		}, func(i int) Mem { return Mem{Base: w, Disp: 4 * i} }, func() { ADDQ(U8(4*t.panel), w) })
		atLeast(acc)

		to, filters := GP64(), Load(Param("filters"), GP64())
		MOVQ(y, to)
		rows := func(label string, one func(row []reg.VecVirtual)) {
			for i, row := range acc {
				one(row)
				if i < len(acc)-1 {
					DECQ(filters)
					JZ(LabelRef(l(label)))
					ADDQ(ldy, to)
				}
			}
			Label(l(label))
		}
		CMPQ(n, U8(vecs*t.width))
		JL(LabelRef(l("part")))
		stream := Load(Param("stream"), GP8())
		TESTB(stream, stream)
		JNZ(LabelRef(l("stream")))
		for _, s := range []bool{false, true} {
			label := "stored"
			if s {
				Label(l("stream"))
				label = "streamed"
			}
			rows(label, func(row []reg.VecVirtual) {
				for j, a := range row {
					store(s, a, Mem{Base: to, Disp: j * t.bytes()})
				}
			})
			if !s {
				JMP(LabelRef(l("next")))
			}
		}
		Label(l("next"))
		ADDQ(U32(vecs*t.bytes()), x)
		ADDQ(U32(vecs*t.bytes()), y)
		SUBQ(U32(vecs*t.width), n)
		JNZ(LabelRef("tile"))
		JMP(LabelRef("done"))

		Label(l("part"))
		if vecs > 1 {
			SUBQ(U8((vecs-1)*t.width), n)
		}
		mask := firstOf(n.(reg.GPVirtual))
		rows("parted", func(row []reg.VecVirtual) {
			for j, a := range row {
				m := Mem{Base: to, Disp: j * t.bytes()}
				if j == len(row)-1 {
					storeFirst(a, mask, m)
				} else {
					VMOVUPS(a, m)
				}
			}
		})
		if vecs > 1 {
			JMP(LabelRef("done"))
		}
	}
	Label("done")
	VZEROUPPER()
	RET()
}

// forwardLanes emits the convolution with filters in the lanes.
//
// A store takes time of the multiply-adds that wait beside it for their turn,
// and a burst of stores waits for memory. So pixels go through slots that are a
// part of the taps apart: while one slot is stored and begins its next pixels,
// the sums of the others go on. The lines of the pixels after those are brought
// near before they are written, which is faster than stores past the caches.
func forwardLanes(blocks int) {
	name := fmt.Sprintf("directLanes%d%s", blocks, t.suffix)
	TEXT(name, NOSPLIT, "func(rows, n, taps, part int, x *float32, off *int, ldx int, w, bias *float32, floor float32, y *float32, ldy, ldb int, ahead *float32, lines int, ahead2 *float32, lines2 int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s computes n > 0 pixels of each of rows > 0 rows of %d filters f = 16·b+l:", name, blocks*lanes),
		fmt.Sprintf("y[b·ldb+j·ldy+16·i+l] = max(floor, bias[f] + Σ w[%d·t+f]·x[off[t]+j·ldx+i]).", blocks*lanes),
		fmt.Sprintf("Meanwhile it fetches as many lines from ahead and from ahead2 on, one for every %d pixels.", t.pixels),
		fmt.Sprintf("part is taps/%d.", t.slots))
	l := newLanes(blocks * lanes / t.width)
	// at returns slots in the order of the parts that they are at: the first
	// has begun, the last of all ends.
	at := func(phase, parts int) []*slot {
		v := make([]*slot, parts)
		for i := range v {
			v[i] = &l.slots[(phase-i)%t.slots]
		}
		return v
	}
	last := t.slots - 1
	for phase := range last {
		l.start(fmt.Sprintf("first%d", phase), &l.slots[phase])
		l.sum(fmt.Sprintf("begin%d", phase), at(phase, phase+1))
	}
	// Behind the last pixels a slot goes on with its old ones, in vain.
	Label("pixels")
	for i := range t.slots {
		label := func(what string) string { return fmt.Sprintf("%s%d", what, i) }
		l.start(label("next"), &l.slots[(i+last)%t.slots])
		l.sum(label("taps"), at(i+last, t.slots))
		l.finish(label, &l.slots[i])
		CMPQ(l.slots[(i+1)%t.slots].n, U8(0))
		JE(LabelRef("done"))
	}
	JMP(LabelRef("pixels"))
	Label("done")
	VZEROUPPER()
	RET()
}

// A slot is where some pixels of a row are being computed.
type slot struct {
	x    reg.GPVirtual // where the taps of the first find it
	y, n Mem           // its place in y, and the number of the pixels, 0 for none
	acc  [][]reg.VecVirtual
}

// laneKernel is what the parts of a kernel of forwardLanes share.
type laneKernel struct {
	vecs  int // vectors of a pixel
	slots []slot
	// The next pixels, how many are left in their row, 0 behind the last row.
	// The arguments x and y are where the row begins.
	x, y, left Mem
	// A part of the taps is so many, and their filters have so many bytes: the
	// multiples of both.
	part, skip []reg.GPVirtual
}

// newLanes emits the beginning of a kernel.
func newLanes(vecs int) *laneKernel {
	l := &laneKernel{vecs: vecs, x: AllocLocal(8), y: AllocLocal(8), left: AllocLocal(8)}
	at := GP64()
	for _, ld := range []string{"ldx", "ldy", "ldb"} {
		SHLQ(U8(2), param(ld))
	}
	for _, c := range []struct {
		from string
		to   Mem
	}{{"x", l.x}, {"y", l.y}, {"n", l.left}} {
		Load(Param(c.from), at)
		MOVQ(at, c.to)
	}
	for i := range t.slots {
		l.slots = append(l.slots, slot{GP64(), AllocLocal(8), AllocLocal(8), accumulators(t.pixels, vecs)})
		Load(Param("x"), l.slots[i].x)
	}
	for i := range t.slots - 1 {
		part, skip := GP64(), GP64()
		Load(Param("part"), part)
		if i > 0 {
			ADDQ(l.part[i-1], part)
		}
		IMUL3Q(U32(vecs*t.bytes()), part, skip)
		l.part, l.skip = append(l.part, part), append(l.skip, skip)
	}
	return l
}

// start gives a slot its next pixels, none behind the last row.
func (l *laneKernel) start(label string, s *slot) {
	at, left, bias := GP64(), GP64(), GP64()
	MOVQ(l.left, left)
	MOVQ(left, s.n)
	TESTQ(left, left)
	JZ(LabelRef(label + "end"))
	MOVQ(l.x, s.x)
	MOVQ(l.y, at)
	MOVQ(at, s.y)
	Load(Param("bias"), bias)
	for j := range l.vecs {
		VMOVUPS(Mem{Base: bias, Disp: j * t.bytes()}, s.acc[0][j])
		for _, a := range s.acc[1:] {
			VMOVAPS(s.acc[0][j], a[j])
		}
	}
	// The lines of the pixels that the slot will come to next.
	for block := range l.vecs * t.width / lanes {
		if block > 0 {
			ADDQ(param("ldb"), at)
		}
		for i := range t.pixels {
			PREFETCHT0(Mem{Base: at, Disp: 4 * lanes * (t.slots*t.pixels + i)})
		}
	}
	for _, c := range []struct{ name, lines string }{{"ahead", "lines"}, {"ahead2", "lines2"}} {
		DECQ(param(c.lines))
		JL(LabelRef(label + c.lines))
		Load(Param(c.name), at)
		PREFETCHT1(Mem{Base: at})
		ADDQ(U8(64), param(c.name))
		Label(label + c.lines)
	}
	ADDQ(U8(4*t.pixels), l.x)
	ADDQ(U32(4*lanes*t.pixels), l.y)
	SUBQ(U8(t.pixels), left)
	JG(LabelRef(label + "row"))
	XORQ(left, left)
	DECQ(param("rows"))
	JZ(LabelRef(label + "row"))
	Load(Param("n"), left)
	for _, c := range []struct {
		row, ld string
		next    Mem
	}{{"x", "ldx", l.x}, {"y", "ldy", l.y}} {
		Load(Param(c.row), at)
		ADDQ(param(c.ld), at)
		MOVQ(at, param(c.row))
		MOVQ(at, c.next)
	}
	Label(label + "row")
	MOVQ(left, l.left)
	Label(label + "end")
}

// sum emits the sums over the first part of the taps for the first slot, over
// the second for the second and so on.
func (l *laneKernel) sum(label string, slots []*slot) {
	off, w, n, at := GP64(), GP64(), GP64(), GP64()
	Load(Param("off"), off)
	Load(Param("w"), w)
	tap := func(part int) {
		s := slots[part]
		from, filters := Mem{Base: off}, Mem{Base: w}
		if part > 0 {
			from.Index, from.Scale = l.part[part-1], 8
			filters.Index, filters.Scale = l.skip[part-1], 1
		}
		MOVQ(from, at)
		v := make([]reg.VecVirtual, l.vecs)
		for j := range v {
			v[j] = vec()
			VMOVUPS(filters, v[j])
			filters.Disp += t.bytes()
		}
		b := make([]reg.VecVirtual, t.broadcasts)
		for i := range b {
			b[i] = vec()
		}
		for i, row := range s.acc {
			b := b[i%len(b)]
			VBROADCASTSS(Mem{Base: s.x, Index: at, Scale: 4, Disp: 4 * i}, b)
			for j, a := range row {
				VFMADD231PS(v[j], b, a)
			}
		}
	}
	next := func(label string) {
		ADDQ(U8(8), off)
		ADDQ(U32(l.vecs*t.bytes()), w)
		DECQ(n)
		JNZ(LabelRef(label))
	}
	MOVQ(l.part[0], n)
	TESTQ(n, n)
	JZ(LabelRef(label + "rest"))
	Label(label)
	for part := range slots {
		tap(part)
	}
	next(label)
	Label(label + "rest")
	last := t.slots - 1
	if len(slots) <= last {
		return
	}
	// The last part has what remains of the division too.
	Load(Param("taps"), n)
	SUBQ(l.part[last-1], n)
	SUBQ(l.part[0], n)
	JZ(LabelRef(label + "end"))
	Label(label + "one")
	tap(last)
	next(label + "one")
	Label(label + "end")
}

// finish stores the pixels of a slot.
func (l *laneKernel) finish(label func(string) string, s *slot) {
	floor := GP32()
	MOVL(param("floor"), floor)
	CMPL(floor, U32(0xff800000)) // −∞
	JE(LabelRef(label("any")))
	atLeast(s.acc)
	Label(label("any"))
	y, ldb, n := GP64(), GP64(), GP64()
	MOVQ(s.y, y)
	Load(Param("ldb"), ldb)
	MOVQ(s.n, n)
	pixel := func(i int) {
		for j, a := range s.acc[i] {
			m := Mem{Base: y, Disp: 4*lanes*i + j*t.bytes()}
			if j*t.width >= lanes {
				m = Mem{Base: y, Index: ldb, Scale: 1, Disp: 4 * lanes * i}
			}
			VMOVUPS(a, m)
		}
	}
	CMPQ(n, U8(t.pixels))
	JL(LabelRef(label("part")))
	for i := range s.acc {
		pixel(i)
	}
	JMP(LabelRef(label("stored")))
	Label(label("part"))
	for i := range t.pixels - 1 {
		pixel(i)
		DECQ(n)
		JZ(LabelRef(label("stored")))
	}
	Label(label("stored"))
}
