package data

// A DatumInfo describes a serialized Datum whose picture was not decoded.
type DatumInfo struct {
	// C, H and W are the size of the picture.
	C, H, W int
	Label   int
	// Encoded records hold a file, Float ones 32-bit samples.
	Encoded, Float bool
}

// InspectDatum returns what a serialized Datum holds. Of the samples it reads
// nothing, of an encoded picture only the header, so that the pages of a mapped
// database in between stay on disk.
func InspectDatum(b []byte, mode ColorMode) (DatumInfo, error) {
	d, err := parseDatum(b)
	if err != nil {
		return DatumInfo{}, err
	}
	i := DatumInfo{Label: int(d.label), Encoded: d.encoded, Float: !d.encoded && len(d.data) == 0}
	i.C, i.H, i.W, err = d.shape(mode)
	return i, err
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
