// Command norm generates the kernels of package asm for layers that have numbers
// for each channel: elementwise maps in which those repeat every 16 elements, sums
// for each of the 16, and the root that local response normalization needs.
//
//	go run ./norm -isa avx512 -out FILE.s -stubs FILE.go -pkg asm
//
// Products of float32 are rounded before they are added, so that every ISA and the
// portable kernels give the same bits; those of float64 are exact.
package main

import (
	"flag"
	"fmt"
	"log"
	"math"
	"slices"
	"strings"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// A target is an ISA: its vector registers and how it treats a tail.
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

// lanes is after how many elements numbers repeat.
const lanes = 16

func vec() reg.VecVirtual {
	if t.avx512 {
		return ZMM()
	}
	return YMM()
}

type (
	vv = []reg.VecVirtual
	mk = func() reg.VecVirtual
	// An expr computes the outputs from vectors of the inputs and of the numbers
	// of their lanes, which it must not change; new makes scratch registers.
	expr func(in, number vv, new mk) (out vv)
)

// lanewise emits a kernel that maps arrays of n elements. Each of numbers is 16
// values, of which element i is given number i mod 16.
func lanewise(op, doc string, numbers, ins, outs []string, f expr) {
	name := op + t.suffix
	args := append(append([]string(nil), numbers...), ins...)
	for _, o := range outs {
		if !slices.Contains(args, o) {
			args = append(args, o)
		}
	}
	TEXT(name, NOSPLIT, "func(n int, "+strings.Join(args, ", ")+" *float32)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s computes %s for 0 ≤ i < n, with l = i mod 16.", name, doc))
	n := Load(Param("n"), GP64())
	ptr := map[string]reg.Register{}
	for _, p := range args {
		ptr[p] = Load(Param(p), GP64())
	}
	i := GP64()
	XORQ(i, i)
	parts := lanes / t.width // vectors of 16 elements
	loaded := make([]vv, parts)
	for part := range loaded {
		for _, s := range numbers {
			v := vec()
			VMOVUPS(Mem{Base: ptr[s], Disp: 4 * t.width * part}, v)
			loaded[part] = append(loaded[part], v)
		}
	}
	at := func(p string, part int) Mem {
		return Mem{Base: ptr[p], Index: i, Scale: 4, Disp: 4 * t.width * part}
	}
	body := func(part, disp int) {
		var in vv
		for _, p := range ins {
			v := vec()
			VMOVUPS(at(p, part+disp), v)
			in = append(in, v)
		}
		for o, v := range f(in, loaded[part], vec) {
			VMOVUPS(v, at(outs[o], part+disp))
		}
	}
	loop := func(label string, unroll int) {
		Label(label)
		CMPQ(n, U32(unroll*lanes))
		JLT(LabelRef(label + "end"))
		for u := range unroll {
			for part := range parts {
				body(part, u*parts)
			}
		}
		ADDQ(U32(unroll*lanes), i)
		SUBQ(U32(unroll*lanes), n)
		JMP(LabelRef(label))
		Label(label + "end")
	}
	if t.avx512 {
		loop("wide", 4)
	}
	loop("single", 1)
	TESTQ(n, n)
	JZ(LabelRef("done"))
	if t.avx512 {
		Comment("The rest through a mask.")
		k := tailMask(n)
		var in vv
		for _, p := range ins {
			v := ZMM()
			VMOVUPS_Z(at(p, 0), k, v)
			in = append(in, v)
		}
		for o, v := range f(in, loaded[0], vec) {
			VMOVUPS(v, k, at(outs[o], 0))
		}
	} else {
		Comment("The rest one by one.")
		l := GP64()
		XORQ(l, l)
		xmm := func() reg.VecVirtual { return XMM() }
		Label("rest")
		var in, number vv
		for _, p := range ins {
			v := XMM()
			VMOVSS(at(p, 0), v)
			in = append(in, v)
		}
		for _, s := range numbers {
			v := XMM()
			VMOVSS(Mem{Base: ptr[s], Index: l, Scale: 4}, v)
			number = append(number, v)
		}
		for o, v := range f(in, number, xmm) {
			VMOVSS(v, at(outs[o], 0))
		}
		INCQ(i)
		INCQ(l)
		DECQ(n)
		JNZ(LabelRef("rest"))
	}
	Label("done")
	VZEROUPPER()
	RET()
}

// tailMask returns a mask of the n lowest lanes, 0 < n < 16.
func tailMask(n reg.Register) reg.OpmaskVirtual {
	m, k := GP64(), K()
	MOVQ(I32(-1), m)
	BZHIQ(n, m, m)
	KMOVW(m.As32(), k)
	return k
}

