package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"crema/data"
	"crema/internal/atomicfile"
)

// maxSheet is the number of pictures that one file may show.
const maxSheet = 400

// lmdbShow tells all about single records and writes their pictures.
func lmdbShow(fs *flag.FlagSet) func(d *openDB, args []string, s stdio) error {
	out := fs.String("out", "", "write the picture to this `file`.png; several pictures stand in rows. Under the ending of its own format (.jpg, …) an encoded picture is written as it is")
	count := fs.Int("count", 1, "show this `many` records from each key on")
	return func(d *openDB, keys []string, s stdio) error {
		if *count < 1 {
			return usageError{errors.New("-count must be positive")}
		}
		recs, err := d.find(keys, *count)
		if err != nil {
			return err
		}
		if *out == "" {
			for i, r := range recs {
				if i > 0 {
					fmt.Fprintln(s.out)
				}
				if err := r.describe(s.out); err != nil {
					return err
				}
			}
			return nil
		}
		return export(*out, recs, s)
	}
}

// A foundRecord is one that show was asked for.
type foundRecord struct{ key, value []byte }

// find looks up keys, each with the records behind it, count in all; without
// keys it begins at the first record.
func (d *openDB) find(keys []string, count int) ([]foundRecord, error) {
	starts := [][]byte{nil}
	if len(keys) > 0 {
		starts = nil
	}
	for _, k := range keys {
		start, err := d.lookUp(k)
		if err != nil {
			return nil, err
		}
		starts = append(starts, start)
	}
	var recs []foundRecord
	for _, start := range starts {
		n := 0
		if err := d.each(start, func(k, v []byte) (bool, error) {
			if n++; n > count {
				return false, nil
			}
			recs = append(recs, foundRecord{slices.Clone(k), v})
			return true, nil
		}); err != nil {
			return nil, err
		}
	}
	if len(recs) == 0 {
		return nil, fmt.Errorf("%s has no records", d.path)
	}
	return recs, nil
}

// lookUp finds the key that a user means: a key itself, the beginning of one,
// or a record's number, with which Caffe's tools begin their keys in 8 digits
// (extract_features in 10).
func (d *openDB) lookUp(k string) ([]byte, error) {
	tries := []string{k}
	if n, err := strconv.ParseUint(k, 10, 63); err == nil {
		tries = append(tries, fmt.Sprintf("%08d", n), fmt.Sprintf("%010d", n))
	}
	for i, t := range tries {
		var found []byte
		if err := d.each([]byte(t), func(key, _ []byte) (bool, error) {
			// A number is a whole word: 12 is not the beginning of 00000012…3.
			rest, ok := bytes.CutPrefix(key, []byte(t))
			if ok && (i == 0 && len(tries) == 1 || len(rest) == 0 || rest[0] < '0' || rest[0] > '9') {
				found = slices.Clone(key)
			}
			return false, nil
		}); err != nil {
			return nil, err
		}
		if found != nil {
			return found, nil
		}
	}
	return nil, fmt.Errorf("%s has no record whose key is or begins with %q (crema lmdb list shows the keys)", d.path, k)
}

// describe writes what a record holds.
func (r *foundRecord) describe(w io.Writer) error {
	var b strings.Builder
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-10s %s\n", name, fmt.Sprintf(format, args...))
	}
	row("key", "%s", keyText(r.key))
	var im data.Image
	i, err := data.InspectDatum(r.value, data.Native)
	if err == nil {
		row("label", "%d", i.Label)
		row("picture", "%s, %d bytes", shapeOf(i), i.Bytes)
		_, err = data.DecodeDatum(r.value, data.Native, &im)
	}
	if err != nil {
		row("wrong", "%v (value of %d bytes, beginning with %q)", err, len(r.value), r.value[:min(len(r.value), 16)])
		_, err := io.WriteString(w, b.String())
		return err
	}
	if im.Warning != "" {
		row("damaged", "%s", im.Warning)
	}
	values := im.Float
	if im.Pix != nil {
		values = make([]float32, len(im.Pix))
		for i, p := range im.Pix {
			values[i] = float32(p)
		}
	}
	const most = 16
	n := im.H * im.W
	if n == 1 && im.C > 1 { // a vector of features
		row("values", "%.6g", values[:min(im.C, 4*most)])
		if im.C > 4*most {
			row("", "… and %d more", im.C-4*most)
		}
		im.C = 0
	}
	for c := range min(im.C, most) {
		v := values[c*n : (c+1)*n]
		lo, hi, strange := data.FloatRange(v)
		var sum float64
		for _, x := range v {
			if x-x == 0 {
				sum += float64(x)
			}
		}
		text := fmt.Sprintf("from %.6g to %.6g, mean %.6g", lo, hi, sum/float64(max(1, n-strange)))
		if strange > 0 {
			text += fmt.Sprintf(", %d not finite", strange)
		}
		row(channelName(c, im.C), "%s", text)
	}
	if im.C > most {
		row("", "… and %d other channels", im.C-most)
	}
	_, err = io.WriteString(w, b.String())
	return err
}

