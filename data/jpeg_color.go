package data

// Chroma of JPEG files is stored at half the resolution more often than not.
// libjpeg, and so OpenCV and Caffe, interpolates it with a triangle filter
// ("fancy upsampling", jdsample.c): a sample between two stored ones is 3/4
// the nearer and 1/4 the farther one. The filter and the conversion to RGB are
// done in libjpeg's integers.

// Conversion to red, green and blue in libjpeg's 16-bit fixed point (jdcolor.c,
// build_ycc_rgb_table): the contributions of chroma to red and blue are rounded
// each, those to green together. All three sums are done at once, in fields of
// one word: red in bits 0-11, blue in bits 12-23, green in bits 24-51 with 16
// fractional bits. Each sum is offset by clampBias, so that no field borrows
// from the next one and the sum indexes clampTable.
const (
	redShift   = 0
	blueShift  = 12
	greenShift = 24 + 16 // of its whole part
	lumaUnit   = 1<<redShift | 1<<blueShift | 1<<greenShift
	clampBias  = 256
	clampMask  = 1023
)

var (
	cbTable, crTable [256]uint64
	clampTable       [clampMask + 1]byte
)

func init() {
	const half = 1 << 15
	for i := range 256 {
		x := int64(i - 128)
		red := (91881*x + half) >> 16
		blue := (116130*x + half) >> 16
		// Green's offset is divided between the tables, its rounding is in one.
		crTable[i] = uint64((red+clampBias)<<redShift + (-46802*x+128<<16)<<24)
		cbTable[i] = uint64((blue+clampBias)<<blueShift + (-22554*x+half+128<<16)<<24)
	}
	for i := range clampTable {
		clampTable[i] = byte(max(0, min(i-clampBias, 255)))
	}
}

// An upsampler gives full-resolution rows of one plane.
type upsampler struct {
	pix            []byte
	stride         int
	h, w           int // stored size
	hFac, vFac     int // output samples per stored one
	sum            []int32
	fancyH, fancyV bool
}

// newUpsampler returns the upsampler of a plane of h×w samples that is stored
// at 1/vFac of the picture's height and 1/hFac of its width. sum is scratch of
// w values.
func newUpsampler(pix []byte, stride, h, w, hFac, vFac int, sum []int32) upsampler {
	u := upsampler{pix: pix, stride: stride, h: h, w: w, hFac: hFac, vFac: vFac, sum: sum}
	// libjpeg filters factors of 2 only, and across only where there are more
	// than two stored samples in a row.
	u.fancyH = hFac == 2 && vFac <= 2 && w > 2
	u.fancyV = vFac == 2 && (hFac == 1 || u.fancyH)
	return u
}

// row writes output row y to dst, which has room for w·hFac samples, and
// returns it; a plane at full resolution is returned as it is.
func (u *upsampler) row(y int, dst []byte) []byte {
	cy := y / u.vFac
	near := u.pix[cy*u.stride:][:u.w]
	if !u.fancyV {
		switch {
		case u.hFac == 1:
			return near
		case u.fancyH:
			upsampleH2(near, dst)
		default:
			for x, v := range near {
				for i := range u.hFac {
					dst[x*u.hFac+i] = v
				}
			}
		}
		return dst
	}
	// The other row of the filter: above for the upper of two output rows,
	// below for the lower; the edge rows repeat.
	fy := cy + y&1*2 - 1
	fy = max(0, min(fy, u.h-1))
	far := u.pix[fy*u.stride:][:len(near)]
	if u.hFac == 1 {
		bias := int32(1 + y&1)
		d := dst[:len(near)]
		for x, v := range near {
			d[x] = byte((3*int32(v) + int32(far[x]) + bias) >> 2)
		}
		return d
	}
	sum := u.sum[:len(near)]
	for x, v := range near {
		sum[x] = 3*int32(v) + int32(far[x])
	}
	upsampleH2V2(sum, dst)
	return dst
}

// upsampleH2 doubles a row (h2v1_fancy_upsample); len(in) ≥ 2.
func upsampleH2(in, dst []byte) {
	n := len(in)
	dst = dst[:2*n]
	dst[0] = in[0]
	dst[1] = byte((3*int32(in[0]) + int32(in[1]) + 2) >> 2)
	last, cur := int32(in[0]), int32(in[1])
	for x := 1; x < n-1; x++ {
		next := int32(in[x+1])
		dst[2*x] = byte((3*cur + last + 1) >> 2)
		dst[2*x+1] = byte((3*cur + next + 2) >> 2)
		last, cur = cur, next
	}
	dst[2*n-2] = byte((3*cur + last + 1) >> 2)
	dst[2*n-1] = byte(cur)
}

