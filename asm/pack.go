package asm

import "crema/internal/race"

// PackRows copies n rows into a panel, padding with zeros: for r < n
//
//	dst[r·ldd+j] = src[off+r·lds+j]  for lo ≤ j < hi
//	dst[r·ldd+j] = 0                 for 0 ≤ j < lo and hi ≤ j < width
//
// width ≤ MaxNR, 0 ≤ lo ≤ hi ≤ width. off may be negative as long as what is
// read lies within src. Nothing else is read or written.
func PackRows(n, width, lo, hi int, src []float32, off, lds int, dst []float32, ldd int) {
	if n <= 0 || width <= 0 {
		return
	}
	if width > MaxNR || lo < 0 || hi < lo || width < hi {
		panic("asm: bad columns")
	}
	if hi > lo && (off+lo < 0 || lds < 0 || off+(n-1)*lds+hi > len(src)) || ldd < 0 || (n-1)*ldd+width > len(dst) {
		panic("asm: slice too short")
	}
	if race.Enabled {
		for r := range n {
			if hi > lo {
				race.Read(src[off+r*lds+lo : off+r*lds+hi])
			}
			race.Write(dst[r*ldd : r*ldd+width])
		}
	}
	packRows(n, width, lo, hi, src, off, lds, dst, ldd)
}

// Transpose sets dst[c·ldd+r] = src[r·lds+c] for r < rows, c < cols, and
// touches nothing else. src and dst must not overlap.
func Transpose(rows, cols int, src []float32, lds int, dst []float32, ldd int) {
	if rows <= 0 || cols <= 0 {
		return
	}
	if lds < 0 || ldd < 0 || (rows-1)*lds+cols > len(src) || (cols-1)*ldd+rows > len(dst) {
		panic("asm: slice too short")
	}
	if race.Enabled {
		for r := range rows {
			race.Read(src[r*lds : r*lds+cols])
		}
		for c := range cols {
			race.Write(dst[c*ldd : c*ldd+rows])
		}
	}
	transpose(rows, cols, src, lds, dst, ldd)
}
