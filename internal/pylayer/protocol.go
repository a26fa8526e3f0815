package pylayer

import (
	"encoding/binary"
	"errors"
	"io"
	"math"
	"strconv"

	"crema/tensor"
)

// Kinds of requests; python/server.py has the same table.
const (
	kindInit byte = 1 + iota // JSON: see greet
	kindLoad                 // JSON: spec
	kindSetup
	kindReshape
	kindForward
	kindBackward
)

// Kinds of replies.
const (
	kindDone   byte = 1 + iota
	kindFailed      // JSON: see Error; a text where the Python side has asked
	kindPlace       // asks where a blob's values or gradients are
	kindAdd         // tells of a new parameter
)

// What a blob is to its layer.
const (
	roleBottom = iota
	roleTop
	roleParam
)

// methods are the methods that requests call.
var methods = [...]string{kindSetup: "setup", kindReshape: "reshape", kindForward: "forward", kindBackward: "backward"}

// doing names a request for messages.
type doing struct {
	l    *Layer
	kind byte
}

func (d doing) String() string {
	switch d.kind {
	case kindInit:
		return "it started"
	case kindLoad:
		return "module " + strconv.Quote(d.l.module) + " was imported"
	}
	return d.l.class + "." + methods[d.kind] + " ran"
}

// headSize is that of a frame: the length of the body and the kind.
const headSize = 5

// begin starts a frame in p.out.
func (p *Process) begin(kind byte) { p.out = append(p.out[:0], 0, 0, 0, 0, kind) }

// send sends the frame in p.out.
func (p *Process) send(d doing) error {
	binary.LittleEndian.PutUint32(p.out, uint32(len(p.out)-headSize))
	if _, err := p.requests.Write(p.out); err != nil {
		return p.died(d)
	}
	return nil
}

// receive returns kind and body of the next frame; the body is valid until the
// next call.
func (p *Process) receive(d doing) (byte, []byte, error) {
	if _, err := io.ReadFull(p.in, p.head[:]); err != nil {
		return 0, nil, p.died(d)
	}
	n := binary.LittleEndian.Uint32(p.head[:])
	if n > maxBody {
		return 0, nil, p.broken(errFrame, d)
	}
	if cap(p.body) < int(n) {
		p.body = make([]byte, n)
	}
	p.body = p.body[:n]
	if _, err := io.ReadFull(p.in, p.body); err != nil {
		return 0, nil, p.died(d)
	}
	return p.head[4], p.body, nil
}

// maxBody is more than any reply has: a length above it was not written by
// server.py.
const maxBody = 64 << 20

// describe appends where a blob is and its shape.
func (v *view) describe(to []byte, b *tensor.Blob) []byte {
	for _, h := range [...]*hold{&v.data, &v.diff} {
		offset, room := h.at()
		to = binary.LittleEndian.AppendUint64(to, uint64(offset))
		to = binary.LittleEndian.AppendUint64(to, uint64(room))
	}
	to = binary.LittleEndian.AppendUint16(to, uint16(b.Axes()))
	for i := range b.Axes() {
		to = binary.LittleEndian.AppendUint64(to, uint64(b.Dim(i)))
	}
	return to
}

// asked is what the Python side says of a blob.
type asked struct {
	role, index int
	diff        bool
	shape       []int
}

var errFrame = errors.New("sent what crema cannot read (file descriptor 4 is not for layers)")

// readAsked takes the next asked from the front of a body.
func readAsked(b []byte) (a asked, rest []byte, err error) {
	const fixed = 6
	if len(b) < fixed {
		return a, nil, errFrame
	}
	a.role, a.index, a.diff = int(b[0]), int(binary.LittleEndian.Uint16(b[1:])), b[3] != 0
	axes := int(binary.LittleEndian.Uint16(b[4:]))
	b = b[fixed:]
	if len(b) < 8*axes {
		return a, nil, errFrame
	}
	for i := range axes {
		d := binary.LittleEndian.Uint64(b[8*i:])
		if d > math.MaxInt32 {
			return a, nil, errFrame
		}
		a.shape = append(a.shape, int(d))
	}
	return a, b[8*axes:], tensor.CheckShape(a.shape)
}