// upsampleH2V2 doubles a row of vertically filtered sums
// (h2v2_fancy_upsample); len(sum) ≥ 2.
func upsampleH2V2(sum []int32, dst []byte) {
	n := len(sum)
	dst = dst[:2*n]
	dst[0] = byte((4*sum[0] + 8) >> 4)
	dst[1] = byte((3*sum[0] + sum[1] + 7) >> 4)
	last, cur := sum[0], sum[1]
	for x := 1; x < n-1; x++ {
		next := sum[x+1]
		d := dst[2*x:][:2]
		d[0] = byte((3*cur + last + 8) >> 4)
		d[1] = byte((3*cur + next + 7) >> 4)
		last, cur = cur, next
	}
	dst[2*n-2] = byte((3*cur + last + 8) >> 4)
	dst[2*n-1] = byte((4*cur + 7) >> 4)
}

// picture converts the decoded planes to the channels of im, which has the
// picture's size.
func (d *jpegDecoder) picture(im *Image) {
	// A row that is upsampled may be a few samples wider than the picture.
	pad := im.W + 4
	rows, sum := make([]byte, len(d.comps)*pad), make([]int32, im.W)
	var ups [4]upsampler
	for i := range d.comps {
		c := &d.comps[i]
		ups[i] = newUpsampler(c.pix, c.stride, c.height, c.w, d.hMax/c.h, d.vMax/c.v, sum)
	}
	// plane returns row y of component i.
	plane := func(i, y int) []byte { return ups[i].row(y, rows[i*pad:][:pad])[:im.W] }
	// libjpeg's guess of the colours (jdapimin.c's default_decompress_parms).
	ycc := d.jfif || d.adobe > 0 || d.adobe < 0 && !(d.comps[0].id == 'R' && len(d.comps) > 2 && d.comps[1].id == 'G' && d.comps[2].id == 'B')
	n := im.H * im.W
	switch {
	case len(d.comps) == 4:
		d.cmykPicture(im, plane)
	case len(d.comps) == 1 || im.C == 1 && ycc:
		p := im.plane(0)
		for y := range im.H {
			copy(p[y*im.W:], plane(0, y))
		}
		for c := 1; c < im.C; c++ {
			copy(im.plane(c), p)
		}
	case ycc:
		for y := range im.H {
			o := y * im.W
			yccRow(plane(0, y), plane(1, y), plane(2, y), im.Pix[o:], im.Pix[n+o:], im.Pix[2*n+o:])
		}
	case im.C == 1:
		for y := range im.H {
			r, g, b := plane(0, y), plane(1, y), plane(2, y)
			for x := range r {
				im.Pix[y*im.W+x] = grayJPEG(int(r[x]), int(g[x]), int(b[x]))
			}
		}
	default:
		for y := range im.H {
			for c := range 3 {
				copy(im.Pix[c*n+y*im.W:], plane(2-c, y))
			}
		}
	}
}

// yccRow converts a row of luma and chroma to blue, green and red.
func yccRow(ys, cbs, crs, outB, outG, outR []byte) {
	cbs, crs = cbs[:len(ys)], crs[:len(ys)]
	outB, outG, outR = outB[:len(ys)], outG[:len(ys)], outR[:len(ys)]
	for x, l := range ys {
		sum := uint64(l)*lumaUnit + cbTable[cbs[x]] + crTable[crs[x]]
		outB[x] = clampTable[sum>>blueShift&clampMask]
		outG[x] = clampTable[sum>>greenShift&clampMask]
		outR[x] = clampTable[sum>>redShift&clampMask]
	}
}

// cmykPicture converts four planes as OpenCV does with libjpeg's CMYK samples
// (icvCvt_CMYK2BGR): v = k - ((255 - c)·k >> 8). Files of Adobe's hold the
// inverse of ink, which is what this wants. YCCK, the colours of Adobe files
// that say so, is first turned into CMY, the inverse of RGB.
func (d *jpegDecoder) cmykPicture(im *Image, plane func(i, y int) []byte) {
	var rgb [3][]byte
	for i := range rgb {
		rgb[i] = make([]byte, im.W)
	}
	ycck := d.adobe > 0
	row := func(y int, rgba []byte) {
		c, m, ye, k := plane(0, y), plane(1, y), plane(2, y), plane(3, y)
		if ycck {
			yccRow(c, m, ye, rgb[2], rgb[1], rgb[0])
			for i := range rgb {
				for x := range rgb[i] {
					rgb[i][x] = ^rgb[i][x]
				}
			}
			c, m, ye = rgb[0], rgb[1], rgb[2]
		}
		for x := range c {
			v := int(k[x])
			rgba[4*x] = byte(v - (255-int(c[x]))*v>>8)
			rgba[4*x+1] = byte(v - (255-int(m[x]))*v>>8)
			rgba[4*x+2] = byte(v - (255-int(ye[x]))*v>>8)
			rgba[4*x+3] = 255
		}
	}
	convertRows(im, row, grayBT601x14)
}
