package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// constant is a 32-bit value in the data of the file.
type constant struct{ mem Mem }

func newConstant(name string, bits uint32) constant {
	return constant{ConstData(name+t.suffix, U32(bits))}
}

// in broadcasts the constant to a new register.
func (c constant) in(new func() reg.VecVirtual) reg.VecVirtual {
	v := new()
	VBROADCASTSS(c.mem, v)
	return v
}

// exp emits the exponential function; asm/exp.go tells how it is computed. The
// same steps are there in Go, and must give the same bits.
func exp(in, _ []reg.VecVirtual, new func() reg.VecVirtual) []reg.VecVirtual {
	float := func(name string, f float32) constant { return newConstant("exp"+name, math.Float32bits(f)) }
	if !expData {
		expHigh, expLow = float("High", 89), float("Low", -104)
		expLog2e, expMagic = float("Log2e", math.Log2E), float("Magic", 3<<22)
		expLn2Hi, expLn2Lo = float("Ln2Hi", 355./512), float("Ln2Lo", math.Ln2-355./512)
		expBias = newConstant("expBias", 127)
		for i, f := range expTerms {
			expPoly = append(expPoly, float(fmt.Sprint("Poly", i), f))
		}
		expOne = float("One", 1)
		expData = true
	}
	x, n, f, r, v := in[0], new(), new(), new(), new()
	// Of a NaN the second source, x, comes out.
	VMINPS(x, expHigh.in(new), x)
	VMAXPS(x, expLow.in(new), x)
	VMULPS(expLog2e.in(new), x, n)
	magic := expMagic.in(new)
	VADDPS(magic, n, n)
	VSUBPS(magic, n, f)
	VPSUBD(magic, n, n)
	VMULPS(expLn2Hi.in(new), f, v)
	VSUBPS(v, x, r)
	VMULPS(expLn2Lo.in(new), f, v)
	VSUBPS(v, r, r)
	q := expPoly[0].in(new)
	for _, c := range expPoly[1:] {
		VMULPS(r, q, q)
		VADDPS(c.in(new), q, q)
	}
	VMULPS(r, r, v)
	VMULPS(v, q, q)
	VADDPS(r, q, q)
	VADDPS(expOne.in(new), q, q)
	half := new()
	VPSRAD(U8(1), n, half)
	VPSUBD(half, n, n)
	bias := expBias.in(new)
	for _, e := range []reg.VecVirtual{half, n} {
		VPADDD(bias, e, e)
		VPSLLD(U8(23), e, e)
		VMULPS(e, q, q)
	}
	return []reg.VecVirtual{q}
}

// The constants of exp, made at its first use.
var (
	expData                                                                  bool
	expHigh, expLow, expLog2e, expMagic, expLn2Hi, expLn2Lo, expBias, expOne constant
	expPoly                                                                  []constant
)

// expTerms interpolate (exp(r) − 1 − r)/r² at the Chebyshev points of
// |r| ≤ ln 2/2, highest power first.
var expTerms = []float32{0x1.6d10fep-10, 0x1.120b64p-07, 0x1.55551ap-05, 0x1.5554dep-03, 0.5}

// floats makes constants of numbers at the first use.
type floats map[string]constant

func (f floats) get(name string, v float32, new func() reg.VecVirtual) reg.VecVirtual {
	if _, ok := f[name]; !ok {
		f[name] = newConstant(name, math.Float32bits(v))
	}
	return f[name].in(new)
}

var squash = floats{}

// bits emits x AND m or x XOR m, bit for bit; AVX-512 has them for floats only in
// an extension.
func bits(and bool, x, m, to reg.VecVirtual) {
	switch {
	case t.avx512 && and:
		VPANDD(m, x, to)
	case t.avx512:
		VPXORD(m, x, to)
	case and:
		VANDPS(m, x, to)
	default:
		VXORPS(m, x, to)
	}
}

// sigmoid emits 1/(1 + exp(−x)).
func sigmoid(in, _ []reg.VecVirtual, new func() reg.VecVirtual) []reg.VecVirtual {
	x := in[0]
	bits(false, x, squash.get("squashSign", float32(math.Copysign(0, -1)), new), x)
	e := exp([]reg.VecVirtual{x}, nil, new)[0]
	one := squash.get("squashOne", 1, new)
	VADDPS(one, e, e)
	VDIVPS(e, one, e)
	return []reg.VecVirtual{e}
}

// tanh emits the hyperbolic tangent; asm/exp.go tells how it is computed.
func tanh(in, _ []reg.VecVirtual, new func() reg.VecVirtual) []reg.VecVirtual {
	x := in[0]
	sign, abs, e := new(), new(), new()
	minus := squash.get("squashSign", float32(math.Copysign(0, -1)), new)
	bits(true, x, minus, sign)
	bits(false, x, sign, abs)
	VADDPS(abs, abs, e)
	// Of a NaN the second source comes out.
	VMINPS(e, squash.get("squashHigh", 40, new), e)
	e = exp([]reg.VecVirtual{e}, nil, new)[0]
	one := squash.get("squashOne", 1, new)
	num, den := new(), new()
	VADDPS(one, e, den)
	VSUBPS(one, e, num)
	bits(false, num, sign, num) // it is not negative
	z, p, q := new(), new(), new()
	VMULPS(x, x, z)
	poly := func(to reg.VecVirtual, terms ...float32) {
		for i, c := range terms {
			v := squash.get(fmt.Sprint("squash", c), c, new)
			if i > 0 {
				VMULPS(z, to, to)
			}
			if i == 0 {
				VMOVAPS(v, to)
			} else {
				VADDPS(v, to, to)
			}
		}
	}
	poly(p, 21, 1260, 10395)
	VMULPS(x, p, p)
	poly(q, 1, 210, 4725, 10395)
	const less = 0x11
	if t.avx512 {
		k := K()
		VCMPPS(U8(less), one, abs, k)
		VBLENDMPS(p, num, k, num)
		VBLENDMPS(q, den, k, den)
	} else {
		m := new()
		VCMPPS(U8(less), one, abs, m)
		VBLENDVPS(m, p, num, num)
		VBLENDVPS(m, q, den, den)
	}
	VDIVPS(den, num, num)
	return []reg.VecVirtual{num}
}
