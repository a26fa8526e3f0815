package pylayer

import (
	"fmt"
	"math/bits"
	"os"
	"sync"
	"unsafe"

	"crema/tensor"
)

// A chunk is a piece of the shared memory, which one blob's values or gradients
// fill, also those of all blobs that share them.
type chunk struct {
	offset int64 // in the file, in bytes
	mem    []float32
	holds  int
}

// An arena is the memory that this process and its Python processes share. Its
// pages are mapped for good: a slice that someone kept for too long has old or
// foreign values, but does not end the program.
type arena struct {
	mu   sync.Mutex
	file *os.File
	size int64 // of the file
	end  int64 // of the last chunk
	free map[int][]*chunk
	used map[*float32]*chunk // by the first element
}

// shared is the arena of this process: one, since nets share parameters.
var shared = arena{free: map[int][]*chunk{}, used: map[*float32]*chunk{}}

// growth is by how much the file grows at least. It takes no memory: only what
// chunks fill does.
const growth = 64 << 20

// open returns the file, which is created at the first call.
func (a *arena) open() (*os.File, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.file == nil {
		f, err := sharedFile()
		if err != nil {
			return nil, fmt.Errorf("memory to share with Python: %w", err)
		}
		a.file = f
	}
	return a.file, nil
}

// take returns the chunk that begins at mem, or a new one of at least n elements
// if there is none or it is too small. It counts as held once more.
func (a *arena) take(mem []float32, n int) (*chunk, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.used[unsafe.SliceData(mem)]; c != nil && len(c.mem) >= n {
		c.holds++
		return c, nil
	}
	c, err := a.allocate(n)
	if err != nil {
		return nil, err
	}
	c.holds = 1
	a.used[&c.mem[0]] = c
	return c, nil
}

// drop counts a chunk as held once less and reports whether nobody holds it any
// more.
func (a *arena) drop(c *chunk) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	c.holds--
	if c.holds == 0 {
		delete(a.used, &c.mem[0])
	}
	return c.holds == 0
}

// recycle takes back a chunk that nobody holds. Its memory goes back to the
// system.
func (a *arena) recycle(c *chunk) {
	a.mu.Lock()
	defer a.mu.Unlock()
	discard(a.file, c.offset, c.mem)
	a.free[len(c.mem)] = append(a.free[len(c.mem)], c)
}

// allocate returns a chunk of zeros.
func (a *arena) allocate(n int) (*chunk, error) {
	size := roundUp(n)
	c := &chunk{}
	if list := a.free[size]; len(list) > 0 {
		c, a.free[size] = list[len(list)-1], list[:len(list)-1]
	}
	bytes := int64(size) * 4
	fail := func(err error) (*chunk, error) {
		return nil, fmt.Errorf("no %d bytes of memory to share with Python: %w", bytes, err)
	}
	if c.mem != nil {
		if err := reserve(a.file, c.offset, bytes); err != nil {
			a.free[size] = append(a.free[size], c)
			return fail(err)
		}
		return c, nil
	}
	if end := a.end + bytes; end > a.size {
		grown := max(end, a.size+growth)
		if err := a.file.Truncate(grown); err != nil {
			return fail(err)
		}
		a.size = grown
	}
	if err := reserve(a.file, a.end, bytes); err != nil {
		return fail(err)
	}
	b, err := mapShared(a.file, a.end, int(bytes))
	if err != nil {
		return fail(err)
	}
	c.offset, c.mem = a.end, unsafe.Slice((*float32)(unsafe.Pointer(&b[0])), size)
	a.end += bytes
	return c, nil
}

// roundUp returns the length of a chunk for n elements: a multiple of the largest
// pages that systems map by, 64 KB, and less than a quarter more than that needs.
// So there are few lengths, and a blob that grows a little stays where it is.
func roundUp(n int) int {
	const page = 64 << 10 / 4 // elements
	pages := uint((n + page - 1) / page)
	if pages == 0 {
		pages = 1
	}
	step := uint(1) << max(bits.Len(pages)-3, 0)
	return int((pages+step-1)/step*step) * page
}

// A hold keeps a blob's values, or its gradients, in shared memory.
type hold struct {
	diff bool
	c    *chunk       // nil: it holds nothing
	blob *tensor.Blob // what is held, for release
}

// place moves what the hold is of.
func (h *hold) place(b *tensor.Blob, where tensor.Placer) error {
	if h.diff {
		return b.PlaceDiff(where)
	}
	return b.PlaceData(where)
}

// elements returns what the hold is of, without a change of version.
func (h *hold) elements(b *tensor.Blob) []float32 {
	if h.diff {
		return b.Diff()
	}
	return b.ReadData()
}

// keep makes h hold those of b, which must have elements.
func (h *hold) keep(b *tensor.Blob) error {
	if h.c != nil && b.Count() <= len(h.c.mem) && &h.elements(b)[0] == &h.c.mem[0] {
		return nil
	}
	var c *chunk
	err := h.place(b, func(now []float32, n int) (_ []float32, err error) {
		if c, err = shared.take(now, n); err != nil {
			return nil, err
		}
		return c.mem, nil
	})
	if err != nil {
		return err
	}
	h.release()
	h.c, h.blob = c, tensor.New(b.Shape()...)
	if h.diff {
		h.blob.ShareDiff(b)
	} else {
		h.blob.ShareData(b)
	}
	return nil
}

// at returns where the chunk begins and its length in elements; -1 and 0 without
// one.
func (h *hold) at() (offset, room int64) {
	if h.c == nil {
		return -1, 0
	}
	return h.c.offset, int64(len(h.c.mem))
}

// release gives up what is held. If nobody else holds it, it moves to ordinary
// memory.
func (h *hold) release() {
	c := h.c
	if c == nil {
		return
	}
	last := false
	// The placer runs while nobody else can place, and so take, the same memory.
	_ = h.place(h.blob, func(now []float32, _ int) ([]float32, error) {
		if last = shared.drop(c); last && len(now) > 0 && &now[0] == &c.mem[0] {
			return make([]float32, len(now)), nil
		}
		return now, nil
	})
	if last {
		shared.recycle(c)
	}
	h.c, h.blob = nil, nil
}
