// Command blocked generates the kernels of package asm for convolutions of
// blocked arrays, in which 16 channels of a pixel lie side by side.
//
//	go run ./blocked -isa avx512 -out FILE.s -stubs FILE.go -pkg asm
package main

import (
	"flag"
	"fmt"
	"log"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// A target is the register file that kernels are laid out in.
type target struct {
	suffix string // of the function names
	width  int    // lanes of a vector
	pixels int    // of the largest tile: 2·pixels accumulators, 2 of the filters and 2 broadcasts fill the file
	groups int    // of 16 filters, at most
	// chans is how many channels a kernel of the gradient of the weights has: as
	// many accumulators for each vector of filters.
	chans int
	vec   []reg.VecPhysical // the whole file
}

var targets = map[string]target{
	"avx512": {"AVX512", 16, 14, 2, 8, []reg.VecPhysical{
		reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7,
		reg.Z8, reg.Z9, reg.Z10, reg.Z11, reg.Z12, reg.Z13, reg.Z14, reg.Z15,
		reg.Z16, reg.Z17, reg.Z18, reg.Z19, reg.Z20, reg.Z21, reg.Z22, reg.Z23,
		reg.Z24, reg.Z25, reg.Z26, reg.Z27, reg.Z28, reg.Z29, reg.Z30, reg.Z31,
	}},
	"avx2": {"AVX2", 8, 6, 1, 4, []reg.VecPhysical{
		reg.Y0, reg.Y1, reg.Y2, reg.Y3, reg.Y4, reg.Y5, reg.Y6, reg.Y7,
		reg.Y8, reg.Y9, reg.Y10, reg.Y11, reg.Y12, reg.Y13, reg.Y14, reg.Y15,
	}},
}

// lanes is the number of channels that the blocked layout keeps together.
const lanes = 16

// unroll is how many channels a turn of the inner loop of a tile has.
const unroll = 4

func main() {
	isa := flag.String("isa", "", "avx512 or avx2")
	flag.Parse()
	t, ok := targets[*isa]
	if !ok {
		log.Fatalf("blocked: -isa %q is neither avx512 nor avx2", *isa)
	}
	ConstraintExpr("!noasm")
	for groups := 1; groups <= t.groups; groups++ {
		for pixels := 1; pixels <= t.pixels; pixels++ {
			t.tile(pixels, groups)
		}
		t.weights(groups)
	}
	Generate()
}

func (t target) zero(v reg.VecPhysical) {
	if t.width == 16 {
		VPXORD(v, v, v)
	} else {
		VXORPS(v, v, v)
	}
}

// param returns the place of an argument in memory.
func param(name string) Mem {
	c, err := Param(name).Resolve()
	if err != nil {
		log.Fatal(err)
	}
	return c.Addr
}

// tile emits the sums of all taps, each of 16 channels, for some pixels and
// groups of filters, in registers from the first tap to the last.
func (t target) tile(pixels, groups int) {
	name := fmt.Sprintf("blockedTile%dx%d%s", pixels, groups*lanes, t.suffix)
	TEXT(name, NOSPLIT, "func(tiles, taps int, x *float32, off *int, ldx int, w, bias *float32, floor float32, y *float32, ldy, ldg int, acc bool)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s computes tiles > 0 tiles of %d pixels, one behind the other, of %d filters f = 16·g+l:", name, pixels, groups*lanes),
		fmt.Sprintf("y[g·ldg+i·ldy+l] = max(floor, bias[f] + Σ w[(16·t+c)·%d+f]·x[off[t]+i·ldx+c]),", groups*lanes),
		"where with acc y takes the place of bias.")
	vecs := groups * lanes / t.width
	vbytes := 4 * t.width
	last := len(t.vec)
	acc := func(i, j int) reg.VecPhysical { return t.vec[vecs*i+j] }
	wv := [2]reg.VecPhysical{t.vec[last-4], t.vec[last-3]}
	xv := [2]reg.VecPhysical{t.vec[last-2], t.vec[last-1]}

	x := Load(Param("x"), GP64())
	ldx := Load(Param("ldx"), GP64())
	y := Load(Param("y"), GP64())
	ldy := Load(Param("ldy"), GP64())
	ldg := Load(Param("ldg"), GP64())
	for _, r := range []reg.Register{ldx, ldy, ldg} {
		SHLQ(U8(2), r)
	}
	// out calls f for every vector of the tile in y.
	out := func(f func(i, j int, m Mem)) {
		to := GP64()
		MOVQ(y, to)
		for i := range pixels {
			for j := range vecs {
				m := Mem{Base: to, Disp: j * vbytes}
				if j*t.width >= lanes {
					m = Mem{Base: to, Index: ldg, Scale: 1, Disp: j*vbytes - 4*lanes}
				}
				f(i, j, m)
			}
			if i < pixels-1 {
				ADDQ(ldy, to)
			}
		}
	}
	Label("tile")
	add := Load(Param("acc"), GP8())
	TESTB(add, add)
	JZ(LabelRef("bias"))
	out(func(i, j int, m Mem) { VMOVUPS(m, acc(i, j)) })
	JMP(LabelRef("sum"))
	Label("bias")
	bias := Load(Param("bias"), GP64())
	for j := range vecs {
		VMOVUPS(Mem{Base: bias, Disp: j * vbytes}, acc(0, j))
		for i := 1; i < pixels; i++ {
			VMOVAPS(acc(0, j), acc(i, j))
		}
	}
	// The lines of the output arrive meanwhile.
	out(func(i, j int, m Mem) {
		if j*t.width%lanes == 0 {
			PREFETCHT0(m)
		}
	})

	Label("sum")
	off := Load(Param("off"), GP64())
	taps := Load(Param("taps"), GP64())
	w := Load(Param("w"), GP64())
	// heads are every third pixel.
	heads := []reg.GPVirtual{GP64()}
	for i := 3; i < pixels; i += 3 {
		heads = append(heads, GP64())
	}
	turns := GP64()
	Label("tap")
	MOVQ(Mem{Base: off}, heads[0])
	LEAQ(Mem{Base: x, Index: heads[0], Scale: 4}, heads[0])
	for i := 1; i < len(heads); i++ {
		LEAQ(Mem{Base: heads[i-1], Index: ldx, Scale: 2}, heads[i])
		ADDQ(ldx, heads[i])
	}
	MOVQ(U32(lanes/unroll), turns)
	Label("turn")
	for u := range unroll {
		for j := range vecs {
			VMOVUPS(Mem{Base: w, Disp: u*4*groups*lanes + j*vbytes}, wv[j])
		}
		for i := range pixels {
			from := Mem{Base: heads[i/3], Disp: 4 * u}
			if i%3 > 0 {
				from.Index, from.Scale = ldx, uint8(i%3)
			}
			VBROADCASTSS(from, xv[i%2])
			for j := range vecs {
				VFMADD231PS(wv[j], xv[i%2], acc(i, j))
			}
		}
	}
	for _, h := range heads {
		ADDQ(U8(4*unroll), h)
	}
	ADDQ(U32(unroll*4*groups*lanes), w)
	DECQ(turns)
	JNZ(LabelRef("turn"))
	ADDQ(U8(8), off)
	DECQ(taps)
	JNZ(LabelRef("tap"))

	f := wv[0]
	VBROADCASTSS(param("floor"), f)
	for i := range pixels {
		for j := range vecs {
			VMAXPS(acc(i, j), f, acc(i, j)) // a NaN stays one
		}
	}
	out(func(i, j int, m Mem) { VMOVUPS(acc(i, j), m) })
	step := GP64()
	IMUL3Q(U8(pixels), ldx, step)
	ADDQ(step, x)
	IMUL3Q(U8(pixels), ldy, step)
	ADDQ(step, y)
	DECQ(param("tiles"))
	JNZ(LabelRef("tile"))
	VZEROUPPER()
	RET()
}

