// Package prototxt reads and writes Caffe's files: nets and solvers in
// protobuf's text format, weights and solver states in its binary format.
//
//   - [UnmarshalText] reads the text format as liberally as Caffe's C++ reader
//     and names file, line and column of everything that is wrong; all
//     unknown fields and wrong values are reported in one error.
//   - [MarshalText] prints as the C++ printer does, byte for byte and stably.
//   - [ReadBinary] and [WriteBinary] handle binary files; writing is atomic.
//   - [UpgradeNet] and [UpgradeSolver] bring the formats of 2013 (V0), 2014
//     (V1) and later deprecated fields to the current one. [ReadNet],
//     [ReadSolver] and [ReadWeights] read and upgrade in one step.
//   - [OpenWeights] finds the parameters in a file of weights and reads their
//     values to their place, whatever else the file holds.
//   - [Overrides] changes fields from the command line (--set), [Roots] path
//     prefixes (--data-root).
//
// The messages are generated from caffepb/caffe.proto. The text reader is our
// own rather than prototext because that one keeps no positions, stops at the
// first unknown field and is stricter than C++ (form feeds, -nan, bytes that
// are not UTF-8), and rather than a formatter's parser (txtpbfmt) because
// that one accepts what C++ refuses and does not keep the positions of values.
//
// Messages returned belong to the caller. Functions may be called from several
// goroutines; an [Overrides] remembers which of its entries were used and must
// be used from one goroutine at a time. No input makes this package panic.
package prototxt

//go:generate protoc --proto_path=caffepb --go_out=caffepb --go_opt=paths=source_relative caffepb/caffe.proto
