// Command vec generates the vector kernels of package asm: elementwise maps
// and the lane sums behind the reductions.
//
//	go run ./vec -isa avx512 -out FILE.s -stubs FILE.go -pkg asm
//
// Products are rounded before they are added (no FMA), so that every ISA and
// the portable kernels give the same bits; all of these are limited by memory,
// not by arithmetic.
package main

import (
	"flag"
	"fmt"
	"log"
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

// vec returns a fresh full-width vector register.
func vec() reg.VecVirtual {
	if t.avx512 {
		return ZMM()
	}
	return YMM()
}

// An expr computes the outputs from vectors of the inputs and the broadcast
// scalars; new makes scratch registers as wide as the inputs.
type expr func(in, scalar []reg.VecVirtual, new func() reg.VecVirtual) (out []reg.VecVirtual)

// elementwise emits a kernel that maps arrays of n elements. ins and outs name
// pointer arguments; a name in both is updated in place.
func elementwise(op, doc string, scalars, ins, outs []string, f expr) {
	name := op + t.suffix
	var ptrs []string
	ptrs = append(ptrs, ins...)
	for _, o := range outs {
		if !contains(ptrs, o) {
			ptrs = append(ptrs, o)
		}
	}
	sig := "func(n int"
	if len(scalars) > 0 {
		sig += ", " + strings.Join(scalars, ", ") + " float32"
	}
	sig += ", " + strings.Join(ptrs, ", ") + " *float32)"
	TEXT(name, NOSPLIT, sig)
	Pragma("noescape")
	Doc(fmt.Sprintf("%s computes %s for 0 ≤ i < n.", name, doc))

	n := Load(Param("n"), GP64())
	ptr := map[string]reg.GPVirtual{}
	for _, p := range ptrs {
		ptr[p] = Load(Param(p), GP64()).(reg.GPVirtual)
	}
	var bc []reg.VecVirtual
	for _, s := range scalars {
		a, err := Param(s).Resolve()
		if err != nil {
			log.Fatal(err)
		}
		v := vec()
		VBROADCASTSS(a.Addr, v)
		bc = append(bc, v)
	}
	i := GP64()
	XORQ(i, i)

	at := func(p string, disp int) Mem { return Mem{Base: ptr[p], Index: i, Scale: 4, Disp: disp} }
	body := func(unroll int) {
		for u := range unroll {
			var in []reg.VecVirtual
			for _, p := range ins {
				v := vec()
				VMOVUPS(at(p, 4*t.width*u), v)
				in = append(in, v)
			}
			for o, v := range f(in, bc, vec) {
				VMOVUPS(v, at(outs[o], 4*t.width*u))
			}
		}
	}
	loop := func(label string, unroll int) {
		step := unroll * t.width
		Label(label)
		CMPQ(n, U32(step))
		JLT(LabelRef(label + "end"))
		body(unroll)
		ADDQ(U32(step), i)
		SUBQ(U32(step), n)
		JMP(LabelRef(label))
		Label(label + "end")
	}
	loop("wide", 4)
	loop("single", 1)
	TESTQ(n, n)
	JZ(LabelRef("done"))
	if t.avx512 {
		Comment("The rest through a mask.")
		k := tailMask(n)
		var in []reg.VecVirtual
		for _, p := range ins {
			v := ZMM()
			VMOVUPS_Z(at(p, 0), k, v)
			in = append(in, v)
		}
		for o, v := range f(in, bc, vec) {
			VMOVUPS(v, k, at(outs[o], 0))
		}
	} else {
		Comment("The rest one by one.")
		var sc []reg.VecVirtual
		for _, v := range bc {
			sc = append(sc, v.AsX().(reg.VecVirtual))
		}
		xmm := func() reg.VecVirtual { return XMM() }
		Label("rest")
		var in []reg.VecVirtual
		for _, p := range ins {
			v := XMM()
			VMOVSS(at(p, 0), v)
			in = append(in, v)
		}
		for o, v := range f(in, sc, xmm) {
			VMOVSS(v, at(outs[o], 0))
		}
		INCQ(i)
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

// lanes is how many partial sums a reduction keeps: element i is added to sum
// i mod 64, which hides the latency of the additions on every ISA.
const lanes = 64

// reduction emits a kernel that adds n elements (a multiple of 64) to the 64
// lane sums.
func reduction(op, doc string, ins []string, term func(in []Mem, new func() reg.VecVirtual, konst reg.VecVirtual) reg.VecVirtual, konst uint32) {
	name := op + t.suffix
	TEXT(name, NOSPLIT, "func(n int, "+strings.Join(ins, ", ")+", sums *float32)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s adds %s to sums[i mod 64] for 0 ≤ i < n, n a multiple of 64.", name, doc))
	n := Load(Param("n"), GP64())
	var ptr []reg.Register
	for _, p := range ins {
		ptr = append(ptr, Load(Param(p), GP64()))
	}
	sums := Load(Param("sums"), GP64())
	var kv reg.VecVirtual
	if konst != 0 {
		g, x := GP32(), XMM()
		kv = vec()
		MOVL(U32(konst), g)
		VMOVD(g, x)
		VBROADCASTSS(x, kv)
	}
	vecs := lanes / t.width
	acc := make([]reg.VecVirtual, vecs)
	for v := range acc {
		acc[v] = vec()
		VMOVUPS(Mem{Base: sums, Disp: 4 * t.width * v}, acc[v])
	}
	i := GP64()
	XORQ(i, i)
	Label("loop")
	CMPQ(i, n)
	JGE(LabelRef("done"))
	for v := range acc {
		var in []Mem
		for _, p := range ptr {
			in = append(in, Mem{Base: p, Index: i, Scale: 4, Disp: 4 * t.width * v})
		}
		VADDPS(term(in, vec, kv), acc[v], acc[v])
	}
	ADDQ(U32(lanes), i)
	JMP(LabelRef("loop"))
	Label("done")
	for v := range acc {
		VMOVUPS(acc[v], Mem{Base: sums, Disp: 4 * t.width * v})
	}
	VZEROUPPER()
	RET()
}

func contains(s []string, x string) bool {
	for _, v := range s {
		if v == x {
			return true
		}
	}
	return false
}

func main() {
	isa := flag.String("isa", "", "avx512 or avx2")
	flag.Parse()
	var ok bool
	if t, ok = targets[*isa]; !ok {
		log.Fatalf("vec: -isa %q is neither avx512 nor avx2", *isa)
	}
	ConstraintExpr("!noasm")
	type vv = []reg.VecVirtual
	type mk = func() reg.VecVirtual

	elementwise("axpy", "y[i] += alpha·x[i]", []string{"alpha"}, []string{"x", "y"}, []string{"y"}, func(in, s vv, new mk) vv {
		VMULPS(s[0], in[0], in[0])
		VADDPS(in[0], in[1], in[1])
		return vv{in[1]}
	})
	elementwise("scal", "x[i] *= alpha", []string{"alpha"}, []string{"x"}, []string{"x"}, func(in, s vv, new mk) vv {
		VMULPS(s[0], in[0], in[0])
		return vv{in[0]}
	})
	elementwise("addScalar", "x[i] += alpha", []string{"alpha"}, []string{"x"}, []string{"x"}, func(in, s vv, new mk) vv {
		VADDPS(s[0], in[0], in[0])
		return vv{in[0]}
	})
	elementwise("add", "y[i] += x[i]", nil, []string{"x", "y"}, []string{"y"}, func(in, s vv, new mk) vv {
		VADDPS(in[0], in[1], in[1])
		return vv{in[1]}
	})
	elementwise("relu", "y[i] = max(x[i], 0) + slope·min(x[i], 0)", []string{"slope"}, []string{"x"}, []string{"y"}, func(in, s vv, new mk) vv {
		z, lo := new(), new()
		VXORPS(z, z, z)
		Comment("The second source, x, is what a NaN comes out as.")
		VMINPS(in[0], z, lo)
		VMAXPS(in[0], z, z)
		VMULPS(s[0], lo, lo)
		VADDPS(lo, z, z)
		return vv{z}
	})
	elementwise("reluBackward", "dx[i] = dy[i]·(1 if x[i] > 0, slope otherwise)", []string{"one", "slope"}, []string{"x", "dy"}, []string{"dx"}, func(in, s vv, new mk) vv {
		z, f := new(), new()
		VXORPS(z, z, z)
		if t.avx512 {
			k := K()
			VCMPPS(U8(0x1e), z, in[0], k)
			VBLENDMPS(s[0], s[1], k, f)
		} else {
			VCMPPS(U8(0x1e), z, in[0], z)
			VBLENDVPS(z, s[0], s[1], f)
		}
		VMULPS(f, in[1], in[1])
		return vv{in[1]}
	})
	elementwise("sgd", "h[i] = lr·(dw[i] + decay·w[i]) + momentum·h[i]; w[i] -= h[i]", []string{"lr", "decay", "momentum"}, []string{"dw", "h", "w"}, []string{"h", "w"}, func(in, s vv, new mk) vv {
		g, h, w, d := in[0], in[1], in[2], new()
		VMULPS(s[1], w, d)
		VADDPS(d, g, g)
		VMULPS(s[0], g, g)
		VMULPS(s[2], h, h)
		VADDPS(g, h, h)
		VSUBPS(h, w, w)
		return vv{h, w}
	})

	elementwise("exp", "y[i] = exp(x[i])", nil, []string{"x"}, []string{"y"}, exp)
	elementwise("sigmoid", "y[i] = 1/(1 + exp(−x[i]))", nil, []string{"x"}, []string{"y"}, sigmoid)
	elementwise("tanh", "y[i] = tanh(x[i])", nil, []string{"x"}, []string{"y"}, tanh)

	reduction("dot", "x[i]·y[i]", []string{"x", "y"}, func(in []Mem, new func() reg.VecVirtual, _ reg.VecVirtual) reg.VecVirtual {
		v := new()
		VMOVUPS(in[0], v)
		VMULPS(in[1], v, v)
		return v
	}, 0)
	reduction("sumsq", "x[i]²", []string{"x"}, func(in []Mem, new func() reg.VecVirtual, _ reg.VecVirtual) reg.VecVirtual {
		v := new()
		VMOVUPS(in[0], v)
		VMULPS(v, v, v)
		return v
	}, 0)
	reduction("sum", "x[i]", []string{"x"}, func(in []Mem, new func() reg.VecVirtual, _ reg.VecVirtual) reg.VecVirtual {
		v := new()
		VMOVUPS(in[0], v)
		return v
	}, 0)
	reduction("asum", "|x[i]|", []string{"x"}, func(in []Mem, new func() reg.VecVirtual, abs reg.VecVirtual) reg.VecVirtual {
		v := new()
		if t.avx512 {
			VPANDD(in[0], abs, v)
		} else {
			VANDPS(in[0], abs, v)
		}
		return v
	}, 0x7fffffff)
	Generate()
}
