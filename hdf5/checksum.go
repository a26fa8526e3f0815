package hdf5

import (
	"encoding/binary"
	"math/bits"
)

// lookup3 is Bob Jenkins' hash of that name (hashlittle with initial value 0),
// the checksum of metadata since version 1.8 of the format.
func lookup3(b []byte) uint32 {
	x := uint32(0xdeadbeef) + uint32(len(b))
	y, z := x, x
	for len(b) > 12 {
		x += binary.LittleEndian.Uint32(b)
		y += binary.LittleEndian.Uint32(b[4:])
		z += binary.LittleEndian.Uint32(b[8:])
		x, y, z = mix3(x, y, z)
		b = b[12:]
	}
	if len(b) == 0 {
		return z
	}
	var last [12]byte
	copy(last[:], b)
	x += binary.LittleEndian.Uint32(last[:])
	y += binary.LittleEndian.Uint32(last[4:])
	z += binary.LittleEndian.Uint32(last[8:])
	return final3(x, y, z)
}

func mix3(x, y, z uint32) (uint32, uint32, uint32) {
	for i, r := range [...]int{4, 6, 8, 16, 19, 4} {
		switch i % 3 {
		case 0:
			x = (x - z) ^ bits.RotateLeft32(z, r)
			z += y
		case 1:
			y = (y - x) ^ bits.RotateLeft32(x, r)
			x += z
		default:
			z = (z - y) ^ bits.RotateLeft32(y, r)
			y += x
		}
	}
	return x, y, z
}

func final3(x, y, z uint32) uint32 {
	z = (z ^ y) - bits.RotateLeft32(y, 14)
	x = (x ^ z) - bits.RotateLeft32(z, 11)
	y = (y ^ x) - bits.RotateLeft32(x, 25)
	z = (z ^ y) - bits.RotateLeft32(y, 16)
	x = (x ^ z) - bits.RotateLeft32(z, 4)
	y = (y ^ x) - bits.RotateLeft32(x, 14)
	z = (z ^ y) - bits.RotateLeft32(y, 24)
	return z
}

// fletcher32 is the checksum of the filter of that name: Fletcher's over words
// of 16 bits, the first byte the high one.
func fletcher32(b []byte) uint32 {
	var lo, hi uint32
	add := func(w uint32) {
		lo += w
		hi += lo
	}
	// 360 words are the most whose sums fit 32 bits.
	for n := 0; len(b) >= 2; b = b[2:] {
		add(uint32(b[0])<<8 | uint32(b[1]))
		if n++; n == 360 {
			lo, hi, n = fold(lo), fold(hi), 0
		}
	}
	lo, hi = fold(lo), fold(hi)
	if len(b) == 1 {
		add(uint32(b[0]) << 8)
		lo, hi = fold(lo), fold(hi)
	}
	return fold(hi)<<16 | fold(lo)
}

func fold(x uint32) uint32 { return x&0xffff + x>>16 }