// laneSums emits a kernel that adds n elements (a multiple of 16) of x to 16 sums,
// and products of those of x and y to 16 others.
func laneSums() {
	name := "laneSums" + t.suffix
	TEXT(name, NOSPLIT, "func(n int, x, y *float32, sum, dot *float64)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s adds x[i] to sum[i mod 16] and x[i]·y[i] to dot[i mod 16] for 0 ≤ i < n, n a multiple of 16.", name))
	n := Load(Param("n"), GP64())
	x := Load(Param("x"), GP64())
	y := Load(Param("y"), GP64())
	sum := Load(Param("sum"), GP64())
	dot := Load(Param("dot"), GP64())
	doubles := t.width / 2 // in a vector
	sums, dots := make(vv, lanes/doubles), make(vv, lanes/doubles)
	for v := range sums {
		sums[v], dots[v] = vec(), vec()
		VMOVUPD(Mem{Base: sum, Disp: 8 * doubles * v}, sums[v])
		VMOVUPD(Mem{Base: dot, Disp: 8 * doubles * v}, dots[v])
	}
	i := GP64()
	XORQ(i, i)
	Label("loop")
	CMPQ(i, n)
	JGE(LabelRef("done"))
	for v := range sums {
		a, b := vec(), vec()
		VCVTPS2PD(Mem{Base: x, Index: i, Scale: 4, Disp: 4 * doubles * v}, a)
		VCVTPS2PD(Mem{Base: y, Index: i, Scale: 4, Disp: 4 * doubles * v}, b)
		VADDPD(a, sums[v], sums[v])
		VFMADD231PD(a, b, dots[v])
	}
	ADDQ(U32(lanes), i)
	JMP(LabelRef("loop"))
	Label("done")
	for v := range sums {
		VMOVUPD(sums[v], Mem{Base: sum, Disp: 8 * doubles * v})
		VMOVUPD(dots[v], Mem{Base: dot, Disp: 8 * doubles * v})
	}
	VZEROUPPER()
	RET()
}

func main() {
	isa := flag.String("isa", "", "avx512 or avx2")
	flag.Parse()
	var ok bool
	if t, ok = targets[*isa]; !ok {
		log.Fatalf("norm: -isa %q is neither avx512 nor avx2", *isa)
	}
	ConstraintExpr("!noasm")

	lanewise("affine", "y[i] = a[l]·x[i] + b[l]", []string{"a", "b"}, []string{"x"}, []string{"y"}, func(in, s vv, new mk) vv {
		VMULPS(s[0], in[0], in[0])
		VADDPS(s[1], in[0], in[0])
		return in
	})
	lanewise("standardize", "y[i] = keep[i] = (x[i] − mean[l])·inverse[l]", []string{"mean", "inverse"}, []string{"x"}, []string{"y", "keep"}, func(in, s vv, new mk) vv {
		VSUBPS(s[0], in[0], in[0])
		VMULPS(s[1], in[0], in[0])
		return vv{in[0], in[0]}
	})
	lanewise("standardizeBackward", "dx[i] = (dy[i] − mean[l] − y[i]·dot[l])·inverse[l]", []string{"mean", "dot", "inverse"}, []string{"y", "dy"}, []string{"dx"}, func(in, s vv, new mk) vv {
		y, g := in[0], in[1]
		VMULPS(s[1], y, y)
		VSUBPS(s[0], g, g)
		VSUBPS(y, g, g)
		VMULPS(s[2], g, g)
		return vv{g}
	})
	lanewise("laneReLU", "y[i] = max(x[i], 0) + slope[l]·min(x[i], 0)", []string{"slope"}, []string{"x"}, []string{"y"}, func(in, s vv, new mk) vv {
		z, lo := new(), new()
		VXORPS(z, z, z)
		Comment("The second source, x, is what a NaN comes out as.")
		VMINPS(in[0], z, lo)
		VMAXPS(in[0], z, z)
		VMULPS(s[0], lo, lo)
		VADDPS(lo, z, z)
		return vv{z}
	})
	one := ConstData("normOne"+t.suffix, U32(math.Float32bits(1)))
	lanewise("laneReLUBackward", "dx[i] = dy[i]·(1 if x[i] > 0, slope[l] otherwise)", []string{"slope"}, []string{"x", "dy"}, []string{"dx"}, func(in, s vv, new mk) vv {
		z, f := new(), new()
		VXORPS(z, z, z)
		VBROADCASTSS(one, f)
		if t.avx512 {
			k := K()
			VCMPPS(U8(0x1e), z, in[0], k)
			VBLENDMPS(f, s[0], k, f)
		} else {
			VCMPPS(U8(0x1e), z, in[0], z)
			VBLENDVPS(z, f, s[0], f)
		}
		VMULPS(f, in[1], in[1])
		return vv{in[1]}
	})
	lanewise("product", "z[i] = x[i]·y[i]", nil, []string{"x", "y"}, []string{"z"}, func(in, _ vv, _ mk) vv {
		VMULPS(in[0], in[1], in[1])
		return vv{in[1]}
	})
	lanewise("power34", "y[i] = 1/(√x[i]·√√x[i])", nil, []string{"x"}, []string{"y"}, func(in, _ vv, new mk) vv {
		r, y := in[0], new()
		VSQRTPS(r, r)
		VSQRTPS(r, y)
		VMULPS(r, y, y)
		VBROADCASTSS(one, r)
		VDIVPS(y, r, y)
		return vv{y}
	})
	lanewise("lrnRatios", "dx[i] = dy[i]·p[i]; r[i] = dx[i]·x[i]/scale[i]", nil, []string{"p", "x", "scale", "dy"}, []string{"dx", "r"}, func(in, _ vv, _ mk) vv {
		p, x, scale, g := in[0], in[1], in[2], in[3]
		VMULPS(p, g, g)
		VMULPS(g, x, x)
		VDIVPS(scale, x, x)
		return vv{g, x}
	})
	lanewise("subtractProduct", "dx[i] -= alpha[l]·x[i]·r[i]", []string{"alpha"}, []string{"x", "r", "dx"}, []string{"dx"}, func(in, s vv, _ mk) vv {
		x, r, dx := in[0], in[1], in[2]
		VMULPS(s[0], x, x)
		VMULPS(r, x, x)
		VSUBPS(x, dx, dx)
		return vv{dx}
	})
	laneSums()
	Generate()
}
