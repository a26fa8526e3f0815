package tfevents

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// maskedCRC is the checksum of a record's parts: rotated and shifted, so that
// data that contain checksums have no odd ones (tensorflow/core/lib/hash/crc32c.h).
func maskedCRC(b []byte) uint32 {
	c := crc32.Checksum(b, castagnoli)
	return (c>>15 | c<<17) + 0xa282ead8
}

// FileName returns the name of an event file begun at time t by this host.
func FileName(t time.Time) string {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	return fmt.Sprintf("events.out.tfevents.%010d.%s.crema", t.Unix(), host)
}

// Fields of Event, SessionLog, Summary, Summary.Value, Image and
// HistogramProto.
const (
	eventWallTime    = 1
	eventStep        = 2
	eventFileVersion = 3
	eventSummary     = 5
	eventSessionLog  = 7

	sessionStatus      = 1
	sessionStatusStart = 1

	summaryValue = 1
	valueTag     = 1
	valueSimple  = 2
	valueImage   = 4
	valueHisto   = 5

	imageHeight     = 1
	imageWidth      = 2
	imageColorspace = 3
	imageEncoded    = 4

	histoMin     = 1
	histoMax     = 2
	histoNum     = 3
	histoSum     = 4
	histoSquares = 5
	histoLimits  = 6
	histoCounts  = 7
)

// AppendHeader appends the record that a file begins with.
func AppendHeader(b []byte, t time.Time) []byte {
	return appendEvent(b, t, 0, func(b []byte) []byte {
		b = protowire.AppendTag(b, eventFileVersion, protowire.BytesType)
		return protowire.AppendString(b, "brain.Event:2")
	})
}

// AppendRestart appends the record that makes TensorBoard forget the steps from
// step on that came before, in this file or in an earlier one of the folder.
func AppendRestart(b []byte, t time.Time, step int64) []byte {
	return appendEvent(b, t, step, func(b []byte) []byte {
		b = protowire.AppendTag(b, eventSessionLog, protowire.BytesType)
		return appendMessage(b, func(b []byte) []byte { return appendInt(b, sessionStatus, sessionStatusStart) })
	})
}

// A Value is a value of a summary: a Scalar, a *Histogram or an Image.
type Value interface {
	// appendTo appends the fields of a Summary.Value but for the tag.
	appendTo(b []byte) []byte
}

// A Tagged is a value and its name; slashes in a name group values.
type Tagged struct {
	Tag   string
	Value Value
}

// AppendSummary appends a record of values of one step.
func AppendSummary(b []byte, t time.Time, step int64, values ...Tagged) []byte {
	return appendEvent(b, t, step, func(b []byte) []byte {
		b = protowire.AppendTag(b, eventSummary, protowire.BytesType)
		return appendMessage(b, func(b []byte) []byte {
			for _, v := range values {
				b = protowire.AppendTag(b, summaryValue, protowire.BytesType)
				b = appendMessage(b, func(b []byte) []byte {
					b = protowire.AppendTag(b, valueTag, protowire.BytesType)
					b = protowire.AppendString(b, v.Tag)
					return v.Value.appendTo(b)
				})
			}
			return b
		})
	})
}

// appendEvent appends a record of an Event whose last field what appends.
func appendEvent(b []byte, t time.Time, step int64, what func([]byte) []byte) []byte {
	begin := len(b)
	b = append(b, make([]byte, 12)...)
	b = appendDouble(b, eventWallTime, float64(t.Unix())+float64(t.Nanosecond())/1e9)
	if step != 0 {
		b = appendInt(b, eventStep, step)
	}
	b = what(b)
	head, data := b[begin:begin+12], b[begin+12:]
	binary.LittleEndian.PutUint64(head, uint64(len(data)))
	binary.LittleEndian.PutUint32(head[8:], maskedCRC(head[:8]))
	return binary.LittleEndian.AppendUint32(b, maskedCRC(data))
}

// appendMessage appends the length of what f appends, and that.
func appendMessage(b []byte, f func([]byte) []byte) []byte {
	begin := len(b)
	b = f(b)
	n := len(b) - begin
	size := protowire.SizeVarint(uint64(n))
	b = append(b, make([]byte, size)...)
	copy(b[begin+size:], b[begin:begin+n])
	protowire.AppendVarint(b[:begin], uint64(n))
	return b
}

