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
	minMR  int               // lowest of a matrix of maxMR rows or more, spread evenly
	vec    []reg.VecPhysical // the whole file
	masked bool              // edges through mask registers
}

var targets = map[string]target{
	"avx512": {"AVX512", 16, 14, 8, []reg.VecPhysical{
		reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7,
		reg.Z8, reg.Z9, reg.Z10, reg.Z11, reg.Z12, reg.Z13, reg.Z14, reg.Z15,
		reg.Z16, reg.Z17, reg.Z18, reg.Z19, reg.Z20, reg.Z21, reg.Z22, reg.Z23,
		reg.Z24, reg.Z25, reg.Z26, reg.Z27, reg.Z28, reg.Z29, reg.Z30, reg.Z31,
	}, true},
	"avx2": {"AVX2", 8, 6, 4, []reg.VecPhysical{
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
		t.kernel(tile{mr: mr, vecs: 2, width: t.width})
	}
	// The high tiles alone have the kernels that only speed matters for: rows
	// are spread evenly over tiles, so others are rare.
	for mr := t.minMR; mr <= t.maxMR; mr++ {
		t.kernel(tile{mr: mr, vecs: 2, width: t.width, packA: true})
		t.kernel(tile{mr: mr, vecs: 2, width: t.width, packB: true})
		for w := 8; w <= t.width; w *= 2 {
			t.kernel(tile{mr: mr, vecs: 1, width: w})
		}
	}
	// Of rows that compete for the same lines of the cache only half as many are
	// read together.
	for mr := t.minMR / 2; mr <= t.maxMR; mr++ {
		t.kernel(tile{mr: mr, vecs: 2, width: t.width, rowsA: true})
		if t.width > 8 { // two short vectors: a long one would wait for the broadcasts
			t.kernel(tile{mr: mr, vecs: 2, width: 8, rowsA: true})
		}
	}
	Generate()
}

// A tile is what one kernel computes: mr rows of vecs vectors of width lanes.
type tile struct {
	mr, vecs, width int
	// packA: A is not a panel, but the rows of its transpose, lda apart, and is
	// copied to one. packB: B is not a panel, but rows ldb apart, likewise.
	packA, packB bool
	// rowsA: A is not a panel, but rows lda apart, and read where it lies.
	rowsA bool
}

// registers returns the register file cut down to the tile's vectors.
func (t target) registers(width int) []reg.VecPhysical {
	if width == t.width {
		return t.vec
	}
	cut := make([]reg.VecPhysical, len(t.vec))
	for i, v := range t.vec {
		cut[i] = v.AsY().(reg.VecPhysical)
	}
	return cut
}

// kernel emits one tile. Every height has a kernel of its own, so that the last
// rows of a matrix cost what they weigh and no panel of A is padded.
func (t target) kernel(tl tile) {
	mr := tl.mr
	nr := tl.vecs * tl.width
	masked := t.masked && !tl.packA && !tl.packB
	name := fmt.Sprintf("sgemm%dx%d%s", mr, nr, t.suffix)
	sig := "func(kc int, alpha float32, a, b, c *float32, ldc int"
	doc := []string{"%s adds (acc) or assigns alpha·a·b to the %d×%d tile c."}
	switch {
	case tl.packA:
		name = fmt.Sprintf("sgemm%dx%dPackA%s", mr, nr, t.suffix)
		sig = "func(kc int, alpha float32, a *float32, lda int, ap, b, c *float32, ldc int"
		doc = append(doc, "The columns of a are lda apart and copied to the panel ap.")
	case tl.packB:
		name = fmt.Sprintf("sgemm%dx%dPackB%s", mr, nr, t.suffix)
		sig = "func(kc int, alpha float32, a, b *float32, ldb int, bp, c *float32, ldc int"
		doc = append(doc, "The rows of b are ldb apart and copied to the panel bp.")
	case tl.rowsA:
		name = fmt.Sprintf("sgemm%dx%dRows%s", mr, nr, t.suffix)
		sig = "func(kc int, alpha float32, a, next *float32, lda int, b, c *float32, ldc int"
		doc = append(doc, "The rows of a are lda apart. Those at next, likewise, are prefetched.")
	}
	switch {
	case tl.packA || tl.packB:
		doc = append(doc, "All columns are written.")
	case masked:
		sig += ", mask uint32"
		doc = append(doc, "Only columns whose bit in mask is set are read and written.")
	default:
		doc = append(doc, "All columns are written.")
	}
	if tl.vecs == 1 {
		doc = append(doc, "The other columns of the panel b are not looked at.")
	}
	TEXT(name, NOSPLIT, sig+", acc bool)")
	Pragma("noescape")
	doc[0] = fmt.Sprintf(doc[0], name, mr, nr)
	Doc(doc...)

	file := t.registers(tl.width)
	last := len(file)
	accs := func(i, j int) reg.VecPhysical { return file[tl.vecs*i+j] }
	bv := [2]reg.VecPhysical{file[last-4], file[last-3]}
	av := [2]reg.VecPhysical{file[last-2], file[last-1]}
	vbytes := 4 * tl.width
	panel := 2 * 4 * t.width // bytes of a row of a panel of B

	kc := Load(Param("kc"), GP64())
	a := Load(Param("a"), GP64())
	// ld is the stride of the operand that is packed, dst its panel.
	var ld, ld3, dst reg.Register
	stride := func(param, panel string) {
		ld = Load(Param(param), GP64())
		dst = Load(Param(panel), GP64())
		SHLQ(U8(2), ld)
		ld3 = GP64()
		LEAQ(Mem{Base: ld, Index: ld, Scale: 2}, ld3)
	}
	// strided returns the address u strides after base.
	strided := func(base reg.Register, u, disp int) Mem {
		m := Mem{Base: base, Disp: disp}
		switch u {
		case 1, 2:
			m.Index, m.Scale = ld, uint8(u)
		case 3:
			m.Index, m.Scale = ld3, 1
		}
		return m
	}
	if tl.packA {
		stride("lda", "ap")
	}
	// heads are every third row of A, where it is not a panel.
	heads := []reg.Register{a}
	if tl.rowsA {
		ld = Load(Param("lda"), GP64())
		SHLQ(U8(2), ld)
		for i := 3; i < mr; i += 3 {
			r := GP64()
			LEAQ(Mem{Base: heads[len(heads)-1], Index: ld, Scale: 2}, r)
			ADDQ(ld, r)
			heads = append(heads, r)
		}
	}
	b := Load(Param("b"), GP64())
	if tl.packB {
		stride("ldb", "bp")
	}
	var lanes reg.Register
	if tl.packA && t.masked {
		m := GP32()
		lanes = K()
		MOVL(U32(1<<mr-1), m)
		KMOVW(m, lanes)
	}
	c := Load(Param("c"), GP64())
	ldc := Load(Param("ldc"), GP64())
	SHLQ(U8(2), ldc)

	// The tile of C arrives while the products are summed: a row with each turn
	// of the loop, as many misses at once would hold up the loads of A and B. Only
	// if there are too few turns it is asked for at once.
	row := func(r reg.Register) {
		for line := 0; line < tl.vecs*vbytes; line += 64 {
			PREFETCHT0(Mem{Base: r, Disp: line})
		}
		PREFETCHT0(Mem{Base: r, Disp: tl.vecs*vbytes - 4}) // it may begin anywhere in a line
	}
	cp, end := GP64(), GP64()
	MOVQ(c, cp)
	if !tl.rowsA {
		IMUL3Q(U8(mr-1), ldc, end)
		ADDQ(c, end)
		CMPQ(kc, U8(unroll*mr))
		JGE(LabelRef("start"))
	}
	for i := range mr {
		row(cp)
		if i < mr-1 {
			ADDQ(ldc, cp)
		}
	}
	Label("start")
	for i := range mr {
		for j := range tl.vecs {
			if t.masked {
				VPXORD(accs(i, j), accs(i, j), accs(i, j))
			} else {
				VXORPS(accs(i, j), accs(i, j), accs(i, j))
			}
		}
	}

	n, soon := GP64(), GP64()
	// The next rows are asked for one after the other, with each turn as much as it
	// reads of these rows, or a little more.
	rowEnd, rowSize := GP64(), GP64()
	ask := func() {
		const lines = 4
		for i := range lines {
			PREFETCHT1(Mem{Base: soon, Disp: 64 * i})
		}
		ADDQ(I32(64*lines), soon)
		CMPQ(soon, rowEnd)
		JB(LabelRef("asked"))
		ADDQ(ld, rowEnd)
		MOVQ(rowEnd, soon)
		SUBQ(rowSize, soon)
		Label("asked")
	}
	// step emits one k: the vectors of B, then each element of A broadcast to a
	// register that serves them all. (A broadcast inside the FMA operand would
	// be loaded twice and costs 13–17 % on Zen 5.)
	step := func(u int, turn bool) {
		for j := range tl.vecs {
			from := Mem{Base: b, Disp: u*panel + j*vbytes}
			if tl.packB {
				from = strided(b, u, j*vbytes)
			}
			VMOVUPS(from, bv[j])
			if tl.packB {
				VMOVUPS(bv[j], Mem{Base: dst, Disp: u*panel + j*vbytes})
				if last := panel + (j+1)*vbytes - 4; last%64 == 60 {
					// The columns to the right are what is packed next. If they
					// do not begin with a line, their first one is read here.
					PREFETCHT1(strided(b, u, last))
				}
			}
		}
		if tl.packA {
			if turn {
				// Rows are pages apart, which hardware does not foresee. The
				// rows below, which are packed next, would be early: columns
				// that lie a large power of two apart do not stay in the cache.
				PREFETCHT0(strided(soon, u, 4*mr-4))
			}
			x, y := av[0], av[1].AsX()
			to := Mem{Base: dst, Disp: 4 * u * mr}
			switch {
			case t.masked:
				VMOVUPS_Z(strided(a, u, 0), lanes, x)
				VMOVUPS(x, lanes, to)
			default:
				VMOVUPS(strided(a, u, 0), x.AsX())
				VMOVUPS(x.AsX(), to)
				switch mr {
				case 5:
					VMOVSS(strided(a, u, 16), y)
					VMOVSS(y, to.Offset(16))
				case 6:
					VMOVSD(strided(a, u, 16), y)
					VMOVSD(y, to.Offset(16))
				}
			}
		}
		for i := range mr {
			x := av[i%2]
			from := Mem{Base: a, Disp: 4 * (u*mr + i)}
			switch {
			case tl.packA:
				from = strided(a, u, 4*i)
			case tl.rowsA:
				from = strided(heads[i/3], i%3, 4*u)
			}
			VBROADCASTSS(from, x)
			for j := range tl.vecs {
				VFMADD231PS(bv[j], x, accs(i, j))
			}
		}
	}
	// forward moves to the n-th step from here.
	forward := func(n int) {
		move := func(r reg.Register, packed bool, bytes int) {
			switch {
			case !packed:
				ADDQ(U32(n*bytes), r)
				return
			case n == 1:
				ADDQ(ld, r)
			default:
				LEAQ(Mem{Base: r, Index: ld, Scale: uint8(n)}, r)
			}
			ADDQ(U32(n*bytes), dst)
		}
		if tl.rowsA {
			for _, r := range heads {
				ADDQ(U8(4*n), r)
			}
		} else {
			move(a, tl.packA, 4*mr)
		}
		move(b, tl.packB, panel)
	}
	MOVQ(c, cp)
	MOVQ(kc, n)
	if tl.rowsA {
		Load(Param("next"), soon)
		LEAQ(Mem{Base: soon, Index: kc, Scale: 4}, rowEnd)
		MOVQ(kc, rowSize)
		SHLQ(U8(2), rowSize)
	}
	SHRQ(U8(2), n)
	JZ(LabelRef("tail"))
	Label("loop")
	if tl.rowsA {
		ask()
	} else {
		row(cp)
		ADDQ(ldc, cp)
		CMPQ(cp, end)
		CMOVQHI(end, cp)
	}
	if tl.packA {
		LEAQ(Mem{Base: a, Index: ld, Scale: 2 * unroll}, soon)
	}
	for u := range unroll {
		step(u, true)
	}
	forward(unroll)
	DECQ(n)
	JNZ(LabelRef("loop"))
	Label("tail")
	ANDQ(U8(unroll-1), kc)
	JZ(LabelRef("scale"))
	Label("tailloop")
	step(0, false)
	forward(1)
	DECQ(kc)
	JNZ(LabelRef("tailloop"))

	Label("scale")
	alpha, err := Param("alpha").Resolve()
	if err != nil {
		log.Fatal(err)
	}
	VBROADCASTSS(alpha.Addr, av[0])
	for i := range mr {
		for j := range tl.vecs {
			VMULPS(av[0], accs(i, j), accs(i, j))
		}
	}
	acc := Load(Param("acc"), GP8L())
	k := []reg.OpmaskPhysical{reg.K1, reg.K2}[:tl.vecs]
	if masked {
		mask := Load(Param("mask"), GP32())
		if tl.vecs == 2 {
			CMPL(mask, I8(-1))
			JNE(LabelRef("edge"))
		}
		defer func() {
			if tl.vecs == 2 {
				Label("edge")
			}
			Comment("Columns outside the matrix are masked off.")
			KMOVW(mask, k[0])
			if tl.vecs == 2 {
				SHRL(U8(tl.width), mask)
				KMOVW(mask, k[1])
			}
			TESTB(acc, acc)
			JZ(LabelRef("edgestore"))
			MOVQ(c, cp)
			for i := range mr {
				for j := range k {
					VMOVUPS_Z(Mem{Base: cp, Disp: j * vbytes}, k[j], bv[j])
					VADDPS(bv[j], accs(i, j), accs(i, j))
				}
				if i < mr-1 {
					ADDQ(ldc, cp)
				}
			}
			Label("edgestore")
			for i := range mr {
				for j := range k {
					VMOVUPS(accs(i, j), k[j], Mem{Base: c, Disp: j * vbytes})
				}
				if i < mr-1 {
					ADDQ(ldc, c)
				}
			}
			VZEROUPPER()
			RET()
		}()
		if tl.vecs == 1 {
			return
		}
	}
	TESTB(acc, acc)
	JZ(LabelRef("store"))
	MOVQ(c, cp)
	for i := range mr {
		for j := range tl.vecs {
			VADDPS(Mem{Base: cp, Disp: j * vbytes}, accs(i, j), accs(i, j))
		}
		if i < mr-1 {
			ADDQ(ldc, cp)
		}
	}
	Label("store")
	for i := range mr {
		for j := range tl.vecs {
			VMOVUPS(accs(i, j), Mem{Base: c, Disp: j * vbytes})
		}
		if i < mr-1 {
			ADDQ(ldc, c)
		}
	}
	VZEROUPPER()
	RET()
}
