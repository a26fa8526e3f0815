// Command sgemm generates the SGEMM micro-kernels of package asm.
//
//	go run ./sgemm -isa avx512 -out FILE.s -stubs FILE.go -pkg asm
package main

import (
	"flag"
	"fmt"
	"log"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// A target is the register file a kernel is laid out in.
type target struct {
	suffix string            // of the function names
	width  int               // lanes of a vector
	maxMR  int               // tallest tile: 2·maxMR accumulators + 2 of B + 2 broadcasts fill the file
	vec    []reg.VecPhysical // the whole file
	masked bool              // edges through mask registers
}

var targets = map[string]target{
	"avx512": {"AVX512", 16, 14, []reg.VecPhysical{
		reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7,
		reg.Z8, reg.Z9, reg.Z10, reg.Z11, reg.Z12, reg.Z13, reg.Z14, reg.Z15,
		reg.Z16, reg.Z17, reg.Z18, reg.Z19, reg.Z20, reg.Z21, reg.Z22, reg.Z23,
		reg.Z24, reg.Z25, reg.Z26, reg.Z27, reg.Z28, reg.Z29, reg.Z30, reg.Z31,
	}, true},
	"avx2": {"AVX2", 8, 6, []reg.VecPhysical{
		reg.Y0, reg.Y1, reg.Y2, reg.Y3, reg.Y4, reg.Y5, reg.Y6, reg.Y7,
		reg.Y8, reg.Y9, reg.Y10, reg.Y11, reg.Y12, reg.Y13, reg.Y14, reg.Y15,
	}, false},
}

// unroll is the number of k steps per turn of the main loop.
const unroll = 4

func main() {
	isa := flag.String("isa", "", "avx512 or avx2")
	flag.Parse()
	t, ok := targets[*isa]
	if !ok {
		log.Fatalf("sgemm: -isa %q is neither avx512 nor avx2", *isa)
	}
	ConstraintExpr("!noasm")
	for mr := 1; mr <= t.maxMR; mr++ {
		t.kernel(mr)
	}
	Generate()
}

// kernel emits the tile of mr rows and two vectors of columns. Every height
// has a kernel of its own, so that the last rows of a matrix cost what they
// weigh and no panel of A is padded.
func (t target) kernel(mr int) {
	nr := 2 * t.width
	name := fmt.Sprintf("sgemm%dx%d%s", mr, nr, t.suffix)
	sig := "func(kc int, alpha float32, a, b, c *float32, ldc int, acc bool)"
	if t.masked {
		sig = "func(kc int, alpha float32, a, b, c *float32, ldc int, mask uint32, acc bool)"
	}
	TEXT(name, NOSPLIT, sig)
	Pragma("noescape")
	edge := "all columns are written."
	if t.masked {
		edge = "only columns whose bit in mask is set are read and written."
	}
	Doc(fmt.Sprintf("%s adds (acc) or assigns alpha·a·b to the %d×%d tile c;", name, mr, nr), edge)

	last := len(t.vec)
	accs := func(i, j int) reg.VecPhysical { return t.vec[2*i+j] }
	bv := [2]reg.VecPhysical{t.vec[last-4], t.vec[last-3]}
	av := [2]reg.VecPhysical{t.vec[last-2], t.vec[last-1]}
	vbytes := 4 * t.width

	kc := Load(Param("kc"), GP64())
	a := Load(Param("a"), GP64())
	b := Load(Param("b"), GP64())
	c := Load(Param("c"), GP64())
	ldc := Load(Param("ldc"), GP64())
	SHLQ(U8(2), ldc)

	Comment("The tile of C arrives while the products are summed.")
	cp := GP64()
	MOVQ(c, cp)
	for i := range mr {
		PREFETCHT0(Mem{Base: cp})
		if vbytes == 64 {
			PREFETCHT0(Mem{Base: cp, Disp: 64})
		}
		if i < mr-1 {
			ADDQ(ldc, cp)
		}
	}
	for i := range mr {
		for j := range 2 {
			if t.masked {
				VPXORD(accs(i, j), accs(i, j), accs(i, j))
			} else {
				VXORPS(accs(i, j), accs(i, j), accs(i, j))
			}
		}
	}

	// step emits one k: two vectors of B, then each element of A broadcast to
	// a register that serves both. (A broadcast inside the FMA operand would
	// be loaded twice and costs 13–17 % on Zen 5.)
	step := func(u int) {
		for j := range 2 {
			VMOVUPS(Mem{Base: b, Disp: (2*u + j) * vbytes}, bv[j])
		}
		for i := range mr {
			x := av[i%2]
			VBROADCASTSS(Mem{Base: a, Disp: 4 * (u*mr + i)}, x)
			VFMADD231PS(bv[0], x, accs(i, 0))
			VFMADD231PS(bv[1], x, accs(i, 1))
		}
	}
	n := GP64()
	MOVQ(kc, n)
	SHRQ(U8(2), n)
	JZ(LabelRef("tail"))
	Label("loop")
	for u := range unroll {
		step(u)
	}
	ADDQ(U32(4*unroll*mr), a)
	ADDQ(U32(unroll*2*vbytes), b)
	DECQ(n)
	JNZ(LabelRef("loop"))
	Label("tail")
	ANDQ(U8(unroll-1), kc)
	JZ(LabelRef("scale"))
	Label("tailloop")
	step(0)
	ADDQ(U32(4*mr), a)
	ADDQ(U32(2*vbytes), b)
	DECQ(kc)
	JNZ(LabelRef("tailloop"))

	Label("scale")
	alpha, err := Param("alpha").Resolve()
	if err != nil {
		log.Fatal(err)
	}
	VBROADCASTSS(alpha.Addr, av[0])
	for i := range mr {
		for j := range 2 {
			VMULPS(av[0], accs(i, j), accs(i, j))
		}
	}
	acc := Load(Param("acc"), GP8L())
	var k [2]reg.OpmaskPhysical
	if t.masked {
		k = [2]reg.OpmaskPhysical{reg.K1, reg.K2}
		mask := Load(Param("mask"), GP32())
		CMPL(mask, I8(-1))
		JNE(LabelRef("edge"))
		defer func() {
			Label("edge")
			Comment("Columns outside the matrix are masked off.")
			KMOVW(mask, k[0])
			SHRL(U8(16), mask)
			KMOVW(mask, k[1])
			TESTB(acc, acc)
			JZ(LabelRef("edgestore"))
			MOVQ(c, cp)
			for i := range mr {
				for j := range 2 {
					VMOVUPS_Z(Mem{Base: cp, Disp: j * vbytes}, k[j], bv[j])
					VADDPS(bv[j], accs(i, j), accs(i, j))
				}
				if i < mr-1 {
					ADDQ(ldc, cp)
				}
			}
			Label("edgestore")
			for i := range mr {
				for j := range 2 {
					VMOVUPS(accs(i, j), k[j], Mem{Base: c, Disp: j * vbytes})
				}
				if i < mr-1 {
					ADDQ(ldc, c)
				}
			}
			VZEROUPPER()
			RET()
		}()
	}
	TESTB(acc, acc)
	JZ(LabelRef("store"))
	MOVQ(c, cp)
	for i := range mr {
		for j := range 2 {
			VADDPS(Mem{Base: cp, Disp: j * vbytes}, accs(i, j), accs(i, j))
		}
		if i < mr-1 {
			ADDQ(ldc, cp)
		}
	}
	Label("store")
	for i := range mr {
		for j := range 2 {
			VMOVUPS(accs(i, j), Mem{Base: c, Disp: j * vbytes})
		}
		if i < mr-1 {
			ADDQ(ldc, c)
		}
	}
	VZEROUPPER()
	RET()
}
