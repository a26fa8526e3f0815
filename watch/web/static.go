package web

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"net/http"
	"strings"
	"time"
)

// staticFiles are the page's own files. They are the same for everyone and tell
// nothing of the run.
type staticFiles map[string]staticFile

type staticFile struct {
	body []byte
	etag string
}

// newStaticFiles reads the files of a folder that is part of the program.
func newStaticFiles(fsys fs.FS) staticFiles {
	all := staticFiles{}
	names, _ := fs.Glob(fsys, "*")
	for _, n := range names {
		b, err := fs.ReadFile(fsys, n)
		if err != nil {
			panic("web: embedded file cannot be read")
		}
		sum := sha256.Sum256(b)
		all[n] = staticFile{body: b, etag: `"` + hex.EncodeToString(sum[:8]) + `"`}
	}
	return all
}

func (s staticFiles) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	if name == "" {
		name = "index.html"
	}
	f, ok := s[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	// Another version of the program may answer at the same address tomorrow.
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("ETag", f.etag)
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(f.body))
}
