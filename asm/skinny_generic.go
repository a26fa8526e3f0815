package asm

func dotRowsGeneric(m, k int, x []float32, ldx int, w []float32, ldw int, out *[4 * MaxDotRows]float32) {
	w0 := w[:k]
	w1 := w[ldw:][:k]
	w2 := w[2*ldw:][:k]
	w3 := w[3*ldw:][:k]
	for i := range m {
		var s0, s1, s2, s3 float32
		for p, v := range x[i*ldx:][:k] {
			s0 += v * w0[p]
			s1 += v * w1[p]
			s2 += v * w2[p]
			s3 += v * w3[p]
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
