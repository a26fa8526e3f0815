package pylayer

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"crema/tensor"
)

// A Spec says which layer to make.
type Spec struct {
	// Name of the layer in the net.
	Name string
	// Module and Class are the fields module and layer of python_param.
	Module, Class string
	// ParamStr is what the layer has as param_str.
	ParamStr string
	// Phase is 0 for TRAIN and 1 for TEST.
	Phase int
	// Params are parameters that the layer finds when setup is called.
	Params []*tensor.Blob
}

// A Layer is a layer that runs in Python. Its errors are of type *Error where
// the layer has raised an exception.
type Layer struct {
	p      *Process
	number int
	module string
	class  string
	train  bool
	views  [roleParam + 1][]view // by role and index
	params []*tensor.Blob
}

// A view is what Python has of a blob: the parts it has asked for.
type view struct{ data, diff hold }

func newView() view { return view{diff: hold{diff: true}} }

// Error is an exception in a layer.
type Error struct {
	// Where is the method, as Class.forward, or what else failed.
	Where string
	// Message is the exception's type and text.
	Message string
	// Frames are the last calls of the traceback, the innermost last.
	Frames []string
	// Hint says what to do, or is empty.
	Hint string
}

// Error has the message in the first line and the calls in those that follow.
func (e *Error) Error() string {
	s := e.Where + ": " + e.Message
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	for _, f := range e.Frames {
		s += "\n" + strings.TrimRight(f, "\n")
	}
	return s
}

// Load makes a layer and calls its setup, after it has started the process if
// this is the first layer. A top that is one of the bottoms is one blob to the
// layer, too.
func (p *Process) Load(s Spec, bottom, top []*tensor.Blob) (*Layer, error) {
	if err := p.start(); err != nil {
		return nil, err
	}
	l := &Layer{p: p, number: len(p.layers), module: s.Module, class: s.Class, train: s.Phase == 0, params: slices.Clone(s.Params)}
	for role, n := range [...]int{len(bottom), len(top), len(s.Params)} {
		for range n {
			l.views[role] = append(l.views[role], newView())
		}
	}
	p.layers = append(p.layers, l)
	inPlace := map[string]int{}
	for i, t := range top {
		if j := slices.Index(bottom, t); j >= 0 {
			inPlace[strconv.Itoa(i)] = j
		}
	}
	body, err := json.Marshal(map[string]any{
		"number": l.number, "name": s.Name, "module": s.Module, "layer": s.Class, "param_str": s.ParamStr, "phase": s.Phase,
		"bottoms": len(bottom), "tops": len(top), "in_place": inPlace,
	})
	if err != nil {
		return nil, err
	}
	p.begin(kindLoad)
	p.out = append(p.out, body...)
	d := doing{l, kindLoad}
	if err := p.send(d); err != nil {
		return nil, err
	}
	kind, body, err := p.receive(d)
	if err != nil {
		return nil, err
	}
	if kind != kindDone {
		return nil, l.failed(fmt.Sprintf("class %s of Python module %q", s.Class, s.Module), body)
	}
	return l, l.run(kindSetup, false, bottom, top, nil)
}

// Params returns the parameters: those of the Spec and those that setup has
// added.
func (l *Layer) Params() []*tensor.Blob { return l.params }

// Reshape calls the layer's reshape.
func (l *Layer) Reshape(bottom, top []*tensor.Blob) error {
	return l.run(kindReshape, true, bottom, top, nil)
}

// Forward calls the layer's forward, after its reshape if that is asked for.
func (l *Layer) Forward(reshape bool, bottom, top []*tensor.Blob) error {
	return l.run(kindForward, reshape, bottom, top, nil)
}

// Backward calls the layer's backward with propagateDown, one for each bottom.
func (l *Layer) Backward(top []*tensor.Blob, propagateDown []bool, bottom []*tensor.Blob) error {
	return l.run(kindBackward, false, bottom, top, propagateDown)
}

