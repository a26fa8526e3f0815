package data

import "image"

// Chroma of JPEG files is stored at half the resolution more often than not.
// libjpeg, and so OpenCV and Caffe, interpolates it with a triangle filter
// ("fancy upsampling", jdsample.c): a sample between two stored ones is 3/4
// the nearer and 1/4 the farther one. image/jpeg leaves chroma as stored, so
// the filter and the conversion to RGB, in libjpeg's integers, are done here.

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

// An upsampler gives full-resolution rows of one chroma plane.
type upsampler struct {
	pix            []byte
	stride         int
	h, w           int // stored size
	hFac, vFac     int // output samples per stored one
	sum            []int32
	fancyH, fancyV bool
}

func newUpsampler(pix []byte, m *image.YCbCr, sum []int32) upsampler {
	s := m.Rect.Size()
	u := upsampler{pix: pix, stride: m.CStride, hFac: 1, vFac: 1, sum: sum}
	switch m.SubsampleRatio {
	case image.YCbCrSubsampleRatio422:
		u.hFac = 2
	case image.YCbCrSubsampleRatio420:
		u.hFac, u.vFac = 2, 2
	case image.YCbCrSubsampleRatio440:
		u.vFac = 2
	case image.YCbCrSubsampleRatio411:
		u.hFac = 4
	case image.YCbCrSubsampleRatio410:
		u.hFac, u.vFac = 4, 2
	}
	u.w, u.h = (s.X+u.hFac-1)/u.hFac, (s.Y+u.vFac-1)/u.vFac
	// libjpeg filters factors of 2 only, and across only where there are more
	// than two stored samples in a row.
	u.fancyH = u.hFac == 2 && u.w > 2
	u.fancyV = u.vFac == 2 && (u.hFac == 1 || u.fancyH)
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

// ycbcrToBGR converts m to the three planes of im, which has m's size.
func ycbcrToBGR(m *image.YCbCr, im *Image) {
	// A row of upsampled chroma is at most 3 samples wider than the picture.
	cbRow, crRow := make([]byte, im.W+4), make([]byte, im.W+4)
	sum := make([]int32, im.W)
	cb, cr := newUpsampler(m.Cb, m, sum), newUpsampler(m.Cr, m, sum)
	n := im.H * im.W
	for y := range im.H {
		ys := m.Y[y*m.YStride:][:im.W]
		bs := cb.row(y, cbRow)[:len(ys)]
		rs := cr.row(y, crRow)[:len(ys)]
		o := y * im.W
		outB := im.Pix[o:][:len(ys)]
		outG := im.Pix[n+o:][:len(ys)]
		outR := im.Pix[2*n+o:][:len(ys)]
		for x, l := range ys {
			sum := uint64(l)*lumaUnit + cbTable[bs[x]] + crTable[rs[x]]
			outB[x] = clampTable[sum>>blueShift&clampMask]
			outG[x] = clampTable[sum>>greenShift&clampMask]
			outR[x] = clampTable[sum>>redShift&clampMask]
		}
	}
}
