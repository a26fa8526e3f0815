// Command direct generates the kernels of package asm for convolutions of few
// input channels, and for those of single channels.
//
//	go run ./direct -isa avx512 -out FILE.s -stubs FILE.go -pkg asm
package main

import (
	"flag"
	"log"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// A target is an ISA and the tiles that fill its registers.
type target struct {
	suffix string
	width  int // lanes of a vector
	avx512 bool
	// Forward with pixels in the lanes: panel × 3 accumulators, 3 vectors of
	// pixels and the broadcasts.
	panel int
	// Forward with filters in the lanes: slots of pixels × 2 accumulators.
	slots, pixels int
	// Gradient of the weights: 4 vectors of the output gradient × taps, the
	// gradient of the biases counted as one.
	taps int
	// Broadcasts that are in flight.
	broadcasts int
}

var targets = map[string]target{
	"avx512": {suffix: "AVX512", width: 16, avx512: true, panel: 8, slots: 3, pixels: 4, taps: 6, broadcasts: 2},
	"avx2":   {suffix: "AVX2", width: 8, panel: 4, slots: 2, pixels: 3, taps: 3, broadcasts: 1},
}

var t target

// lanes is the number of channels that the blocked layout keeps together.
const lanes = 16

func main() {
	isa := flag.String("isa", "", "avx512 or avx2")
	flag.Parse()
	var ok bool
	if t, ok = targets[*isa]; !ok {
		log.Fatalf("direct: -isa %q is neither avx512 nor avx2", *isa)
	}
	ConstraintExpr("!noasm")
	masks()
	forwardPixels()
	for blocks := 1; blocks <= 2*t.width/lanes; blocks++ {
		forwardLanes(blocks)
	}
	plane()
	for taps := 1; taps <= t.taps; taps++ {
		for _, kind := range []string{"Pixels", "Lanes"} {
			weights(kind, taps, false)
			if taps < t.taps {
				weights(kind, taps, true)
			}
		}
	}
	Generate()
}

func vec() reg.VecVirtual {
	if t.avx512 {
		return ZMM()
	}
	return YMM()
}

func (t target) bytes() int { return 4 * t.width }

func zero(v reg.VecVirtual) {
	if t.avx512 {
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

// maskTable holds the masks of vectors of which the first elements count, for
// instruction sets without mask registers: the mask of n elements is width−n
// elements into it.
var maskTable Mem

func masks() {
	if t.avx512 {
		return
	}
	maskTable = GLOBL("directMask"+t.suffix, RODATA|NOPTR)
	for i := range 2 * t.width {
		v := uint32(0)
		if i < t.width {
			v = 1<<32 - 1
		}
		DATA(4*i, U32(v))
	}
}

// firstOf returns a mask register or vector for the first n of width elements.
// n, which is from 0 to width, is overwritten.
func firstOf(n reg.GPVirtual) reg.Register {
	if t.avx512 {
		m, k := GP64(), K()
		MOVQ(I32(-1), m)
		BZHIQ(n, m, m)
		KMOVW(m.As32(), k)
		return k
	}
	at, v := GP64(), YMM()
	LEAQ(maskTable, at)
	NEGQ(n)
	VMOVUPS(Mem{Base: at, Index: n, Scale: 4, Disp: t.bytes()}, v)
	return v
}

// loadFirst loads what mask selects, zeros elsewhere.
func loadFirst(m Mem, mask reg.Register, v reg.VecVirtual) {
	if t.avx512 {
		VMOVUPS_Z(m, mask, v)
	} else {
		VMASKMOVPS(m, mask, v)
	}
}

// storeFirst stores what mask selects.
func storeFirst(v reg.VecVirtual, mask reg.Register, m Mem) {
	if t.avx512 {
		VMOVUPS(v, mask, m)
	} else {
		VMASKMOVPS(v, mask, m)
	}
}