// run has Python call a method, and answers what it asks meanwhile.
func (l *Layer) run(kind byte, reshape bool, bottom, top []*tensor.Blob, down []bool) error {
	p := l.p
	if p.err != nil {
		return p.err
	}
	p.begin(kind)
	p.out = binary.LittleEndian.AppendUint32(p.out, uint32(l.number))
	p.out = appendBool(p.out, reshape)
	blobs := [...][]*tensor.Blob{bottom, top, l.params}
	for _, bs := range blobs {
		p.out = binary.LittleEndian.AppendUint16(p.out, uint16(len(bs)))
	}
	for i := range bottom {
		p.out = appendBool(p.out, down != nil && down[i])
	}
	for role, bs := range blobs {
		for i, b := range bs {
			v := &l.views[role][i]
			if err := v.refresh(b); err != nil {
				return err
			}
			p.out = v.describe(p.out, b)
		}
	}
	d := doing{l, kind}
	if err := p.send(d); err != nil {
		return err
	}
	for {
		reply, body, err := p.receive(d)
		if err != nil {
			return err
		}
		switch reply {
		case kindDone:
			return l.done(d, body, bottom, top)
		case kindFailed:
			return l.failed("", body)
		case kindPlace, kindAdd:
			err = l.answer(d, reply, body, bottom, top)
		default:
			err = errFrame
		}
		if err != nil {
			return p.broken(err, d)
		}
	}
}

// blob returns one of the blobs that the layer sees, and Python's view of it.
func (l *Layer) blob(a asked, bottom, top []*tensor.Blob) (*tensor.Blob, *view, error) {
	if a.role > roleParam {
		return nil, nil, errFrame
	}
	bs := [...][]*tensor.Blob{bottom, top, l.params}[a.role]
	if a.index >= len(bs) {
		return nil, nil, errFrame
	}
	return bs[a.index], &l.views[a.role][a.index], nil
}

// answer answers a question that Python asks while a method runs.
func (l *Layer) answer(d doing, kind byte, body []byte, bottom, top []*tensor.Blob) error {
	a, _, err := readAsked(body)
	if err != nil {
		return err
	}
	if kind == kindAdd && a.role == roleParam && a.index == len(l.params) {
		l.params = append(l.params, tensor.New())
		l.views[roleParam] = append(l.views[roleParam], newView())
	}
	b, v, err := l.blob(a, bottom, top)
	if err != nil {
		return err
	}
	b.Reshape(a.shape...)
	if kind == kindPlace {
		h := &v.data
		if a.diff {
			h = &v.diff
		}
		err = h.keep(b)
	}
	p := l.p
	if err != nil {
		p.begin(kindFailed)
		p.out = append(p.out, err.Error()...)
	} else {
		p.begin(kindDone)
		p.out = v.describe(p.out, b)
	}
	return p.send(d)
}

// done takes in what a method has changed.
func (l *Layer) done(d doing, body []byte, bottom, top []*tensor.Blob) error {
	if len(body) < 2 {
		return l.p.broken(errFrame, d)
	}
	n := binary.LittleEndian.Uint16(body)
	body = body[2:]
	for range n {
		a, rest, err := readAsked(body)
		if err != nil {
			return l.p.broken(err, d)
		}
		body = rest
		b, _, err := l.blob(a, bottom, top)
		if err != nil {
			return l.p.broken(err, d)
		}
		if a.role == roleParam && d.kind != kindSetup && !b.HasShape(a.shape...) {
			return fmt.Errorf("%s.%s changed the shape of parameter %d from %s to %s: that works in setup only",
				l.class, methods[d.kind], a.index, tensor.FormatShape(b.Shape()), tensor.FormatShape(a.shape))
		}
		b.Reshape(a.shape...)
	}
	// What the method may have written counts as changed. Nets that share
	// parameters and may run at once are not in the phase TRAIN.
	l.written(roleTop, top)
	if d.kind == kindSetup || l.train {
		l.written(roleParam, l.params)
	}
	return nil
}

// written counts the values of blobs as changed, if Python sees them.
func (l *Layer) written(role int, bs []*tensor.Blob) {
	for i, b := range bs {
		if l.views[role][i].data.c != nil {
			b.Data()
		}
	}
}

// failed returns the error that a reply describes.
func (l *Layer) failed(where string, body []byte) error {
	var said struct {
		Error
		Method string
	}
	if err := json.Unmarshal(body, &said); err != nil {
		return errors.New(string(body))
	}
	said.Where = where
	if where == "" {
		said.Where = l.class + "." + said.Method
	}
	return &said.Error
}

// refresh moves what Python sees of a blob back to shared memory, should it have
// left that: it has grown, or shares other memory now.
func (v *view) refresh(b *tensor.Blob) error {
	for _, h := range [...]*hold{&v.data, &v.diff} {
		if h.c != nil && b.Count() > 0 {
			if err := h.keep(b); err != nil {
				return err
			}
		}
	}
	return nil
}

// release gives up all shared memory.
func (l *Layer) release() {
	for _, vs := range l.views {
		for i := range vs {
			vs[i].data.release()
			vs[i].diff.release()
		}
	}
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}
