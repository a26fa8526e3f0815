package par

import (
	"sync"
	"unsafe"

	"crema/internal/hugepage"
)

// A Buffer is scratch memory out of a Pool.
type Buffer struct {
	all []float32
}

// A Pool keeps scratch memory between uses. In steady state, when the sizes
// asked for repeat, it does not allocate. The zero value is ready to use.
type Pool struct {
	mu   sync.Mutex
	free []*Buffer
}

// Get returns n elements, aligned to 64 bytes, of any content, and the buffer
// to give back.
func (p *Pool) Get(n int) ([]float32, *Buffer) {
	p.mu.Lock()
	var b *Buffer
	// The smallest that is large enough; failing that, the largest grows.
	best := -1
	for i, f := range p.free {
		if best < 0 || better(len(f.all), len(p.free[best].all), n) {
			best = i
		}
	}
	if best >= 0 {
		last := len(p.free) - 1
		b = p.free[best]
		p.free[best] = p.free[last]
		p.free[last] = nil
		p.free = p.free[:last]
	}
	p.mu.Unlock()
	if b == nil {
		b = &Buffer{}
	}
	if len(b.all) < n {
		b.all = nil // let go before asking for more
		b.all = aligned(n)
	}
	return b.all[:n:n], b
}

// better reports whether size a serves a request of n better than size b.
func better(a, b, n int) bool {
	if b >= n {
		return a >= n && a < b
	}
	return a > b
}

// Put gives a buffer back; its memory must not be used any more.
func (p *Pool) Put(b *Buffer) {
	p.mu.Lock()
	p.free = append(p.free, b)
	p.mu.Unlock()
}

// aligned allocates n elements that start at a multiple of 64 bytes.
func aligned(n int) []float32 {
	const lines = 64 / 4
	s := hugepage.Make(n + lines - 1)
	skip := 0
	if r := int(uintptr(unsafe.Pointer(unsafe.SliceData(s))) / 4 % lines); r != 0 {
		skip = lines - r
	}
	return s[skip : skip+n : skip+n]
}
