package data

// The inverse DCT is the one of Loeffler, Ligtenberg and Moschytz (1989) in
// libjpeg's fixed point (jidctint.c): constants of 13 bits, 2 more bits kept
// between the passes.
const (
	idctBits = 13
	idctPass = 2

	fix0298 = 2446
	fix0390 = 3196
	fix0541 = 4433
	fix0765 = 6270
	fix0899 = 7373
	fix1175 = 9633
	fix1501 = 12299
	fix1847 = 15137
	fix1961 = 16069
	fix2053 = 16819
	fix2562 = 20995
	fix3072 = 25172
)

// idct1D transforms eight values; the results are scaled by 2^idctBits.
func idct1D(i0, i1, i2, i3, i4, i5, i6, i7 int32) (o0, o1, o2, o3, o4, o5, o6, o7 int32) {
	z1 := (i2 + i6) * fix0541
	t2 := z1 - i6*fix1847
	t3 := z1 + i2*fix0765
	t0 := (i0 + i4) << idctBits
	t1 := (i0 - i4) << idctBits
	e0, e3 := t0+t3, t0-t3
	e1, e2 := t1+t2, t1-t2

	z1, z2, z3, z4 := i7+i1, i5+i3, i7+i3, i5+i1
	z5 := (z3 + z4) * fix1175
	z1 *= -fix0899
	z2 *= -fix2562
	z3 = z3*-fix1961 + z5
	z4 = z4*-fix0390 + z5
	t0 = i7*fix0298 + z1 + z3
	t1 = i5*fix2053 + z2 + z4
	t2 = i3*fix3072 + z2 + z3
	t3 = i1*fix1501 + z1 + z4
	return e0 + t3, e1 + t2, e2 + t1, e3 + t0, e3 - t0, e2 - t1, e1 - t2, e0 - t3
}

// idct transforms a block of dequantised coefficients in rows to 8×8 samples.
func idct(in *[64]int32, out []byte, stride int) {
	var ws [64]int32
	for x := range 8 {
		i0, i1, i2, i3, i4, i5, i6, i7 := in[x], in[8+x], in[16+x], in[24+x], in[32+x], in[40+x], in[48+x], in[56+x]
		if i1|i2|i3|i4|i5|i6|i7 == 0 {
			v := i0 << idctPass
			ws[x], ws[8+x], ws[16+x], ws[24+x], ws[32+x], ws[40+x], ws[48+x], ws[56+x] = v, v, v, v, v, v, v, v
			continue
		}
		const shift = idctBits - idctPass
		const half = 1 << (shift - 1)
		o0, o1, o2, o3, o4, o5, o6, o7 := idct1D(i0, i1, i2, i3, i4, i5, i6, i7)
		ws[x], ws[8+x], ws[16+x], ws[24+x] = (o0+half)>>shift, (o1+half)>>shift, (o2+half)>>shift, (o3+half)>>shift
		ws[32+x], ws[40+x], ws[48+x], ws[56+x] = (o4+half)>>shift, (o5+half)>>shift, (o6+half)>>shift, (o7+half)>>shift
	}
	for y := range 8 {
		w := ws[8*y : 8*y+8 : 8*y+8]
		d := out[y*stride:][:8]
		const shift = idctBits + idctPass + 3
		// 128 centres the samples.
		const half = 1<<(shift-1) + 128<<shift
		o0, o1, o2, o3, o4, o5, o6, o7 := idct1D(w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7])
		d[0], d[1], d[2], d[3] = limit((o0+half)>>shift), limit((o1+half)>>shift), limit((o2+half)>>shift), limit((o3+half)>>shift)
		d[4], d[5], d[6], d[7] = limit((o4+half)>>shift), limit((o5+half)>>shift), limit((o6+half)>>shift), limit((o7+half)>>shift)
	}
}

// idctDC is idct of a block whose only coefficient is dc.
func idctDC(dc int32, out []byte, stride int) {
	v := limit((dc<<idctPass+1<<(idctPass+2))>>(idctPass+3) + 128)
	for y := range 8 {
		d := out[y*stride:][:8]
		d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7] = v, v, v, v, v, v, v, v
	}
}

// limit clamps v to 0…255.
func limit(v int32) byte {
	if uint32(v) > 255 {
		return byte(^(v >> 31))
	}
	return byte(v)
}

// plainSum is the largest sum of magnitudes of a block's coefficients for which
// no step of idct can leave 16 bits. Pictures made from samples stay below it
// but for the most extreme; damaged data may not.
const plainSum = 5000

// idctWide is idct for coefficients of any size: with the 16-bit arithmetic,
// wrapping here and saturating there, of libjpeg-turbo's vector code
// (jidctint-avx2.asm), since its results are what most programs show of damaged
// data. The plain C code of libjpeg gives other ones.
func idctWide(in *[64]int32, out []byte, stride int) {
	var ws [64]int32
	flat := true
	for _, v := range in[8:] {
		flat = flat && v == 0
	}
	for x := range 8 {
		if flat {
			for y := range 8 {
				ws[8*y+x] = int32(int16(in[x] << idctPass))
			}
			continue
		}
		const shift = idctBits - idctPass
		o := idctWide1D([8]int32{in[x], in[8+x], in[16+x], in[24+x], in[32+x], in[40+x], in[48+x], in[56+x]})
		for y, v := range o {
			ws[8*y+x] = max(-32768, min((v+1<<(shift-1))>>shift, 32767))
		}
	}
	for y := range 8 {
		const shift = idctBits + idctPass + 3
		o := idctWide1D([8]int32(ws[8*y:]))
		d := out[y*stride:][:8]
		for x, v := range o {
			d[x] = limit((v+1<<(shift-1))>>shift + 128)
		}
	}
}

// idctWide1D is idct1D of values and, where idct1D multiplies sums of them, of
// sums that wrap at 16 bits.
func idctWide1D(in [8]int32) [8]int32 {
	wrap := func(v int32) int32 { return int32(int16(v)) }
	for i := range in {
		in[i] = wrap(in[i])
	}
	z1 := (in[2] + in[6]) * fix0541
	t2 := z1 - in[6]*fix1847
	t3 := z1 + in[2]*fix0765
	t0 := wrap(in[0]+in[4]) << idctBits
	t1 := wrap(in[0]-in[4]) << idctBits
	e0, e3 := t0+t3, t0-t3
	e1, e2 := t1+t2, t1-t2

	z1, z2, z3, z4 := in[7]+in[1], in[5]+in[3], wrap(in[7]+in[3]), wrap(in[5]+in[1])
	z5 := (z3 + z4) * fix1175
	z1 *= -fix0899
	z2 *= -fix2562
	z3 = z3*-fix1961 + z5
	z4 = z4*-fix0390 + z5
	t0 = in[7]*fix0298 + z1 + z3
	t1 = in[5]*fix2053 + z2 + z4
	t2 = in[3]*fix3072 + z2 + z3
	t3 = in[1]*fix1501 + z1 + z4
	return [8]int32{e0 + t3, e1 + t2, e2 + t1, e3 + t0, e3 - t0, e2 - t1, e1 - t2, e0 - t3}
}

// idctBlock transforms a block by the way its coefficients need.
func idctBlock(in *[64]int32, out []byte, stride int) {
	var sum int64
	for _, v := range in {
		sum += int64(max(v, -v))
	}
	if sum > plainSum {
		idctWide(in, out, stride)
	} else {
		idct(in, out, stride)
	}
}
