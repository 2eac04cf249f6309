package env

import (
	"math/rand/v2"
	"slices"
)

// nameSet is one directory entry set to a node, or removed if that is nil.
type nameSet struct {
	dir  *node
	name string
	node *node
}

// nameOp is one change of names, which a power cut keeps or loses as a whole.
type nameOp struct {
	sets   []nameSet
	synced []*node // directories of sets that were synced since
}

func (o *nameOp) certain() bool {
	for _, s := range o.sets {
		if !slices.Contains(o.synced, s.dir) {
			return false
		}
	}
	return true
}

func (o *nameOp) touches(dir *node, name string) bool {
	return slices.ContainsFunc(o.sets, func(s nameSet) bool { return s.dir == dir && s.name == name })
}

// overlaps tells whether two changes set the same name.
func (o *nameOp) overlaps(p *nameOp) bool {
	return slices.ContainsFunc(o.sets, func(s nameSet) bool { return p.touches(s.dir, s.name) })
}

// rename makes a change of names that readers see at once; d.mu is held.
func (d *Disk) rename(o *nameOp) {
	for _, s := range o.sets {
		if old := s.dir.dir.entries[s.name]; old != nil && old != s.node && old.file != nil {
			// Replaced or removed; a rename's source is linked again by its second set.
			old.file.unlinked = true
			defer d.release(old.file)
		}
		if s.node == nil {
			delete(s.dir.dir.entries, s.name)
			continue
		}
		s.dir.dir.entries[s.name] = s.node
		s.node.parent, s.node.name = s.dir, s.name
		if s.node.file != nil {
			s.node.file.unlinked = false
		}
	}
	d.nameOps = append(d.nameOps, o)
}

// syncNames makes the entries of dir durable.
func (d *Disk) syncNames(dir *node) {
	for _, o := range d.nameOps {
		if slices.ContainsFunc(o.sets, func(s nameSet) bool { return s.dir == dir }) && !slices.Contains(o.synced, dir) {
			o.synced = append(o.synced, dir)
		}
	}
	// Fold what is certain, unless an earlier change of the same name is not: the
	// order of two changes of one name must be kept.
	var left []*nameOp
	for _, o := range d.nameOps {
		if !o.certain() || slices.ContainsFunc(left, o.overlaps) {
			left = append(left, o)
			continue
		}
		for _, s := range o.sets {
			setEntry(s.dir.dir.durable, s.name, s.node)
		}
	}
	d.nameOps = left
}

func setEntry(m map[string]*node, name string, n *node) {
	if n == nil {
		delete(m, name)
	} else {
		m[name] = n
	}
}

// sync makes the file's bytes durable.
func (f *fileState) sync() {
	for _, m := range f.pending {
		if m.fate == open {
			m.fate = certain
		}
	}
	// Fold from the front only: a doomed change stays where it is in the order.
	folded := 0
	for _, m := range f.pending {
		if m.fate != certain {
			break
		}
		f.durable = m.apply(f.durable)
		folded++
	}
	f.pending = slices.Delete(f.pending, 0, folded)
}

func (f *fileState) syncFailed() {
	for _, m := range f.pending {
		if m.fate == open {
			m.fate = doomed
		}
	}
}

// chances are how one power cut treats what was not synced.
type chances struct {
	keep, tear float64 // of a write; the rest is lost
	extend     float64 // that a lost write leaves the file's new size
	name       float64 // that a change of names survives
}

func drawChances(rng *rand.Rand) chances {
	switch rng.IntN(8) {
	case 0: // nothing unsynced survives
		return chances{}
	case 1: // everything does: the cache was just written out
		return chances{keep: 1, extend: 1, name: 1}
	case 2: // bytes are lost and names survive, as with delayed allocation
		return chances{extend: rng.Float64(), name: 1}
	case 3: // names are lost
		return chances{keep: 1, extend: 1}
	default:
		c := chances{keep: rng.Float64(), extend: rng.Float64(), name: rng.Float64()}
		c.tear = (1 - c.keep) * rng.Float64()
		return c
	}
}

// CrashClone is a disk as a power cut at this moment may leave it; rng decides
// (nil: the disk's own randomness). Synced bytes and names are all there. Of the
// unsynced, each write is kept, lost or torn (at any byte or in 512-byte sectors)
// on its own, so a later one may survive an earlier one; a lost one may still have
// extended the file with zeros; each truncation, creation, removal and rename
// survives or not, a rename as a whole, and one that survives brings the earlier
// changes of the same names. All of the clone is durable; faults, locks, counters
// and the record are not inherited. The original stays as it is.
func (d *Disk) CrashClone(rng *rand.Rand) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	if rng == nil {
		rng = d.rng
	}
	c := drawChances(rng)
	entries := d.survivingNames(rng, c)
	clone := newDisk(rand.New(rand.NewPCG(rng.Uint64(), rng.Uint64())))
	clone.now = d.now
	var copyDir func(from, to *node)
	copyDir = func(from, to *node) {
		names := entries[from]
		for _, name := range sortedNames(names) {
			n := names[name]
			cn := &node{parent: to, name: name, mode: n.mode, mtime: n.mtime}
			if n.dir != nil {
				cn.dir = &dirState{entries: map[string]*node{}, durable: map[string]*node{}}
				copyDir(n, cn)
			} else {
				data := n.file.surviving(rng, c)
				cn.file = &fileState{data: data, durable: slices.Clone(data)}
				clone.used += int64(len(data))
			}
			to.dir.entries[name], to.dir.durable[name] = cn, cn
		}
	}
	copyDir(d.root, clone.root)
	return clone
}

