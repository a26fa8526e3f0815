// Package leveldb reads LevelDB databases, written by C++ LevelDB (Caffe's
// default back end) or by others, without changing them.
//
// A database is a folder: CURRENT names a manifest, the manifest lists the
// live tables of each level and the first live log, and what was written last
// is in the logs only. Open reads the manifest and the logs; tables are opened
// when a cursor comes to them, one at a time for each level but 0, so that a
// set of many thousand tables needs few open files. Memory holds the logs
// (Caffe's write buffer: at most 2 × 256 MB) and one table block per level.
//
// Tables are read with github.com/syndtr/goleveldb's table reader, checksums
// on. Its database layer is not used, because it judges a log's records by the
// sequence number in the manifest: C++ LevelDB writes that number after later
// records have gone into the log, so a database as convert_imageset leaves it
// is refused by the strict mode and loses records in the other one.
//
// Every checksum is checked, and damage is an error that wraps ErrCorrupt. The
// one exception is the format's own: a record of a log cut off by the end of the
// file was never acknowledged, and is ignored.
//
// Nothing is locked, so that read-only media work; a database must not be
// written to while it is read. Keys and values that cursors return are valid
// for ever and must not be written to. A DB may be used by several goroutines,
// each with a Cursor of its own.
//
// Formats: LevelDB's doc/log_format.md, doc/table_format.md and
// db/version_edit.cc.
package leveldb
