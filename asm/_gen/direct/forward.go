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
func forwardLanes(blocks int) {
	name := fmt.Sprintf("directLanes%d%s", blocks, t.suffix)
	TEXT(name, NOSPLIT, "func(n, taps int, x *float32, off *int, w, bias *float32, floor float32, y *float32, ldy int, stream bool)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s computes n > 0 pixels of a row of %d filters f = 16·b+l:", name, blocks*lanes),
		fmt.Sprintf("y[b·ldy+16·i+l] = max(floor, bias[f] + Σ w[%d·t+f]·x[off[t]+i]).", blocks*lanes))
	n := Load(Param("n"), GP64())
	x := Load(Param("x"), GP64())
	y := Load(Param("y"), GP64())
	ldy := Load(Param("ldy"), GP64())
	SHLQ(U8(2), ldy)
	vecs := blocks * lanes / t.width
	Label("tile")
	acc := accumulators(t.pixels, vecs)
	bias := Load(Param("bias"), GP64())
	for j := range vecs {
		VMOVUPS(Mem{Base: bias, Disp: j * t.bytes()}, acc[0][j])
		for i := 1; i < t.pixels; i++ {
			VMOVAPS(acc[0][j], acc[i][j])
		}
	}
	off := Load(Param("off"), GP64())
	w := Load(Param("w"), GP64())
	at := GP64()
	sumTaps("taps", param("taps"), acc, off, func(v []reg.VecVirtual) {
		MOVQ(Mem{Base: off}, at)
		for j := range v {
			VMOVUPS(Mem{Base: w, Disp: j * t.bytes()}, v[j])
		}
	}, func(i int) Mem { return Mem{Base: x, Index: at, Scale: 4, Disp: 4 * i} }, func() { ADDQ(U32(vecs*t.bytes()), w) })
	atLeast(acc)
	CMPQ(n, U8(t.pixels))
	JL(LabelRef("part"))
	stream := Load(Param("stream"), GP8())
	TESTB(stream, stream)
	JNZ(LabelRef("stream"))
	pixel := func(s bool, row []reg.VecVirtual, disp int) {
		for j, a := range row {
			m := Mem{Base: y, Disp: disp + j*t.bytes()}
			if j*t.width >= lanes {
				m = Mem{Base: y, Index: ldy, Scale: 1, Disp: disp}
			}
			store(s, a, m)
		}
	}
	for _, s := range []bool{false, true} {
		if s {
			Label("stream")
		}
		for i, row := range acc {
			pixel(s, row, 4*lanes*i)
		}
		if !s {
			JMP(LabelRef("next"))
		}
	}
	Label("next")
	ADDQ(U32(4*lanes*t.pixels), y)
	ADDQ(U8(4*t.pixels), x)
	SUBQ(U8(t.pixels), n)
	JNZ(LabelRef("tile"))
	JMP(LabelRef("done"))
	Label("part")
	for i, row := range acc[:t.pixels-1] {
		pixel(false, row, 4*lanes*i)
		DECQ(n)
		JZ(LabelRef("done"))
	}
	Label("done")
	VZEROUPPER()
	RET()
}