// survivingNames chooses which changes of names survive, and returns the entries
// of every directory that exists then.
func (d *Disk) survivingNames(rng *rand.Rand, c chances) map[*node]map[string]*node {
	survives := make([]bool, len(d.nameOps))
	for i, o := range d.nameOps {
		survives[i] = o.certain() || rng.Float64() < c.name
	}
	for i := len(d.nameOps) - 1; i >= 0; i-- {
		if !survives[i] {
			continue
		}
		for j := range i {
			if d.nameOps[j].overlaps(d.nameOps[i]) {
				survives[j] = true
			}
		}
	}
	entries := map[*node]map[string]*node{}
	var load func(n *node) // also reaches directories that only a change names
	load = func(n *node) {
		if n == nil || n.dir == nil || entries[n] != nil {
			return
		}
		m := make(map[string]*node, len(n.dir.durable))
		entries[n] = m
		for name, child := range n.dir.durable {
			m[name] = child
			load(child)
		}
	}
	load(d.root)
	for i, o := range d.nameOps {
		for _, s := range o.sets {
			load(s.dir)
			load(s.node)
			if survives[i] {
				setEntry(entries[s.dir], s.name, s.node)
			}
		}
	}
	return entries
}

// surviving is a file's content after a power cut.
func (f *fileState) surviving(rng *rand.Rand, c chances) []byte {
	b := slices.Clone(f.durable)
	for _, m := range f.pending {
		if m.fate == certain {
			b = m.apply(b)
			continue
		}
		switch p := rng.Float64(); {
		case p < c.keep:
			b = m.apply(b)
		case m.kind != OpWrite:
		case p < c.keep+c.tear:
			b = m.tear(b, rng)
		case rng.Float64() < c.extend:
			b = resize(b, max(int64(len(b)), m.off+int64(len(m.data))))
		}
	}
	return b
}

// tear applies a part of a write: a prefix, a suffix, or some of its sectors.
func (m *mutation) tear(b []byte, rng *rand.Rand) []byte {
	n := int64(len(m.data))
	part := func(from, to int64) {
		b = (&mutation{kind: OpWrite, off: m.off + from, data: m.data[from:to]}).apply(b)
	}
	cut := rng.Int64N(n + 1)
	switch rng.IntN(4) {
	case 0:
		part(0, cut)
	case 1: // a prefix, with the whole size
		b = resize(b, max(int64(len(b)), m.off+n))
		part(0, cut)
	case 2:
		part(cut, n)
	default:
		const sector = 512
		for from := int64(0); from < n; {
			to := min(from+sector-(m.off+from)%sector, n)
			if rng.IntN(2) == 0 {
				part(from, to)
			}
			from = to
		}
	}
	return b
}

// KillClone is the disk after the process was killed: all that was written is
// there, and what was not synced is still at risk. Locks, faults, counters and the
// record are not inherited.
func (d *Disk) KillClone() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	clone := newDisk(rand.New(rand.NewPCG(d.rng.Uint64(), d.rng.Uint64())))
	clone.now, clone.used, clone.free = d.now, d.used, d.free
	nodes := map[*node]*node{nil: nil}
	var copyNode func(n *node) *node
	copyEntries := func(m map[string]*node) map[string]*node {
		c := make(map[string]*node, len(m))
		for name, child := range m {
			c[name] = copyNode(child)
		}
		return c
	}
	copyNode = func(n *node) *node {
		if c, ok := nodes[n]; ok {
			return c
		}
		c := &node{name: n.name, mode: n.mode, mtime: n.mtime}
		nodes[n] = c
		c.parent = copyNode(n.parent)
		if n.file != nil {
			c.file = n.file.clone()
		} else {
			c.dir = &dirState{entries: copyEntries(n.dir.entries), durable: copyEntries(n.dir.durable)}
		}
		return c
	}
	clone.root = copyNode(d.root)
	for _, o := range d.nameOps {
		co := &nameOp{}
		for _, s := range o.sets {
			co.sets = append(co.sets, nameSet{copyNode(s.dir), s.name, copyNode(s.node)})
		}
		for _, dir := range o.synced {
			co.synced = append(co.synced, copyNode(dir))
		}
		clone.nameOps = append(clone.nameOps, co)
	}
	return clone
}

func (f *fileState) clone() *fileState {
	c := &fileState{data: slices.Clone(f.data), durable: slices.Clone(f.durable), unlinked: f.unlinked}
	for _, m := range f.pending {
		cm := *m
		cm.data = slices.Clone(m.data)
		c.pending = append(c.pending, &cm)
	}
	return c
}
