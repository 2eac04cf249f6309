package env

import (
	"io"
	"io/fs"
	"os"
	"slices"
	"syscall"
)

// fileState is a file's bytes: data is what readers see, and equals durable with
// all of pending applied in order.
type fileState struct {
	data     []byte
	durable  []byte
	pending  []*mutation
	unlinked bool
	handles  int
	locked   bool
}

// mutation is one change of a file's bytes.
type mutation struct {
	kind string // OpWrite, OpTruncate, OpPreallocate
	off  int64
	data []byte
	size int64 // of a truncate or preallocate
	fate fate
}

// fate is what syncs have made of a change.
type fate uint8

const (
	open    fate = iota // no sync covers it
	certain             // a sync covers it
	doomed              // a sync that failed should have covered it: none ever will
)

// apply returns b with the change made; b's memory may be reused.
func (m *mutation) apply(b []byte) []byte {
	switch m.kind {
	case OpWrite:
		b = resize(b, max(int64(len(b)), m.off+int64(len(m.data))))
		copy(b[m.off:], m.data)
	case OpTruncate:
		b = resize(b, m.size)
	case OpPreallocate:
		b = resize(b, max(int64(len(b)), m.size))
	}
	return b
}

// resize makes b size bytes long, new bytes zero.
func resize(b []byte, size int64) []byte {
	was := int64(len(b))
	if size <= was {
		return b[:size]
	}
	if size > int64(cap(b)) {
		grown := make([]byte, size, size+size/4)
		copy(grown, b)
		return grown
	}
	b = b[:size]
	clear(b[was:])
	return b
}

// change counts, decides and makes one change of n's bytes, and tells how many
// bytes of a write it made; d.mu is held.
func (d *Disk) change(n *node, m *mutation) (int64, error) {
	op := Op{Kind: m.kind, Path: n.path(), Off: m.off, Len: m.size}
	if m.kind == OpWrite {
		op.Len = int64(len(m.data))
	}
	v := d.begin(op)
	if !v.applies {
		return 0, v.err
	}
	if m.kind == OpWrite && v.keep >= 0 {
		m.data = m.data[:min(v.keep, len(m.data))]
	}
	if !d.reserve(n.file, m) && v.err == nil {
		v.err = syscall.ENOSPC
	}
	if m.kind == OpWrite && len(m.data) == 0 {
		return 0, v.err
	}
	n.file.data = m.apply(n.file.data)
	n.file.pending = append(n.file.pending, m)
	n.mtime = d.now()
	if d.off {
		return 0, v.err // nobody is told how much of it there was
	}
	return int64(len(m.data)), v.err
}

// reserve accounts for the space that m takes or gives back, holes included. If
// there is too little it is false, and m is cut to what fits: a part of a write,
// nothing of another change.
func (d *Disk) reserve(f *fileState, m *mutation) bool {
	size := int64(len(f.data))
	end := m.size
	switch m.kind {
	case OpWrite:
		end = max(size, m.off+int64(len(m.data)))
	case OpPreallocate:
		end = max(size, m.size)
	}
	fits := d.free < 0 || end-size <= d.free
	if !fits {
		if m.kind != OpWrite {
			m.size = size
			return false
		}
		m.data = m.data[:max(size+d.free-m.off, 0)]
		if len(m.data) == 0 {
			return false
		}
		end = size + d.free
	}
	d.used += end - size
	if d.free >= 0 {
		d.free -= end - size
	}
	return fits
}

// release gives a file's space back when neither name nor handle is left.
func (d *Disk) release(f *fileState) {
	if !f.unlinked || f.handles > 0 {
		return
	}
	d.used -= int64(len(f.data))
	if d.free >= 0 {
		d.free += int64(len(f.data))
	}
}

// diskFile is an open file of a Disk.
type diskFile struct {
	disk               *Disk
	node               *node
	name               string
	readable, writable bool
	closed             bool
}

// begin takes the disk's lock if the file can be used.
func (f *diskFile) begin(op string, write bool) error {
	f.disk.mu.Lock()
	var err error
	switch {
	case f.closed:
		err = fs.ErrClosed
	case f.disk.off:
		err = ErrPowerOff
	case write && !f.writable, !write && !f.readable:
		err = syscall.EBADF
	}
	if err != nil {
		f.disk.mu.Unlock()
		return pathError(op, f.name, err)
	}
	return nil
}

func (f *diskFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.begin("read", false); err != nil {
		return 0, err
	}
	defer f.disk.mu.Unlock()
	if off < 0 {
		return 0, pathError("read", f.name, syscall.EINVAL)
	}
	if hook := f.disk.onRead; hook != nil {
		if err := hook(f.node.path(), off, len(p)); err != nil {
			return 0, pathError("read", f.name, err)
		}
	}
	if off >= int64(len(f.node.file.data)) {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	n := copy(p, f.node.file.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *diskFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.WriteVecAt([][]byte{p}, off)
	return int(n), err
}

func (f *diskFile) WriteVecAt(bufs [][]byte, off int64) (int64, error) {
	if err := f.begin("write", true); err != nil {
		return 0, err
	}
	defer f.disk.mu.Unlock()
	if off < 0 {
		return 0, pathError("write", f.name, syscall.EINVAL)
	}
	m := &mutation{kind: OpWrite, off: off, data: slices.Concat(bufs...)}
	n, err := f.disk.change(f.node, m)
	if err != nil {
		return n, pathError("write", f.name, err)
	}
	return n, nil
}

func (f *diskFile) Truncate(size int64) error {
	return f.resize("truncate", &mutation{kind: OpTruncate, size: size})
}

func (f *diskFile) Preallocate(size int64) error {
	return f.resize("fallocate", &mutation{kind: OpPreallocate, size: size})
}

func (f *diskFile) resize(op string, m *mutation) error {
	if err := f.begin(op, true); err != nil {
		return err
	}
	defer f.disk.mu.Unlock()
	if m.size < 0 {
		return pathError(op, f.name, syscall.EINVAL)
	}
	if _, err := f.disk.change(f.node, m); err != nil {
		return pathError(op, f.name, err)
	}
	return nil
}

func (f *diskFile) Sync() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.closed {
		return pathError("fdatasync", f.name, fs.ErrClosed)
	}
	v := f.disk.begin(Op{Kind: OpSync, Path: f.node.path()})
	if v.applies {
		f.node.file.sync()
	}
	if v.err != nil {
		if !f.disk.off { // a KillClone may still sync them
			f.node.file.syncFailed()
		}
		return pathError("fdatasync", f.name, v.err)
	}
	return nil
}

func (f *diskFile) Size() (int64, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	switch {
	case f.closed:
		return 0, pathError("stat", f.name, fs.ErrClosed)
	case f.disk.off:
		return 0, pathError("stat", f.name, ErrPowerOff)
	}
	return int64(len(f.node.file.data)), nil
}

// Close works without power too, so that code under test can let go of all it holds.
func (f *diskFile) Close() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.closed {
		return pathError("close", f.name, fs.ErrClosed)
	}
	f.closed = true
	f.node.file.handles--
	f.disk.release(f.node.file)
	return nil
}

func (f *diskFile) Name() string { return f.name }

func (f *diskFile) OS() *os.File { return nil }
