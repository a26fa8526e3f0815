package rng

import "testing"

func TestKeyDependsOnEverything(t *testing.T) {
	seen := map[uint64]int{}
	for i, k := range []uint64{
		Key(1, "a"), Key(2, "a"), Key(1, "b"), Key(1, "ab"), Key(1, ""), Key(1, "a", 0), Key(1, "a", 1),
		Key(1, "a", 0, 0), Key(1, "a", 0, 1), Key(1, "a", 1, 0), Key(1, "", 'a'),
	} {
		if j, dup := seen[k]; dup {
			t.Errorf("keys %d and %d are equal", i, j)
		}
		seen[k] = i
	}
	name := []byte("a")
	if Key(1, string(name), 2) != Key(1, "a", 2) {
		t.Error("equal arguments give different keys")
	}
}

func TestSourceIsNewsStream(t *testing.T) {
	r, p := New(5, "layer", 1, 2), Source(5, "layer", 1, 2)
	for range 100 {
		if a, b := r.Uint64(), p.Uint64(); a != b {
			t.Fatalf("New gives %x, Source %x", a, b)
		}
	}
}
