// Command fuse generates the kernels of package asm that make a step of
// gradient descent while they form the gradient of a fully connected layer.
//
//	go run ./fuse -isa avx512 -out FILE.s -stubs FILE.go -pkg asm
package main

import (
	"flag"
	"fmt"
	"log"

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

// near is how far, in bytes, a row of W and of H is prefetched into the level-1
// cache.
const near = 256

// sgdOuter emits the step of so many rows of W. The rows below, which the next
// call takes, are brought into the level-2 cache meanwhile; the hardware's
// prefetchers find eight streams, but lose them at the end of every page.
func sgdOuter(rows int) {
	const vecs = 2
	name := fmt.Sprintf("sgdOuter%d%s", rows, t.suffix)
	TEXT(name, NOSPLIT, "func(m, n int, a, x *float32, ldx int, lr, decay, momentum float32, h, w *float32, ldw int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s makes a step of %d rows of w, n wide, by the gradient Σ a[%d·p+i]·x[p·ldx+j],", name, rows, rows),
		fmt.Sprintf("0 ≤ p < m, in element (i, j); n is a multiple of %d, m and n are positive.", vecs*t.width))
	m := Load(Param("m"), GP64())
	n := Load(Param("n"), GP64())
	a := Load(Param("a"), GP64())
	x := Load(Param("x"), GP64())
	ldx := Load(Param("ldx"), GP64())
	h := Load(Param("h"), GP64())
	w := Load(Param("w"), GP64())
	ldw := Load(Param("ldw"), GP64())
	bytes := 4 * t.width
	SHLQ(U8(2), ldx)
	SHLQ(U8(2), ldw)
	scalar := map[string]Mem{}
	for _, s := range []string{"lr", "decay", "momentum"} {
		c, err := Param(s).Resolve()
		if err != nil {
			log.Fatal(err)
		}
		scalar[s] = c.Addr
	}
	// Rows are addressed as base, base+ldw, base+2·ldw, base+3·ldw.
	ldw3 := GP64()
	if rows > 3 {
		LEAQ(Mem{Base: ldw, Index: ldw, Scale: 2}, ldw3)
	}
	row := func(base reg.Register, i, disp int) Mem {
		switch i {
		case 0:
			return Mem{Base: base, Disp: disp}
		case 3:
			return Mem{Base: base, Index: ldw3, Scale: 1, Disp: disp}
		}
		return Mem{Base: base, Index: ldw, Scale: uint8(i), Disp: disp}
	}
	p, xp, ap := GP64(), GP64(), GP64()
	below, wb, hb := GP64(), GP64(), GP64()
	IMUL3Q(U8(rows), ldw, below)
	Label("columns")
	LEAQ(Mem{Base: w, Index: below, Scale: 1}, wb)
	LEAQ(Mem{Base: h, Index: below, Scale: 1}, hb)
	for i := range rows {
		for line := 0; line < vecs*bytes; line += 64 {
			PREFETCHT1(row(wb, i, line))
			PREFETCHT1(row(hb, i, line))
			PREFETCHT0(row(w, i, line+near))
			PREFETCHT0(row(h, i, line+near))
		}
	}
	acc := make([][vecs]reg.VecVirtual, rows)
	for i := range acc {
		for v := range vecs {
			acc[i][v] = vec()
			if t.avx512 {
				VPXORD(acc[i][v], acc[i][v], acc[i][v])
			} else {
				VXORPS(acc[i][v], acc[i][v], acc[i][v])
			}
		}
	}
	MOVQ(m, p)
	MOVQ(x, xp)
	MOVQ(a, ap)
	Label("sum")
	x0, x1, s := vec(), vec(), vec()
	VMOVUPS(Mem{Base: xp}, x0)
	VMOVUPS(Mem{Base: xp, Disp: bytes}, x1)
	for i := range rows {
		VBROADCASTSS(Mem{Base: ap, Disp: 4 * i}, s)
		VFMADD231PS(x0, s, acc[i][0])
		VFMADD231PS(x1, s, acc[i][1])
	}
	ADDQ(ldx, xp)
	ADDQ(U8(4*rows), ap)
	DECQ(p)
	JNZ(LabelRef("sum"))
	lr, decay, momentum := vec(), vec(), vec()
	VBROADCASTSS(scalar["lr"], lr)
	VBROADCASTSS(scalar["decay"], decay)
	VBROADCASTSS(scalar["momentum"], momentum)
	for i := range rows {
		for v := range vecs {
			g, wv, d := acc[i][v], vec(), vec()
			VMOVUPS(row(w, i, v*bytes), wv)
			VMULPS(decay, wv, d)
			VADDPS(d, g, g)
			VMULPS(lr, g, g)
			VMULPS(row(h, i, v*bytes), momentum, d)
			VADDPS(g, d, d)
			VSUBPS(d, wv, wv)
			VMOVUPS(d, row(h, i, v*bytes))
			VMOVUPS(wv, row(w, i, v*bytes))
		}
	}
	for _, r := range []reg.Register{x, w, h} {
		ADDQ(U32(vecs*bytes), r)
	}
	SUBQ(U32(vecs*t.width), n)
	JNZ(LabelRef("columns"))
	VZEROUPPER()
	RET()
}

func main() {
	isa := flag.String("isa", "", "avx512 or avx2")
	flag.Parse()
	var ok bool
	if t, ok = targets[*isa]; !ok {
		log.Fatalf("fuse: -isa %q is neither avx512 nor avx2", *isa)
	}
	ConstraintExpr("!noasm")
	sgdOuter(4)
	sgdOuter(1)
	Generate()
}
