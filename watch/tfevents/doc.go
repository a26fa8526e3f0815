// Package tfevents encodes what TensorBoard reads: records of Event messages
// with scalars, histograms and images, in files whose names contain "tfevents".
//
// A file is a sequence of records (tensorflow/core/lib/io/record_writer.h):
//
//	uint64  length of the data, little-endian
//	uint32  masked CRC-32C of those eight bytes
//	bytes   data: an Event (tensorflow/core/util/event.proto)
//	uint32  masked CRC-32C of the data
//
// The first Event says "brain.Event:2". Field numbers are those of event.proto
// and of summary.proto (tensorflow/core/framework); values are stored in the
// forms that every version of TensorBoard reads (simple_value, histo, image).
//
// Everything is appended to byte slices, whose writing is the caller's
// business. Functions may be called from several goroutines.
package tfevents
