package infer

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"crema/data"
	"crema/internal/infile"
)

// imageTypes are the ends of names of files that are looked at in a folder.
var imageTypes = []string{".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".ppm", ".pgm"}

// ListImages returns the files that are named, and the pictures, by the ends of
// their names, right in the folders that are, in the order of names. A name that
// does not exist is an error, and so is a folder without pictures.
func ListImages(names []string) ([]string, error) {
	var files []string
	for _, n := range names {
		st, err := os.Stat(n)
		if err != nil {
			return nil, err
		}
		if !st.IsDir() {
			files = append(files, n)
			continue
		}
		entries, err := os.ReadDir(n)
		if err != nil {
			return nil, err
		}
		found := false
		for _, e := range entries {
			if !e.IsDir() && slices.Contains(imageTypes, strings.ToLower(filepath.Ext(e.Name()))) {
				files, found = append(files, filepath.Join(n, e.Name())), true
			}
		}
		if !found {
			return nil, fmt.Errorf("%s: no image in this folder (%s)", n, strings.Join(imageTypes, ", "))
		}
	}
	return files, nil
}

// ReadImages decodes files, all at once. For each there is a picture (C×H×W, as
// mode says) or an error, which does not name the file.
func ReadImages(files []string, mode data.ColorMode) ([]*data.Image, []error) {
	ims, errs := make([]*data.Image, len(files)), make([]error, len(files))
	var wg sync.WaitGroup
	for i, f := range files {
		wg.Go(func() {
			b, err := infile.ReadFile(f)
			if err == nil {
				ims[i] = new(data.Image)
				err = data.DecodeImage(b, mode, ims[i])
			}
			if err != nil {
				ims[i], errs[i] = nil, err
			}
		})
	}
	wg.Wait()
	return ims, errs
}