// channelName names channel c of n.
func channelName(c, n int) string {
	switch n {
	case 1:
		return "values"
	case 3, 4:
		return []string{"blue", "green", "red", "alpha"}[c]
	}
	return fmt.Sprint("channel ", c)
}

// export writes the pictures of records to a file.
func export(file string, recs []foundRecord, s stdio) error {
	ext := strings.ToLower(filepath.Ext(file))
	if ext != ".png" {
		return exportFile(file, ext, recs, s)
	}
	if len(recs) > maxSheet {
		return usageError{fmt.Errorf("%d pictures in one file: %d at most", len(recs), maxSheet)}
	}
	var pictures []image.Image
	var im data.Image
	for _, r := range recs {
		if _, err := data.DecodeDatum(r.value, data.Native, &im); err != nil {
			return fmt.Errorf("record %s: %w", keyText(r.key), err)
		}
		if im.Warning != "" {
			fmt.Fprintf(s.err, "record %s: %s\n", keyText(r.key), im.Warning)
		}
		pictures = append(pictures, im.Picture())
	}
	m := sheet(pictures)
	if err := atomicfile.Write(file, func(w io.Writer) error { return png.Encode(w, m) }); err != nil {
		return err
	}
	what := fmt.Sprintf("%d pictures", len(recs))
	if len(recs) == 1 {
		what = "record " + keyText(recs[0].key)
	}
	_, err := fmt.Fprintf(s.out, "wrote %s to %s, %d×%d pixels (width×height)\n", what, file, m.Bounds().Dx(), m.Bounds().Dy())
	return err
}

// exportFile writes an encoded picture as it is, if the file is named after its
// format.
func exportFile(file, ext string, recs []foundRecord, s stdio) error {
	endings := map[string][]string{"JPEG": {".jpg", ".jpeg"}, "BMP": {".bmp"}, "TIFF": {".tif", ".tiff"}, "PNM": {".ppm", ".pgm", ".pbm", ".pnm"}}
	if len(recs) > 1 {
		return usageError{fmt.Errorf("-out %s: several records can only be written as one .png file", file)}
	}
	i, err := data.InspectDatum(recs[0].value, data.Native)
	if err != nil {
		return fmt.Errorf("record %s: %w", keyText(recs[0].key), err)
	}
	if !slices.Contains(endings[i.Format], ext) {
		return usageError{fmt.Errorf("-out %s: the picture (%s) can be written as .png%s", file, shapeOf(i), orEnding(endings[i.Format]))}
	}
	if err := atomicfile.WriteBytes(file, data.EncodedPicture(recs[0].value)); err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "wrote record %s to %s as it is\n", keyText(recs[0].key), file)
	return err
}

func orEnding(e []string) string {
	if len(e) == 0 {
		return " only"
	}
	return ", or as it is as " + e[0]
}

// sheet puts pictures into rows of cells as large as the largest, with lines
// between them, in about the shape of a screen.
func sheet(pictures []image.Image) image.Image {
	if len(pictures) == 1 {
		return pictures[0]
	}
	const line = 2
	w, h := 1, 1
	for _, p := range pictures {
		w, h = max(w, p.Bounds().Dx()), max(h, p.Bounds().Dy())
	}
	// cols·w : rows·h = 4 : 3
	cols := max(1, min(len(pictures), int(math.Round(math.Sqrt(float64(len(pictures)*h*4)/float64(3*w))))))
	rows := (len(pictures) + cols - 1) / cols
	m := image.NewRGBA(image.Rect(0, 0, cols*(w+line)-line, rows*(h+line)-line))
	draw.Draw(m, m.Bounds(), image.NewUniform(color.Gray{96}), image.Point{}, draw.Src)
	for i, p := range pictures {
		at := image.Pt(i%cols*(w+line), i/cols*(h+line))
		draw.Draw(m, p.Bounds().Sub(p.Bounds().Min).Add(at), p, p.Bounds().Min, draw.Over)
	}
	return m
}
