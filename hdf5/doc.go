// Package hdf5 reads HDF5 files and writes new ones without cgo, as much of
// the format as Caffe's files need and what the usual tools (h5py, MATLAB,
// pandas' fixed tables, libhdf5 itself) make of arrays of numbers.
//
// # Reading
//
// [Open] takes files of any version of the format (superblocks 0 to 3), old
// groups (symbol tables) and new ones (links, compact or dense), hard and soft
// links. [Dataset] reads integers of 1 to 8 bytes and IEEE floats of 2, 4 and 8
// bytes, in either byte order, as float32; and strings. Storage may be compact,
// contiguous or in chunks under any index, with the filters deflate, shuffle
// and fletcher32. What is not supported (other filters, external files and
// links, shared-message tables, compounds) is refused by name with an error
// that wraps [ErrUnsupported]. Attributes are skipped.
//
// Nothing in a file is trusted: every address, size and count is checked
// against the file's length before it is used, checksums are compared where the
// format has them, and no more memory is taken than the file can justify. A
// damaged file gives an error that wraps [ErrDamaged], never a panic. Files are
// read with pread rather than mapped, so a file that shrinks under the reader
// is an error too.
//
// # Writing
//
// A [Builder] collects groups and datasets and writes them in one pass, front
// to back, in the oldest format (superblock 0, symbol tables, contiguous
// datasets), which is what libhdf5 writes by default and every reader
// understands. Values are not copied: they are converted on their way out, so a
// file as large as memory needs no second copy. A [RowWriter] appends rows to
// datasets whose number of rows is known only at the end.
//
// # File layout
//
// All integers that are written are little-endian; O is an offset of 8 bytes
// (all ones: undefined).
//
//	superblock 0   signature (8 bytes) | versions, sizes | K of symbol-table
//	               nodes (4), of B-tree nodes (16) | base, free space, end, driver O
//	               | root's symbol-table entry
//	object         header of messages: dataspace (1), datatype (3), fill value
//	               (5), layout (8) of a dataset; symbol table (17) of a group
//	group          B-tree (TREE) of symbol-table nodes (SNOD) sorted by name;
//	               names in a local heap (HEAP)
//	dataset        header, and its values anywhere in the file
//
// The format is described in the "HDF5 File Format Specification", version 3.0,
// of The HDF Group.
//
// # Concurrency
//
// A File and its groups may be used by several goroutines; a Dataset keeps
// buffers and must be used by one at a time.
package hdf5
