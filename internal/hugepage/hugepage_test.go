package hugepage

import "testing"

func TestMake(t *testing.T) {
	for _, n := range []int{0, 1, least/4 - 1, least / 4, least/4 + 1, 5 << 20} {
		s := Make(n)
		if len(s) != n {
			t.Fatalf("Make(%d) has %d elements", n, len(s))
		}
		for i, v := range s {
			if v != 0 {
				t.Fatalf("Make(%d): element %d is %v", n, i, v)
			}
			s[i] = 1
		}
	}
}
