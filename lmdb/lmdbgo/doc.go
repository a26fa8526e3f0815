// Package lmdbgo reads LMDB databases through liblmdb, by way of
// github.com/bmatsuo/lmdb-go. It offers the methods of package lmdb's reader,
// as an alternative to it and to check it against.
//
// It exists only in builds with cgo and the tag lmdbgo:
//
//	CGO_ENABLED=1 go build -tags lmdbgo
package lmdbgo
