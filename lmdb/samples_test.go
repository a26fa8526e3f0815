package lmdb

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// The files in testdata were made by liblmdb 0.9.19 (TestSamples with
// -update). modified.mdb has gone through several transactions that deleted
// and replaced records, so it has free pages and pages of all ages.
const sampleCount = 120

func sampleDeleted(i int) bool { return i%3 == 0 || i >= 60 && i < 80 }

// sampleVersion is 1 for the records that were replaced.
func sampleVersion(i int) int {
	if i%5 == 1 {
		return 1
	}
	return 0
}

func sampleRecord(i, version int) record {
	return record{
		fmt.Appendf(nil, "%05d-%s", i, strings.Repeat("k", i*7%90)),
		fill(i+1000*version, []int{0, 20, 150, 2100}[(i+version)%4]),
	}
}

func sampleRecords() []record {
	var recs []record
	for i := range sampleCount {
		if !sampleDeleted(i) {
			recs = append(recs, sampleRecord(i, sampleVersion(i)))
		}
	}
	return recs
}

func TestSampleFiles(t *testing.T) {
	modified := filepath.Join("testdata", "modified.mdb")
	verify(t, modified, sampleRecords())
	m := mustOpen(t, modified).meta
	if m.txnID < 5 || m.free.entries == 0 {
		t.Errorf("transaction %d, %d records in the free list: not the sample meant", m.txnID, m.free.entries)
	}
	verify(t, filepath.Join("testdata", "empty.mdb"), nil)
	for _, tc := range []struct{ name, says string }{
		{"named.mdb", `record "inner" is a named sub-database`},
		{"dupsort.mdb", "MDB_DUPSORT"},
	} {
		db, err := Open(filepath.Join("testdata", tc.name))
		if err == nil {
			_, err = walk(db)
			db.Close()
		}
		if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: error %v does not say %q", tc.name, err, tc.says)
		}
	}
}
