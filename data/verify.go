package data

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	"crema/internal/par"
)

// ErrDamaged marks pictures that are read although their files are damaged.
var ErrDamaged = errors.New("damaged")

// CheckStructure checks what a database's format lets one check beside reading
// the records: every page of an LMDB database (lmdb.DB.Check). LevelDB has
// checksums that reading checks.
func CheckStructure(db DB) error {
	if l, ok := db.(lmdbDB); ok {
		return l.db.Check()
	}
	return nil
}

// verifyBatch is how many records are checked at a time.
const verifyBatch = 256

// Verify reads every record of a database as training does: it parses the
// Datum and decodes its picture. It calls report for each record that is wrong,
// in the order of the keys, with an error that wraps ErrDamaged if the picture
// can be read in part. It returns the number of records; its error says that
// the database itself could not be read to its end.
func Verify(ctx context.Context, db DB, report func(key string, err error)) (records int, err error) {
	cur := db.Cursor()
	defer cur.Close()
	type record struct {
		key, value []byte
		err        error
	}
	batch := make([]record, 0, verifyBatch)
	check := func() {
		par.For(len(batch), 1, func(lo, hi int) {
			im := imagePool.Get().(*Image)
			defer imagePool.Put(im)
			for i := lo; i < hi; i++ {
				batch[i].err = db.Guard(func() error { return verifyRecord(batch[i].value, im) })
			}
		})
		for _, r := range batch {
			if r.err != nil {
				report(string(r.key), r.err)
			}
		}
		batch = batch[:0]
	}
	var last []byte
	err = db.Guard(func() error {
		k, v, err := cur.First()
		for ; err == nil; k, v, err = cur.Next() {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			records++
			last = append(last[:0], k...)
			if batch = append(batch, record{key: k, value: v}); len(batch) == verifyBatch {
				check()
			}
		}
		check()
		return err
	})
	if i, ok := db.(intacter); ok {
		if changed := i.intact(); changed != nil {
			return records, changed
		}
	}
	switch {
	case err == io.EOF:
		return records, nil
	case last != nil && ctx.Err() == nil:
		err = fmt.Errorf("behind record %q: %w", last, err)
	}
	return records, err
}

// verifyRecord decodes a record, with im as scratch.
func verifyRecord(v []byte, im *Image) error {
	d, err := parseDatum(v)
	if err != nil {
		return err
	}
	if err := d.decode(Native, im); err != nil {
		return err
	}
	if im.Warning != "" {
		return fmt.Errorf("%w: %s", ErrDamaged, im.Warning)
	}
	for i, f := range im.Float {
		if f := float64(f); math.IsNaN(f) || math.IsInf(f, 0) {
			return fmt.Errorf("value %d of float_data is %g", i, f)
		}
	}
	return nil
}
