package asm

// The portable micro-kernel. Its tile is small because the compiler keeps
// scalars, not vectors, in the 16 registers: eight sums, two elements of A and
// one of B, with room for the products; larger tiles spill, and are slower by a
// half. Go has no way to ask for a fused multiply-add only where it is fast, so
// products are rounded here (on architectures where the compiler fuses, they
// are not).
const (
	genericMR = 2
	genericNR = 4
)

func sgemmGeneric(mr, nr, kc int, alpha float32, a, b, c []float32, ldc int, acc bool) {
	var s [genericMR][genericNR]float32
	if mr == genericMR {
		s = sgemm2x4Generic(kc, a, b)
	} else {
		s[0] = sgemm1x4Generic(kc, a, b)
	}
	for i := range mr {
		row := c[i*ldc:][:nr]
		for j := range row {
			v := float32(alpha * s[i][j])
			if acc {
				v += row[j]
			}
			row[j] = v
		}
	}
}

func sgemm1x4Generic(kc int, a, b []float32) (s [genericNR]float32) {
	for p, x := range a[:kc] {
		row := (*[genericNR]float32)(b[p*genericNR:])
		for j := range s {
			s[j] += x * row[j]
		}
	}
	return s
}

func sgemm2x4Generic(kc int, a, b []float32) [genericMR][genericNR]float32 {
	var s00, s01, s02, s03, s10, s11, s12, s13 float32
	a, b = a[:genericMR*kc], b[:genericNR*kc]
	// Eight steps at a time: with fewer, the sum that the compiler keeps on the
	// stack between turns of the loop costs more than the arithmetic.
	for len(a) >= 8*genericMR && len(b) >= 8*genericNR {
		x, y := (*[8 * genericMR]float32)(a), (*[8 * genericNR]float32)(b)
		s00 += x[0] * y[0]
		s10 += x[1] * y[0]
		s01 += x[0] * y[1]
		s11 += x[1] * y[1]
		s02 += x[0] * y[2]
		s12 += x[1] * y[2]
		s03 += x[0] * y[3]
		s13 += x[1] * y[3]
		s00 += x[2] * y[4]
		s10 += x[3] * y[4]
		s01 += x[2] * y[5]
		s11 += x[3] * y[5]
		s02 += x[2] * y[6]
		s12 += x[3] * y[6]
		s03 += x[2] * y[7]
		s13 += x[3] * y[7]
		s00 += x[4] * y[8]
		s10 += x[5] * y[8]
		s01 += x[4] * y[9]
		s11 += x[5] * y[9]
		s02 += x[4] * y[10]
		s12 += x[5] * y[10]
		s03 += x[4] * y[11]
		s13 += x[5] * y[11]
		s00 += x[6] * y[12]
		s10 += x[7] * y[12]
		s01 += x[6] * y[13]
		s11 += x[7] * y[13]
		s02 += x[6] * y[14]
		s12 += x[7] * y[14]
		s03 += x[6] * y[15]
		s13 += x[7] * y[15]
		s00 += x[8] * y[16]
		s10 += x[9] * y[16]
		s01 += x[8] * y[17]
		s11 += x[9] * y[17]
		s02 += x[8] * y[18]
		s12 += x[9] * y[18]
		s03 += x[8] * y[19]
		s13 += x[9] * y[19]
		s00 += x[10] * y[20]
		s10 += x[11] * y[20]
		s01 += x[10] * y[21]
		s11 += x[11] * y[21]
		s02 += x[10] * y[22]
		s12 += x[11] * y[22]
		s03 += x[10] * y[23]
		s13 += x[11] * y[23]
		s00 += x[12] * y[24]
		s10 += x[13] * y[24]
		s01 += x[12] * y[25]
		s11 += x[13] * y[25]
		s02 += x[12] * y[26]
		s12 += x[13] * y[26]
		s03 += x[12] * y[27]
		s13 += x[13] * y[27]
		s00 += x[14] * y[28]
		s10 += x[15] * y[28]
		s01 += x[14] * y[29]
		s11 += x[15] * y[29]
		s02 += x[14] * y[30]
		s12 += x[15] * y[30]
		s03 += x[14] * y[31]
		s13 += x[15] * y[31]
		a, b = a[8*genericMR:], b[8*genericNR:]
	}
	for len(a) >= genericMR && len(b) >= genericNR {
		a0 := a[0]
		a1 := a[1]
		b0 := b[0]
		s00 += a0 * b0
		s10 += a1 * b0
		b1 := b[1]
		s01 += a0 * b1
		s11 += a1 * b1
		b2 := b[2]
		s02 += a0 * b2
		s12 += a1 * b2
		b3 := b[3]
		s03 += a0 * b3
		s13 += a1 * b3
		a, b = a[genericMR:], b[genericNR:]
	}
	return [genericMR][genericNR]float32{{s00, s01, s02, s03}, {s10, s11, s12, s13}}
}
