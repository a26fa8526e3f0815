package prototxt

import (
	"fmt"
	"path/filepath"
	"sort"
	"strings"
)

// Roots replaces prefixes of paths (--data-root). Its zero value changes
// nothing.
type Roots struct {
	roots []root // the longest first
}

type root struct{ from, to string }

// ParseRoots parses values of the form FROM=TO. A FROM given twice is an error.
func ParseRoots(flags []string) (Roots, error) {
	var r Roots
	seen := map[string]string{}
	for _, f := range flags {
		from, to, ok := strings.Cut(f, "=")
		if !ok || from == "" || to == "" {
			return Roots{}, fmt.Errorf("--data-root %q: want FROM=TO, such as /local/datasets=./data", f)
		}
		from = filepath.Clean(from)
		if old, ok := seen[from]; ok {
			return Roots{}, fmt.Errorf("--data-root %q: %s is already replaced by %s", f, from, old)
		}
		seen[from] = to
		r.roots = append(r.roots, root{from, to})
	}
	sort.SliceStable(r.roots, func(i, j int) bool { return len(r.roots[i].from) > len(r.roots[j].from) })
	return r, nil
}

// Resolve replaces the longest FROM that is a prefix of path, or all of it. A
// prefix ends at a path separator: /data does not match /database. A path that
// none matches is returned as it is. The result is not resolved again. A
// slash at the end, which in snapshot_prefix and root_folder has a meaning,
// is kept.
func (r Roots) Resolve(path string) string {
	if path == "" || len(r.roots) == 0 {
		return path
	}
	const sep = string(filepath.Separator)
	clean := filepath.Clean(path)
	if strings.HasSuffix(path, sep) && !strings.HasSuffix(clean, sep) {
		clean += sep
	}
	for _, m := range r.roots {
		rest, ok := strings.CutPrefix(clean, m.from)
		switch {
		case !ok:
			continue
		case rest == "":
			return m.to
		case m.from == sep:
			rest = sep + rest
		case !strings.HasPrefix(rest, sep):
			continue
		}
		return strings.TrimRight(m.to, sep) + rest
	}
	return path
}
