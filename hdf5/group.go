package hdf5

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A Node is a *Group or a *Dataset.
type Node interface {
	// Path is the path it was reached by, from the root: "/data/conv1/0".
	Path() string
}

// A Group is a set of named links to groups and datasets.
type Group struct {
	f     *File
	path  string
	links map[string]link
	names []string
}

type link struct {
	kind byte // linkHard, linkSoft, or one that is not followed
	addr uint64
	soft string // path
}

const (
	linkHard     = 0
	linkSoft     = 1
	linkExternal = 64

	// maxLinks bounds the links of a group, maxSoft how many soft links a path
	// may lead through.
	maxLinks = 1 << 22
	maxSoft  = 16
)

// Root returns the group that the file is.
func (f *File) Root() (*Group, error) {
	n, err := f.open(f.rootHeader, "/")
	if err != nil {
		return nil, f.wrap(err)
	}
	g, ok := n.(*Group)
	if !ok {
		return nil, f.wrap(damaged("its root is not a group"))
	}
	return g, nil
}

// open reads the object whose header is at an address.
func (f *File) open(addr uint64, path string) (Node, error) {
	h, err := f.header(addr)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var n Node
	switch {
	case h.has(msgLayout):
		n, err = f.dataset(h, path)
	case h.has(msgSymbolTable), h.has(msgLinkInfo), h.has(msgLink):
		n, err = f.group(h, path)
	default:
		err = unsupported("an object that is neither group nor dataset")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return n, nil
}

// Path implements Node.
func (g *Group) Path() string { return g.path }

// Names returns the names of the group's links, sorted.
func (g *Group) Names() []string { return slices.Clone(g.names) }

// Has reports whether the group has a link of that name.
func (g *Group) Has(name string) bool {
	_, ok := g.links[name]
	return ok
}

// Child opens what the link of that name leads to. The name is taken as it
// stands, a '/' in it included.
func (g *Group) Child(name string) (Node, error) {
	n, err := g.child(name, maxSoft)
	return n, g.f.wrap(err)
}

func (g *Group) child(name string, soft int) (Node, error) {
	path := strings.TrimSuffix(g.path, "/") + "/" + name
	l, ok := g.links[name]
	switch {
	case !ok:
		return nil, fmt.Errorf("%s: %w; %s", path, ErrNotFound, g.Holds())
	case l.kind == linkHard:
		return g.f.open(l.addr, path)
	case l.kind == linkSoft && soft > 0:
		from := g
		if strings.HasPrefix(l.soft, "/") {
			root, err := g.f.open(g.f.rootHeader, "/")
			if err != nil {
				return nil, err
			}
			if from, ok = root.(*Group); !ok {
				return nil, damaged("the root is not a group")
			}
		}
		n, err := from.lookup(l.soft, soft-1)
		if err != nil {
			return nil, fmt.Errorf("%s (a soft link to %s): %w", path, l.soft, err)
		}
		switch n := n.(type) {
		case *Group:
			n.path = path
		case *Dataset:
			n.path = path
		}
		return n, nil
	case l.kind == linkSoft:
		return nil, damaged("%s: soft links lead round in a circle", path)
	case l.kind == linkExternal:
		return nil, fmt.Errorf("%s: %w", path, unsupported("a link to another file"))
	}
	return nil, fmt.Errorf("%s: %w", path, unsupported("a link of kind %d", l.kind))
}

// Holds says what is in the group, for messages: "the file has data, label".
func (g *Group) Holds() string {
	const most = 12
	where := g.path
	if where == "/" {
		where = "the file"
	}
	switch {
	case len(g.names) == 0:
		return where + " is empty"
	case len(g.names) > most:
		return fmt.Sprintf("%s has %s and %d more", where, strings.Join(g.names[:most], ", "), len(g.names)-most)
	}
	return fmt.Sprintf("%s has %s", where, strings.Join(g.names, ", "))
}

// Lookup opens what a path of names with '/' between them leads to, from this
// group on. The error says where the path ends and what is there.
func (g *Group) Lookup(path string) (Node, error) {
	n, err := g.lookup(path, maxSoft)
	return n, g.f.wrap(err)
}

func (g *Group) lookup(path string, soft int) (Node, error) {
	var n Node = g
	for name := range strings.SplitSeq(path, "/") {
		if name == "" || name == "." {
			continue
		}
		in, ok := n.(*Group)
		if !ok {
			return nil, fmt.Errorf("%s/%s: %w: %s is a dataset", n.Path(), name, ErrNotFound, n.Path())
		}
		var err error
		if n, err = in.child(name, soft); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// Group is Lookup of a group.
func (g *Group) Group(path string) (*Group, error) {
	n, err := g.Lookup(path)
	if err != nil {
		return nil, err
	}
	if sub, ok := n.(*Group); ok {
		return sub, nil
	}
	return nil, g.f.wrap(fmt.Errorf("%s: %w: it is a dataset, not a group", n.Path(), ErrNotFound))
}

// Dataset is Lookup of a dataset.
func (g *Group) Dataset(path string) (*Dataset, error) {
	n, err := g.Lookup(path)
	if err != nil {
		return nil, err
	}
	if d, ok := n.(*Dataset); ok {
		return d, nil
	}
	sub := n.(*Group)
	return nil, g.f.wrap(fmt.Errorf("%s: %w: it is a group, not a dataset; %s", n.Path(), ErrNotFound, sub.Holds()))
}

// group reads the links of a group.
func (f *File) group(h header, path string) (*Group, error) {
	g := &Group{f: f, path: path, links: map[string]link{}}
	for _, m := range h {
		var err error
		switch m.kind {
		case msgLink:
			err = g.linkMessage(m.body)
		case msgSymbolTable:
			err = g.symbolTable(m.body)
		case msgLinkInfo:
			err = g.dense(m.body)
		}
		if err != nil {
			return nil, err
		}
	}
	for name := range g.links {
		g.names = append(g.names, name)
	}
	slices.Sort(g.names)
	return g, nil
}

func (g *Group) add(name string, l link) error {
	if len(g.links) >= maxLinks {
		return damaged("more than %d links in a group", maxLinks)
	}
	if _, twice := g.links[name]; twice {
		return damaged("two links of the name %q", name)
	}
	g.links[name] = l
	return nil
}

// linkMessage takes in a link as new groups store it.
func (g *Group) linkMessage(b []byte) error {
	c := cursor{f: g.f, b: b}
	if v := c.uint(1); v != 1 {
		return unsupported("link message of version %d", v)
	}
	flags := c.uint(1)
	var l link
	if flags&8 != 0 {
		l.kind = byte(c.uint(1))
	}
	if flags&4 != 0 {
		c.skip(8) // order of creation
	}
	if flags&16 != 0 {
		c.skip(1) // character set
	}
	n := c.uint(1 << (flags & 3))
	if n > uint64(c.left()) {
		return damaged("a link's name of %d bytes", n)
	}
	name := string(c.bytes(int(n)))
	switch l.kind {
	case linkHard:
		l.addr = c.addr()
	case linkSoft:
		l.soft = string(c.bytes(int(c.uint(2))))
	}
	if c.err != nil {
		return c.err
	}
	return g.add(name, l)
}

// dense takes in the links that a new group keeps in a heap because they are
// many; the message says where that is, if there is one.
func (g *Group) dense(b []byte) error {
	c := cursor{f: g.f, b: b}
	if v := c.uint(1); v != 0 {
		return unsupported("link info of version %d", v)
	}
	if flags := c.uint(1); flags&1 != 0 {
		c.skip(8)
	}
	heapAt, tree := c.addr(), c.addr()
	if c.err != nil {
		return c.err
	}
	if heapAt == undefined {
		return nil
	}
	heap, err := g.f.fractalHeap(heapAt)
	if err != nil {
		return err
	}
	const byName = 5
	return g.f.walkTree2(tree, byName, func(rec []byte) error {
		if len(rec) < 5 {
			return damaged("an index record of %d bytes", len(rec))
		}
		b, err := heap.object(rec[4:]) // behind a hash of the name
		if err != nil {
			return err
		}
		return g.linkMessage(b)
	})
}

// symbolTable takes in the links of an old group.
func (g *Group) symbolTable(b []byte) error {
	c := cursor{f: g.f, b: b}
	tree, heapAt := c.addr(), c.addr()
	if c.err != nil {
		return c.err
	}
	names, err := g.f.localHeap(heapAt)
	if err != nil {
		return err
	}
	const groupNode = 0
	return g.f.walkTree1(tree, groupNode, g.f.lengthSize, func(_ []byte, addr uint64) error { return g.symbols(addr, names) })
}

// symbols takes in the entries of a symbol-table node.
func (g *Group) symbols(addr uint64, names []byte) error {
	f := g.f
	head, err := f.block(addr, 8, "SNOD")
	if err != nil {
		return err
	}
	head.skip(2)
	n := head.uint(2)
	entry := uint64(2*f.offsetSize + 24)
	b, err := f.read(addr+8, n*entry)
	if err != nil {
		return err
	}
	c := cursor{f: f, b: b}
	for range n {
		at := c.offset()
		l := link{addr: c.addr()}
		const soft = 2
		cached := c.uint(4)
		c.skip(4)
		scratch := cursor{f: f, b: c.bytes(16)}
		if c.err != nil {
			return c.err
		}
		name, err := heapText(names, at)
		if err != nil {
			return err
		}
		if cached == soft {
			l.kind = linkSoft
			if l.soft, err = heapText(names, scratch.uint(4)); err != nil {
				return err
			}
		}
		if err := g.add(name, l); err != nil {
			return err
		}
	}
	return nil
}

func heapText(heap []byte, at uint64) (string, error) {
	if at >= uint64(len(heap)) {
		return "", damaged("a name lies outside its heap")
	}
	return text(heap[at:]), nil
}

// localHeap returns the data of a local heap.
func (f *File) localHeap(addr uint64) ([]byte, error) {
	c, err := f.block(addr, uint64(8+2*f.lengthSize+f.offsetSize), "HEAP")
	if err != nil {
		return nil, err
	}
	c.skip(4) // version, reserved
	size := c.length()
	c.length() // free list
	data := c.addr()
	if c.err != nil {
		return nil, c.err
	}
	return f.read(data, size)
}

// Walk calls fn for every group and dataset below the group, in the order of
// their names, a group before what is in it. Where a link leads back to a group
// it is within, it is not followed. Links that lead nowhere are left out.
func (g *Group) Walk(fn func(n Node) error) error {
	left := maxLinks
	return g.walk(map[string]bool{}, &left, fn)
}

func (g *Group) walk(above map[string]bool, left *int, fn func(n Node) error) error {
	for _, name := range g.names {
		if *left--; *left < 0 {
			return g.f.wrap(damaged("more than %d links", maxLinks))
		}
		n, err := g.Child(name)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		sub, isGroup := n.(*Group)
		key := g.key(name)
		if isGroup && above[key] {
			continue
		}
		if err := fn(n); err != nil {
			return err
		}
		if isGroup {
			above[key] = true
			if err := sub.walk(above, left, fn); err != nil {
				return err
			}
			delete(above, key)
		}
	}
	return nil
}

// key identifies what a link of the group leads to, as far as cycles go.
func (g *Group) key(name string) string {
	l := g.links[name]
	return fmt.Sprint(l.kind, l.addr, l.soft)
}
