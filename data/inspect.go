package data

// A DatumInfo describes a serialized Datum whose picture was not decoded.
type DatumInfo struct {
	// C, H and W are the size of the picture.
	C, H, W int
	Label   int
	// Encoded records hold a file of that Format ("JPEG", "PNG", …), Float ones
	// 32-bit samples.
	Encoded, Float bool
	Format         string
	// Bytes is the size of what the picture is stored in.
	Bytes int
}

// InspectDatum returns what a serialized Datum holds. Of the samples it reads
// nothing, of an encoded picture only the header, so that the pages of a mapped
// database in between stay on disk.
func InspectDatum(b []byte, mode ColorMode) (DatumInfo, error) {
	d, err := parseDatum(b)
	if err != nil {
		return DatumInfo{}, err
	}
	i := DatumInfo{Label: int(d.label), Encoded: d.encoded, Float: !d.encoded && len(d.data) == 0, Bytes: max(len(d.data), len(d.floats))}
	if !d.encoded {
		i.C, i.H, i.W, err = d.shape(mode)
		return i, err
	}
	hd, err := readHeader(d.data)
	if err != nil {
		return i, err
	}
	i.C, i.H, i.W, i.Format = hd.channels(mode), hd.h, hd.w, formatNames[hd.format]
	return i, nil
}

// EncodedPicture returns the file that a serialized Datum holds, a slice of b;
// nil if it holds none.
func EncodedPicture(b []byte) []byte {
	d, err := parseDatum(b)
	if err != nil || !d.encoded {
		return nil
	}
	return d.data
}

// RecordCount returns the number of records of a database whose format stores
// it (LMDB does, LevelDB does not).
func RecordCount(db DB) (n uint64, ok bool) {
	l, ok := db.(lmdbDB)
	if !ok {
		return 0, false
	}
	return l.db.Len(), true
}