func appendDouble(b []byte, field protowire.Number, v float64) []byte {
	b = protowire.AppendTag(b, field, protowire.Fixed64Type)
	return protowire.AppendFixed64(b, math.Float64bits(v))
}

func appendInt(b []byte, field protowire.Number, v int64) []byte {
	b = protowire.AppendTag(b, field, protowire.VarintType)
	return protowire.AppendVarint(b, uint64(v))
}

// A Scalar is a number.
type Scalar float32

func (s Scalar) appendTo(b []byte) []byte {
	b = protowire.AppendTag(b, valueSimple, protowire.Fixed32Type)
	return protowire.AppendFixed32(b, math.Float32bits(float32(s)))
}

// An Image is a PNG file with its size in pixels and its number of channels: 1
// for grey, 3 for RGB, 4 for RGBA.
type Image struct {
	Width, Height, Channels int
	PNG                     []byte
}

func (m Image) appendTo(b []byte) []byte {
	b = protowire.AppendTag(b, valueImage, protowire.BytesType)
	return appendMessage(b, func(b []byte) []byte {
		b = appendInt(b, imageHeight, int64(m.Height))
		b = appendInt(b, imageWidth, int64(m.Width))
		b = appendInt(b, imageColorspace, int64(m.Channels))
		b = protowire.AppendTag(b, imageEncoded, protowire.BytesType)
		return protowire.AppendBytes(b, m.PNG)
	})
}

// limits are the upper ends of TensorFlow's histogram buckets, ascending:
// 1e-12·1.1ⁿ below 1e20, the largest float, the same below zero, and zero
// (tensorflow/core/lib/histogram/histogram.cc, InitDefaultBucketsInner).
var limits = func() []float64 {
	var up []float64
	for v := 1e-12; v < 1e20; v *= 1.1 {
		up = append(up, v)
	}
	up = append(up, math.MaxFloat64)
	var all []float64
	for _, v := range slices.Backward(up) {
		all = append(all, -v)
	}
	return append(append(all, 0), up...)
}()

// A Histogram counts values in TensorFlow's buckets. Its zero value is empty.
type Histogram struct {
	counts            []float64 // nil while empty
	min, max          float64
	n, sum, sumSquare float64
}

// Add counts the finite values of v.
func (h *Histogram) Add(v []float32) {
	if h.counts == nil {
		h.counts = make([]float64, len(limits))
		h.min, h.max = math.MaxFloat64, -math.MaxFloat64
	}
	for _, x := range v {
		x := float64(x)
		if math.IsNaN(x) || math.IsInf(x, 0) {
			continue
		}
		h.counts[bucket(x)]++
		h.min, h.max = min(h.min, x), max(h.max, x)
		h.n++
		h.sum += x
		h.sumSquare += x * x
	}
}

// bucket returns the first bucket whose limit is above v.
func bucket(v float64) int {
	lo, hi := 0, len(limits)-1
	for lo < hi {
		mid := (lo + hi) / 2
		if limits[mid] > v {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}

// appendTo leaves out empty buckets: of a run of them, all but the last.
func (h *Histogram) appendTo(b []byte) []byte {
	var ends, counts []byte
	for i, c := range h.counts {
		if c == 0 && i+1 < len(h.counts) && h.counts[i+1] == 0 {
			continue
		}
		ends = protowire.AppendFixed64(ends, math.Float64bits(limits[i]))
		counts = protowire.AppendFixed64(counts, math.Float64bits(c))
	}
	low, high := h.min, h.max
	if h.n == 0 {
		// TensorFlow writes an empty histogram with one empty bucket.
		low, high = 0, 0
		ends = protowire.AppendFixed64(nil, math.Float64bits(math.MaxFloat64))
		counts = protowire.AppendFixed64(nil, 0)
	}
	b = protowire.AppendTag(b, valueHisto, protowire.BytesType)
	return appendMessage(b, func(b []byte) []byte {
		b = appendDouble(b, histoMin, low)
		b = appendDouble(b, histoMax, high)
		b = appendDouble(b, histoNum, h.n)
		b = appendDouble(b, histoSum, h.sum)
		b = appendDouble(b, histoSquares, h.sumSquare)
		b = protowire.AppendTag(b, histoLimits, protowire.BytesType)
		b = protowire.AppendBytes(b, ends)
		b = protowire.AppendTag(b, histoCounts, protowire.BytesType)
		return protowire.AppendBytes(b, counts)
	})
}
