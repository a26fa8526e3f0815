package asm

func dotRowsGeneric(m, k int, x []float32, step int, w []float32, ldw int, out *[4 * MaxDotRows]float32) {
	for i := range m {
		var s0, s1, s2, s3 float32
		for p := 0; p < k; p += dotLine {
			w0 := (*[dotLine]float32)(w[p:])
			w1 := (*[dotLine]float32)(w[ldw+p:])
			w2 := (*[dotLine]float32)(w[2*ldw+p:])
			w3 := (*[dotLine]float32)(w[3*ldw+p:])
			for q, v := range (*[dotLine]float32)(x[p/dotLine*step+dotLine*i:]) {
				s0 += v * w0[q]
				s1 += v * w1[q]
				s2 += v * w2[q]
				s3 += v * w3[q]
			}
		}
		out[4*i], out[4*i+1], out[4*i+2], out[4*i+3] = s0, s1, s2, s3
	}
}

func rank4Generic(m, n int, a, b []float32, ldb int, c []float32, ldc int) {
	b0 := b[:n]
	b1 := b[ldb:][:n]
	b2 := b[2*ldb:][:n]
	b3 := b[3*ldb:][:n]
	for i := range m {
		f := (*[4]float32)(a[4*i:])
		row := c[i*ldc:][:n]
		for j, v := range row {
			v += f[0] * b0[j]
			v += f[1] * b1[j]
			v += f[2] * b2[j]
			v += f[3] * b3[j]
			row[j] = v
		}
	}
}
