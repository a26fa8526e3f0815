// Package lmdb reads and bulk-writes LMDB databases without cgo.
//
// It covers what Caffe's data sets need and refuses the rest by name: one
// unnamed main database of unique keys in bytewise order, written on a 64-bit
// little-endian host (data version 1, which all releases 0.9.x share). Named
// sub-databases, sorted duplicates, integer or reversed keys, and files of
// 32-bit or big-endian hosts give an error that wraps [ErrUnsupported].
//
// # File layout
//
// The file is an array of pages of one size, a power of two from 4 to 64 KB.
// All integers are little-endian.
//
//	page 0, 1   meta pages: each describes a snapshot, the newer one counts
//	page 2 …    branch, leaf, overflow and free pages in any order
//
//	page header  0 pgno u64 | 8 pad u16 | 10 flags u16 | 12 lower u16 | 14 upper u16
//	             (12 pages u32 in the first page of an overflow run)
//	branch/leaf  header, node offsets u16 growing up to lower, free space,
//	             nodes growing down from the page's end to upper
//	node         0 lo u16 | 2 hi u16 | 4 flags u16 | 6 key size u16 | 8 key, data
//	             branch: lo, hi, flags are the child's page number, no data
//	             leaf: lo, hi are the data's size; flag 1 (big data): the data
//	             are 8 bytes, the number of the first overflow page
//	overflow     header, then the value's bytes straight through the run
//	meta         16 magic u32 | 20 version u32 | 24 address | 32 map size
//	             40 free-list db (pad = page size) | 88 main db
//	             136 last page | 144 transaction id
//	db           0 pad u32 | 4 flags u16 | 6 depth u16 | 8 branch pages
//	             16 leaf pages | 24 overflow pages | 32 entries | 40 root page
//
// # Reading
//
// [Open] maps the file read-only (where it cannot be mapped, pages are read
// with pread) and picks a snapshot. Neither lock.mdb nor any other file is
// opened, so read-only media and file systems without locks work.
//
// No page is trusted. Every page is checked when a cursor enters it: its own
// number, its kind, every offset and size, the order of its keys, and that
// they lie between the separators above it. The last check makes a cycle, or
// a page reachable twice, an error at its first repeated key, without a list
// of visited pages. LMDB has no checksums: damage inside a value stays unseen.
//
// # Ownership
//
// Keys and values are slices of the mapping: they must not be written to, and
// are valid until [DB.Close]. Touching them afterwards is a fault.
//
// # Writers at work
//
// A reader that never touches lock.mdb is unknown to writers, so its pages may
// be reused under it. LMDB fixes when that can happen. A snapshot s consists
// of pages that transaction s+1 or a later one frees. Without registered
// readers, transaction t reuses pages freed by transactions up to t-2 (those
// of t-1 still belong to the snapshot a crash would fall back to). So the
// first transaction that can write into pages of s is s+3, and it starts after
// s+2 has been committed, which means after the meta page that held s shows
// s+2. Hence the rule: whatever was read before a moment at which that meta
// page still showed s, and the other one its old id or s+1, is sound. Cursors
// look at both ids after every step, which costs two loads, and return
// [ErrChanged] once the rule is broken. As the caller reads a value after the
// step that returned it, the step that follows (or [DB.Intact]) is what
// confirms that value.
//
// A file that is cut off while it is mapped makes reads of the lost pages
// fault. Cursor steps touch every page of what they return and turn such a
// fault, and likewise an I/O error of the disk, into an error; a value cut off
// after its step still faults in the caller, unless it reads within [DB.Guard].
//
// # Concurrency
//
// A [DB] may be used by any number of goroutines, each with a [Cursor] of its
// own. Close must come after the last use. A [Writer] belongs to one
// goroutine.
//
// # Writing
//
// [Create] builds a database bottom-up from records in ascending key order:
// leaves and values stream to a temporary file, only one page per branch level
// is held in memory, and [Writer.Commit] syncs and renames. Files are
// byte-for-byte reproducible, and liblmdb can open and modify them.
//
// The format is described by lmdb's own mdb.c; the names here are ours.
package lmdb
