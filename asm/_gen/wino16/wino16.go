// Command wino16 generates the Winograd kernels of package asm.
//
//	go run ./wino16 -isa avx512 -out FILE.s -stubs FILE.go -pkg asm
package main

import (
	"flag"
	"log"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/reg"
)

// A target is the register file kernels are laid out in.
type target struct {
	suffix string // of the function names
	width  int    // lanes of a vector
	rows   int    // of the tallest tile of kind Rows
	cols   int    // and of kind Cols: 2·cols accumulators + 2 of B + 2 broadcasts fill the file
	vec    []reg.VecPhysical
}

var targets = map[string]target{
	"avx512": {"AVX512", 16, 7, 14, []reg.VecPhysical{
		reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7,
		reg.Z8, reg.Z9, reg.Z10, reg.Z11, reg.Z12, reg.Z13, reg.Z14, reg.Z15,
		reg.Z16, reg.Z17, reg.Z18, reg.Z19, reg.Z20, reg.Z21, reg.Z22, reg.Z23,
		reg.Z24, reg.Z25, reg.Z26, reg.Z27, reg.Z28, reg.Z29, reg.Z30, reg.Z31,
	}},
	"avx2": {"AVX2", 8, 6, 6, []reg.VecPhysical{
		reg.Y0, reg.Y1, reg.Y2, reg.Y3, reg.Y4, reg.Y5, reg.Y6, reg.Y7,
		reg.Y8, reg.Y9, reg.Y10, reg.Y11, reg.Y12, reg.Y13, reg.Y14, reg.Y15,
	}},
}

func main() {
	isa := flag.String("isa", "", "avx512 or avx2")
	flag.Parse()
	t, ok := targets[*isa]
	if !ok {
		log.Fatalf("wino16: -isa %q is neither avx512 nor avx2", *isa)
	}
	ConstraintExpr("!noasm")
	for mr := 1; mr <= t.rows; mr++ {
		t.tile("Rows", mr)
	}
	for mr := 1; mr <= t.cols; mr++ {
		t.tile("Cols", mr)
	}
	g := &gen{target: t}
	for _, stream := range []bool{false, true} {
		if stream && t.width < lanes { // a vector is half a line
			continue
		}
		g.pixels(inputSpec, stream, false)
		g.pixels(gradSpec, stream, true)
	}
	g.filter(filterSpec)
	g.reduce(outputSpec)
	if t.width == lanes {
		g.reduce(outputSpec.streaming())
	}
	g.reduce(weightsSpec)
	g.prefetch()
	Generate()
}
