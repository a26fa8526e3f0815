//go:build unix

package pylayer

import (
	"slices"
	"sync"
	"testing"

	"crema/tensor"
)

func TestRoundUp(t *testing.T) {
	for n := range 3000 {
		n *= 997
		got := roundUp(n)
		if got < n || got%(16<<10) != 0 {
			t.Fatalf("roundUp(%d) = %d", n, got)
		}
		if pages := (n + 16<<10 - 1) / (16 << 10); pages > 0 && got/(16<<10)*4 >= pages*5 && pages >= 4 {
			t.Fatalf("roundUp(%d) = %d: too much", n, got)
		}
		if again := roundUp(got); again != got {
			t.Fatalf("roundUp(%d) = %d, of that %d", n, got, again)
		}
	}
}

// openArena opens the memory that tests without a process need.
func openArena(t *testing.T) {
	t.Helper()
	if _, err := shared.open(); err != nil {
		t.Fatal(err)
	}
}

// TestHold moves blobs to shared memory and back.
func TestHold(t *testing.T) {
	openArena(t)
	for _, diff := range []bool{false, true} {
		a := tensor.New(2, 3)
		b := tensor.New(3, 2)
		b.ShareData(a)
		b.ShareDiff(a)
		h := &hold{diff: diff}
		copy(h.elements(a), []float32{1, 2, 3, 4, 5, 6})
		if offset, room := h.at(); offset != -1 || room != 0 {
			t.Errorf("holds nothing, at %d, room for %d", offset, room)
		}
		if err := h.keep(a); err != nil {
			t.Fatal(err)
		}
		first := h.c
		inChunk := func(c *chunk, b *tensor.Blob) bool { return &h.elements(b)[0] == &c.mem[0] }
		if !inChunk(first, a) || !inChunk(first, b) || !slices.Equal(h.elements(b), []float32{1, 2, 3, 4, 5, 6}) {
			t.Errorf("diff %v: after keep: %v", diff, h.elements(b))
		}

		// Another one of the same memory, as of a net that shares parameters.
		other := &hold{diff: diff}
		if err := other.keep(b); err != nil {
			t.Fatal(err)
		}
		if other.c != first || first.holds != 2 {
			t.Error("memory that is held was moved again")
		}
		h.release()
		h.release()
		if !inChunk(first, a) || first.holds != 1 {
			t.Error("memory that another needs was given up")
		}

		// It grows out of the chunk.
		a.Reshape(len(first.mem) + 1)
		h.elements(a)[7] = 8
		b.Reshape(8)
		if err := other.keep(b); err != nil {
			t.Fatal(err)
		}
		if other.c == first || !inChunk(other.c, a) || h.elements(a)[7] != 8 {
			t.Error("a blob that has grown was not moved")
		}
		if first.holds != 0 {
			t.Error("the chunk it was in before is still held")
		}
		if i := slices.IndexFunc(first.mem, func(v float32) bool { return v != 0 }); i >= 0 {
			t.Errorf("a chunk given back has %v at %d", first.mem[i], i)
		}

		// Its memory is shared no more.
		second := other.c
		b.Reshape(a.Shape()...)
		if diff {
			b.ShareDiff(tensor.New(a.Count()))
		} else {
			b.ShareData(tensor.New(a.Count()))
		}
		if err := other.keep(b); err != nil {
			t.Fatal(err)
		}
		if other.c == second || inChunk(second, a) || h.elements(a)[7] != 8 || h.elements(b)[7] != 0 {
			t.Error("a blob that shares other memory was not moved, or the other one has lost its values")
		}
		other.release()
		h.elements(b)[0] = 5
		if second.mem[0] != 0 {
			t.Error("a released blob is still in shared memory")
		}
	}
}

// TestHoldAtOnce holds and releases one blob's values from several goroutines,
// while they are read.
func TestHoldAtOnce(t *testing.T) {
	openArena(t)
	a := tensor.New(1000)
	for i := range a.Data() {
		a.Data()[i] = float32(i)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			b := tensor.New(10, 100)
			b.ShareData(a)
			for range 200 {
				var h hold
				if err := h.keep(b); err != nil {
					t.Error(err)
					return
				}
				if v := b.ReadData()[999]; v != 999 {
					t.Errorf("the last value is %v", v)
				}
				h.release()
			}
		})
	}
	wg.Wait()
	if a.ReadData()[999] != 999 {
		t.Error("values are lost")
	}
}
