package data

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// A datum is a caffepb.Datum read in place: data and floats are slices of the
// record, which spares a copy of every picture.
type datum struct {
	c, h, w int
	label   int32
	encoded bool
	data    []byte
	// floats holds the field's payloads: one packed run, or 4 bytes for each
	// unpacked value, as Caffe writes them.
	floats  []byte
	nFloats int
	split   bool // floats is not one run: collected in order into a new slice
}

var errDatum = errors.New("not a Datum message")

// parseDatum reads a serialized Datum. Unknown fields are skipped; of a field
// given twice the last counts.
func parseDatum(b []byte) (datum, error) {
	var d datum
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return d, fmt.Errorf("%w: %w", errDatum, protowire.ParseError(n))
		}
		if num > protowire.MaxValidNumber {
			return d, fmt.Errorf("%w: field number %d", errDatum, num)
		}
		b = b[n:]
		switch {
		case typ == protowire.VarintType && (num <= 3 || num == 5 || num == 7):
			v, n := protowire.ConsumeVarint(b)
			if n < 0 {
				return d, fmt.Errorf("%w: %w", errDatum, protowire.ParseError(n))
			}
			b = b[n:]
			switch num {
			case 1:
				d.c = int(int32(v))
			case 2:
				d.h = int(int32(v))
			case 3:
				d.w = int(int32(v))
			case 5:
				d.label = int32(v)
			case 7:
				d.encoded = v != 0
			}
		case typ == protowire.BytesType && (num == 4 || num == 6):
			v, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return d, fmt.Errorf("%w: %w", errDatum, protowire.ParseError(n))
			}
			b = b[n:]
			if num == 4 {
				d.data = v
			} else {
				if len(v)%4 != 0 {
					return d, fmt.Errorf("%w: float_data of %d bytes", errDatum, len(v))
				}
				d.addFloats(v)
			}
		case typ == protowire.Fixed32Type && num == 6:
			if len(b) < 4 {
				return d, fmt.Errorf("%w: it ends inside float_data", errDatum)
			}
			d.addFloats(b[:4:4])
			b = b[4:]
		default:
			n := protowire.ConsumeFieldValue(num, typ, b)
			if n < 0 {
				return d, fmt.Errorf("%w: %w", errDatum, protowire.ParseError(n))
			}
			b = b[n:]
		}
	}
	return d, nil
}

func (d *datum) addFloats(v []byte) {
	if d.floats == nil {
		d.floats = v
	} else {
		if !d.split {
			d.floats, d.split = append([]byte(nil), d.floats...), true
		}
		d.floats = append(d.floats, v...)
	}
	d.nFloats = len(d.floats) / 4
}

// size returns the number of samples a raw record should have, after checking
// that the record is sound.
func (d *datum) size() (int, error) {
	if d.c <= 0 || d.h <= 0 || d.w <= 0 {
		return 0, fmt.Errorf("record of shape %d×%d×%d (channels×height×width)", d.c, d.h, d.w)
	}
	if d.h > maxPixels/d.w || d.c > maxPixels/(d.h*d.w) {
		return 0, errTooLarge
	}
	n := d.c * d.h * d.w
	// Caffe looks at float_data only when data is empty.
	switch {
	case len(d.data) > 0 && len(d.data) != n:
		return 0, fmt.Errorf("record of %d bytes, but its shape %d×%d×%d needs %d%s", len(d.data), d.c, d.h, d.w, n, d.rawAdvice(n))
	case len(d.data) == 0 && d.nFloats != n:
		return 0, fmt.Errorf("record of %d float values, but its shape %d×%d×%d needs %d", d.nFloats, d.c, d.h, d.w, n)
	}
	return n, nil
}

// shape returns the size of the picture under a mode. For an encoded record
// only the file's header is read.
func (d *datum) shape(mode ColorMode) (c, h, w int, err error) {
	if d.encoded {
		hd, err := readHeader(d.data)
		if err != nil {
			err = fmt.Errorf("%w%s", err, d.encodedAdvice())
		}
		return hd.channels(mode), hd.h, hd.w, err
	}
	_, err = d.size()
	return d.c, d.h, d.w, err
}

// decode makes im the record's picture. Raw bytes are not copied: im.Pix then
// points into the record.
func (d *datum) decode(mode ColorMode, im *Image) error {
	if d.encoded {
		if err := DecodeImage(d.data, mode, im); err != nil {
			return fmt.Errorf("%w%s", err, d.encodedAdvice())
		}
		return nil
	}
	n, err := d.size()
	if err != nil {
		return err
	}
	im.C, im.H, im.W, im.Pix, im.Float, im.Warning = d.c, d.h, d.w, nil, nil, ""
	if len(d.data) > 0 {
		im.Pix = d.data
		return nil
	}
	if cap(im.floatBuf) < n {
		im.floatBuf = make([]float32, n)
	}
	im.Float = im.floatBuf[:n]
	for i := range im.Float {
		im.Float[i] = math.Float32frombits(binary.LittleEndian.Uint32(d.floats[4*i:]))
	}
	return nil
}

// DecodeDatum decodes a serialized Datum, raw or encoded, into im, and returns
// its label. Raw bytes are not copied: im.Pix then points into b.
func DecodeDatum(b []byte, mode ColorMode, im *Image) (label int, err error) {
	d, err := parseDatum(b)
	if err != nil {
		return 0, err
	}
	return int(d.label), d.decode(mode, im)
}
