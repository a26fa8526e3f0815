package asm

func packRowsGeneric(n, width, lo, hi int, src []float32, off, lds int, dst []float32, ldd int) {
	if lo == 0 && hi == genericNR && width == genericNR {
		// The bulk of B for the portable kernel.
		for r := range n {
			*(*[genericNR]float32)(dst[r*ldd:]) = *(*[genericNR]float32)(src[off+r*lds:])
		}
		return
	}
	for r := range n {
		d := dst[r*ldd : r*ldd+width]
		if lo > 0 {
			clear(d[:lo])
		}
		if hi < width {
			clear(d[hi:])
		}
		if hi > lo {
			s := src[off+r*lds+lo:][:hi-lo]
			for i, v := range s {
				d[lo+i] = v
			}
		}
	}
}

// transposeGeneric goes by strips of four rows, whose elements are written
// next to each other.
func transposeGeneric(rows, cols int, src []float32, lds int, dst []float32, ldd int) {
	if rows == genericMR {
		// A panel of A for the portable kernel.
		s1 := src[lds:][:cols]
		for c, v := range src[:cols] {
			d := (*[genericMR]float32)(dst[c*ldd:])
			d[0], d[1] = v, s1[c]
		}
		return
	}
	r := 0
	for ; r+4 <= rows; r += 4 {
		s0 := src[r*lds:][:cols]
		s1 := src[(r+1)*lds:][:len(s0)]
		s2 := src[(r+2)*lds:][:len(s0)]
		s3 := src[(r+3)*lds:][:len(s0)]
		o := r
		for c, v := range s0 {
			d := (*[4]float32)(dst[o:])
			d[0], d[1], d[2], d[3] = v, s1[c], s2[c], s3[c]
			o += ldd
		}
	}
	for ; r < rows; r++ {
		o := r
		for _, v := range src[r*lds:][:cols] {
			dst[o] = v
			o += ldd
		}
	}
}
