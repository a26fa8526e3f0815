package prototxt

import (
	"sort"
	"strings"
)

// Nearest returns the name that is most like s, which may be misspelt; "" if
// none is.
func Nearest(s string, names []string) string {
	if near := nearest(s, names, 1); len(near) > 0 {
		return near[0]
	}
	return ""
}

// nearest returns up to most of the names close to s, the closest first.
func nearest(s string, names []string, most int) []string {
	type hit struct {
		name string
		dist int
	}
	var hits []hit
	low := strings.ToLower(s)
	for _, n := range names {
		// A third of the letters may be wrong; more is a different word.
		limit := max(1, max(len(s), len(n))/3)
		if d := editDistance(low, strings.ToLower(n), limit); d <= limit {
			hits = append(hits, hit{n, d})
		}
	}
	sort.SliceStable(hits, func(i, j int) bool { return hits[i].dist < hits[j].dist })
	var out []string
	for i := 0; i < len(hits) && i < most; i++ {
		out = append(out, hits[i].name)
	}
	return out
}

// editDistance counts the insertions, deletions, replacements and swaps of
// neighbours that turn a into b; anything above limit is returned as limit+1.
func editDistance(a, b string, limit int) int {
	if d := len(a) - len(b); d > limit || -d > limit {
		return limit + 1
	}
	prev2, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return min(prev[len(b)], limit+1)
}

// orList joins names as "a, b or c".
func orList(names []string) string {
	switch n := len(names); n {
	case 0:
		return ""
	case 1:
		return names[0]
	default:
		return strings.Join(names[:n-1], ", ") + " or " + names[n-1]
	}
}