// weights emits the products of some channels and groups of filters, summed
// over pixels.
func (t target) weights(groups int) {
	name := fmt.Sprintf("blockedWeights%dx%d%s", t.chans, groups*lanes, t.suffix)
	TEXT(name, NOSPLIT, "func(rows, n int, dy *float32, ldr, ldg int, x *float32, ldq, ldx int, dw *float32, ldw int, add bool)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s computes the gradient of %d channels c of %d filters f = 16·g+l:", name, t.chans, groups*lanes),
		"dw[c·ldw+f] = Σ dy[g·ldg+j·ldr+16·i+l]·x[j·ldq+i·ldx+c]",
		"over rows > 0 rows j of n > 0 pixels i, and adds what is there if add is set.")
	vecs := groups * lanes / t.width
	vbytes := 4 * t.width
	acc := func(c, j int) reg.VecPhysical { return t.vec[vecs*c+j] }
	last := len(t.vec)
	dv := make([]reg.VecPhysical, vecs)
	for j := range dv {
		dv[j] = t.vec[last-1-j]
	}
	xv := [2]reg.VecPhysical{t.vec[last-vecs-1], t.vec[last-vecs-2]}

	dy := Load(Param("dy"), GP64())
	x := Load(Param("x"), GP64())
	ldx := Load(Param("ldx"), GP64())
	ldg := Load(Param("ldg"), GP64())
	ldr := Load(Param("ldr"), GP64())
	ldq := Load(Param("ldq"), GP64())
	ldw := Load(Param("ldw"), GP64())
	dw := Load(Param("dw"), GP64())
	rows := Load(Param("rows"), GP64())
	for _, r := range []reg.Register{ldx, ldg, ldr, ldq, ldw} {
		SHLQ(U8(2), r)
	}
	for c := range t.chans {
		for j := range vecs {
			t.zero(acc(c, j))
		}
	}
	dp, xp, n := GP64(), GP64(), GP64()
	Label("row")
	MOVQ(dy, dp)
	MOVQ(x, xp)
	Load(Param("n"), n)
	Label("pixel")
	for j := range vecs {
		m := Mem{Base: dp, Disp: j * vbytes}
		if j*t.width >= lanes {
			m = Mem{Base: dp, Index: ldg, Scale: 1, Disp: j*vbytes - 4*lanes}
		}
		VMOVUPS(m, dv[j])
	}
	for c := range t.chans {
		VBROADCASTSS(Mem{Base: xp, Disp: 4 * c}, xv[c%2])
		for j := range vecs {
			VFMADD231PS(dv[j], xv[c%2], acc(c, j))
		}
	}
	ADDQ(U8(4*lanes), dp)
	ADDQ(ldx, xp)
	DECQ(n)
	JNZ(LabelRef("pixel"))
	ADDQ(ldr, dy)
	ADDQ(ldq, x)
	DECQ(rows)
	JNZ(LabelRef("row"))

	add := Load(Param("add"), GP8())
	TESTB(add, add)
	JZ(LabelRef("store"))
	to := GP64()
	MOVQ(dw, to)
	for c := range t.chans {
		for j := range vecs {
			VADDPS(Mem{Base: to, Disp: j * vbytes}, acc(c, j), acc(c, j))
		}
		if c < t.chans-1 {
			ADDQ(ldw, to)
		}
	}
	Label("store")
	for c := range t.chans {
		for j := range vecs {
			VMOVUPS(acc(c, j), Mem{Base: dw, Disp: j * vbytes})
		}
		if c < t.chans-1 {
			ADDQ(ldw, dw)
		}
	}
	VZEROUPPER()
	RET()
}
