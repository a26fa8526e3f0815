package data

import (
	"bytes"
	"fmt"

	"crema/internal/infile"
)

// What pictures come from, for advice about their shapes.
type origin int

const (
	fromDatabase origin = iota // raw records
	fromEncoded                // encoded records
	fromList                   // image files
)

// shapeAdvice says what to do about a picture whose shape is not the one that
// was wanted: in words that follow a semicolon, "" where there is nothing to
// say.
func shapeAdvice(got, want [3]int, from origin) string {
	if channelsLast(got) && !channelsLast(want) {
		return "; " + channelsLastAdvice
	}
	var s string
	if got[0] != want[0] {
		s += "; some pictures are grey and others in colour, or have transparency: "
		switch from {
		case fromEncoded:
			s += "set force_color: true (or force_gray: true) in transform_param"
		case fromList:
			s += "set is_color in image_data_param, which makes all of one kind"
		default:
			s += "make the database anew with crema convert_imageset, which gives all 3 channels or, with --gray, 1"
		}
	}
	if got[1] != want[1] || got[2] != want[2] {
		s += "; sizes differ: "
		if from == fromList {
			s += "set new_height and new_width in image_data_param"
		} else {
			s += "make the database with crema convert_imageset --resize_height and --resize_width"
		}
	}
	return s
}

// channelsLast reports whether a shape of C, H and W looks like H, W and C.
func channelsLast(s [3]int) bool {
	return (s[2] == 1 || s[2] == 3 || s[2] == 4) && s[0] > 4 && s[1] > 4
}

const channelsLastAdvice = "it looks like height×width×channels, as arrays of NumPy and OpenCV are; Caffe's records are channels×height×width (transpose(2, 0, 1))"

// originOf tells what a loader's record comes from.
func originOf(s Source, r *record) origin {
	if _, ok := s.(*dbSource); !ok {
		return fromList
	}
	if d, err := parseDatum(r.value); err == nil && d.encoded {
		return fromEncoded
	}
	return fromDatabase
}

// rawAdvice says why a raw record's bytes are not as many as its shape needs.
func (d *datum) rawAdvice(samples int) string {
	switch n := len(d.data); {
	case infile.Of(d.data) == infile.Picture || looksLikePicture(d.data):
		return "; they are those of a picture file, so the record's encoded flag is missing (Datum.encoded)"
	case n == 4*samples || n == 8*samples:
		return fmt.Sprintf("; they are %d for each sample: numbers of floating point belong into float_data, data takes one byte a sample (uint8)", n/samples)
	case d.c == 3 && n == d.h*d.w:
		return "; they are as many as a grey picture has"
	case d.c == 1 && n == 3*d.h*d.w:
		return "; they are as many as a picture in colour has"
	}
	return ""
}

// looksLikePicture reports whether b begins as a JPEG or PNG file does, also if
// it is cut off there.
func looksLikePicture(b []byte) bool {
	return bytes.HasPrefix(b, []byte{0xff, 0xd8, 0xff}) || bytes.HasPrefix(b, []byte("\x89PNG"))
}

// encodedAdvice says why an encoded record may not hold a picture file.
func (d *datum) encodedAdvice() string {
	if n := d.c * d.h * d.w; n > 0 && len(d.data) == n {
		return fmt.Sprintf("; the record is marked as encoded, and has as many bytes as %d×%d×%d samples: write it without the flag (Datum.encoded)", d.c, d.h, d.w)
	}
	return ""
}

// meanAdvice is shapeAdvice for pictures that are to have one mean.
func meanAdvice(got, want [3]int, from origin) string {
	s := shapeAdvice(got, want, from)
	if from == fromEncoded && got[0] != want[0] { // the mean is of pictures as they are
		s = shapeAdvice([3]int{want[0], got[1], got[2]}, want, from) + "; some pictures are grey and others in colour: make the database anew with crema convert_imageset, which gives all 3 channels or, with --gray, 1"
	}
	if got[1] != want[1] || got[2] != want[2] {
		s += "; or use mean_value, the mean of each channel, which fits every size"
	}
	return s
}

// meanFileAdvice says why a mean may not fit a picture.
func meanFileAdvice(got, mean [3]int) string {
	switch {
	case channelsLast(got) && !channelsLast(mean):
		return "; " + channelsLastAdvice
	case channelsLast(mean) && !channelsLast(got):
		return "; the mean looks like height×width×channels; that of a .binaryproto is channels×height×width"
	case got[0] != mean[0] && got[1] == mean[1] && got[2] == mean[2]:
		return "; the one is of grey pictures: set force_color: true in transform_param for encoded records, or make the mean from these records (crema compute_image_mean)"
	}
	return "; a mean_file is of whole records, before crop_size: crema compute_image_mean makes it; mean_value, the mean of each channel, fits every size"
}

func sizeText(s [3]int) string { return fmt.Sprintf("%d×%d×%d", s[0], s[1], s[2]) }
