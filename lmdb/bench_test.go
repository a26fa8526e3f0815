package lmdb

import (
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"testing"
)

// BenchmarkPut writes records of the size of a 256×256 RGB image.
func BenchmarkPut(b *testing.B) {
	for _, size := range []int{100, 196639} {
		b.Run(fmt.Sprintf("value=%d", size), func(b *testing.B) {
			w, err := Create(filepath.Join(b.TempDir(), "db"), Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer w.Abort()
			value := fill(1, size)
			key := make([]byte, 16)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				key = fmt.Appendf(key[:0], "%016d", i)
				if err := w.Put(key, value); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkNext(b *testing.B) {
	path := filepath.Join(b.TempDir(), "db")
	writeRecords(b, path, Options{PageSize: 4096}, makeRecords(100000, constant(16), constant(100)))
	c := mustOpen(b, path).Cursor()
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := c.Next(); err == io.EOF {
			_, _, err = c.First()
			if err != nil {
				b.Fatal(err)
			}
		} else if err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSeek(b *testing.B) {
	recs := makeRecords(100000, constant(16), constant(100))
	path := filepath.Join(b.TempDir(), "db")
	writeRecords(b, path, Options{PageSize: 4096}, recs)
	c := mustOpen(b, path).Cursor()
	rnd := rand.New(rand.NewPCG(1, 2))
	for b.Loop() {
		if _, _, err := c.Seek(recs[rnd.IntN(len(recs))].key); err != nil {
			b.Fatal(err)
		}
	}
}
