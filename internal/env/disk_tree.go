package env

import (
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"
)

// node is a file or a directory, whatever its name.
type node struct {
	parent *node // where it is, or was last
	name   string
	mode   fs.FileMode
	mtime  time.Time
	dir    *dirState  // nil for a file
	file   *fileState // nil for a directory
}

type dirState struct {
	entries map[string]*node // what a reader sees
	durable map[string]*node // what a power cut is certain to leave
}

// path is the node's current name, without a leading slash.
func (n *node) path() string {
	if n.parent == nil {
		return "."
	}
	if n.parent.parent == nil {
		return n.name
	}
	return n.parent.path() + "/" + n.name
}

func pathError(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// lookup finds a node by name; d.mu is held.
func (d *Disk) lookup(op, name string) (*node, error) {
	n := d.root
	for part := range strings.SplitSeq(strings.TrimPrefix(cleanName(name), "/"), "/") {
		if part == "" {
			continue
		}
		if n.dir == nil {
			return nil, pathError(op, name, syscall.ENOTDIR)
		}
		child, ok := n.dir.entries[part]
		if !ok {
			return nil, pathError(op, name, syscall.ENOENT)
		}
		n = child
	}
	return n, nil
}

// lookupParent finds the directory that holds name, and name's last part.
func (d *Disk) lookupParent(op, name string) (*node, string, error) {
	clean := cleanName(name)
	base := path.Base(clean)
	if base == "/" {
		return nil, "", pathError(op, name, syscall.EINVAL)
	}
	parent, err := d.lookup(op, path.Dir(clean))
	if err != nil {
		return nil, "", err
	}
	if parent.dir == nil {
		return nil, "", pathError(op, name, syscall.ENOTDIR)
	}
	return parent, base, nil
}

// lockAlive takes the lock, unless the power is cut.
func (d *Disk) lockAlive(op, name string) error {
	d.mu.Lock()
	if d.off {
		d.mu.Unlock()
		return pathError(op, name, ErrPowerOff)
	}
	return nil
}

// OpenFile opens a file; os.O_CREATE, O_EXCL, O_TRUNC and the access modes are honoured.
func (d *Disk) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	if err := d.lockAlive("open", name); err != nil {
		return nil, err
	}
	defer d.mu.Unlock()
	n, err := d.openNode(name, flag, perm)
	if err != nil {
		return nil, err
	}
	if flag&os.O_TRUNC != 0 && len(n.file.data) > 0 {
		if _, err := d.change(n, &mutation{kind: OpTruncate}); err != nil {
			return nil, pathError("open", name, err)
		}
	}
	n.file.handles++
	access := flag & (os.O_RDONLY | os.O_WRONLY | os.O_RDWR)
	return &diskFile{
		disk: d, node: n, name: name,
		readable: access != os.O_WRONLY, writable: access != os.O_RDONLY,
	}, nil
}

func (d *Disk) openNode(name string, flag int, perm fs.FileMode) (*node, error) {
	parent, base, err := d.lookupParent("open", name)
	if err != nil {
		return nil, err
	}
	n, ok := parent.dir.entries[base]
	switch {
	case ok && flag&os.O_CREATE != 0 && flag&os.O_EXCL != 0:
		return nil, pathError("open", name, syscall.EEXIST)
	case ok && n.dir != nil:
		return nil, pathError("open", name, syscall.EISDIR)
	case ok:
		return n, nil
	case flag&os.O_CREATE == 0:
		return nil, pathError("open", name, syscall.ENOENT)
	}
	n = &node{parent: parent, name: base, mode: perm.Perm(), mtime: d.now(), file: &fileState{}}
	v := d.begin(Op{Kind: OpCreate, Path: n.path()})
	if v.applies {
		d.rename(&nameOp{sets: []nameSet{{parent, base, n}}})
	}
	if v.err != nil {
		return nil, pathError("open", name, v.err)
	}
	return n, nil
}

// MkdirAll makes a directory and those above it.
func (d *Disk) MkdirAll(name string, perm fs.FileMode) error {
	if err := d.lockAlive("mkdir", name); err != nil {
		return err
	}
	defer d.mu.Unlock()
	n := d.root
	for part := range strings.SplitSeq(strings.TrimPrefix(cleanName(name), "/"), "/") {
		if part == "" {
			continue
		}
		child, ok := n.dir.entries[part]
		if ok && child.dir == nil {
			return pathError("mkdir", name, syscall.ENOTDIR)
		}
		if !ok {
			child = &node{
				parent: n, name: part, mode: fs.ModeDir | perm.Perm(), mtime: d.now(),
				dir: &dirState{entries: map[string]*node{}, durable: map[string]*node{}},
			}
			v := d.begin(Op{Kind: OpMkdir, Path: child.path()})
			if v.applies {
				d.rename(&nameOp{sets: []nameSet{{n, part, child}}})
			}
			if v.err != nil {
				return pathError("mkdir", name, v.err)
			}
		}
		n = child
	}
	return nil
}

// Remove deletes a file or an empty directory.
func (d *Disk) Remove(name string) error {
	if err := d.lockAlive("remove", name); err != nil {
		return err
	}
	defer d.mu.Unlock()
	n, err := d.lookup("remove", name)
	if err != nil {
		return err
	}
	return d.remove(n, name)
}

func (d *Disk) remove(n *node, name string) error {
	if n == d.root {
		return pathError("remove", name, syscall.EBUSY)
	}
	if n.dir != nil && len(n.dir.entries) > 0 {
		return pathError("remove", name, syscall.ENOTEMPTY)
	}
	v := d.begin(Op{Kind: OpRemove, Path: n.path()})
	if v.applies {
		d.rename(&nameOp{sets: []nameSet{{n.parent, n.name, nil}}})
	}
	if v.err != nil {
		return pathError("remove", name, v.err)
	}
	return nil
}

// RemoveAll deletes a file or a directory with all that is in it, one operation
// each, in the order of the names. A name that does not exist is no error.
func (d *Disk) RemoveAll(name string) error {
	if err := d.lockAlive("removeall", name); err != nil {
		return err
	}
	defer d.mu.Unlock()
	n, err := d.lookup("removeall", name)
	if err != nil {
		return nil
	}
	return d.removeTree(n, name)
}

func (d *Disk) removeTree(n *node, name string) error {
	if n.dir != nil {
		for _, child := range sortedNames(n.dir.entries) {
			if err := d.removeTree(n.dir.entries[child], path.Join(name, child)); err != nil {
				return err
			}
		}
	}
	return d.remove(n, name)
}

// Rename gives a node a new name, replacing a file that has it.
func (d *Disk) Rename(oldname, newname string) error {
	if err := d.lockAlive("rename", oldname); err != nil {
		return err
	}
	defer d.mu.Unlock()
	fail := func(err error) error {
		return &os.LinkError{Op: "rename", Old: oldname, New: newname, Err: err}
	}
	n, err := d.lookup("rename", oldname)
	if err != nil {
		return fail(syscall.ENOENT)
	}
	parent, base, err := d.lookupParent("rename", newname)
	if err != nil {
		return fail(syscall.ENOENT)
	}
	for p := parent; p != nil; p = p.parent {
		if p == n {
			return fail(syscall.EINVAL)
		}
	}
	if old := parent.dir.entries[base]; old == n {
		return nil
	} else if old != nil {
		switch {
		case old.dir != nil && n.dir == nil:
			return fail(syscall.EEXIST) // as os.Rename answers
		case old.dir == nil && n.dir != nil:
			return fail(syscall.ENOTDIR)
		case old.dir != nil && len(old.dir.entries) > 0:
			return fail(syscall.ENOTEMPTY)
		}
	}
	to := (&node{parent: parent, name: base}).path()
	v := d.begin(Op{Kind: OpRename, Path: n.path(), To: to})
	if v.applies {
		d.rename(&nameOp{sets: []nameSet{{n.parent, n.name, nil}, {parent, base, n}}})
	}
	if v.err != nil {
		return fail(v.err)
	}
	return nil
}

// ReadDir lists a directory, sorted by name.
func (d *Disk) ReadDir(name string) ([]fs.DirEntry, error) {
	if err := d.lockAlive("readdir", name); err != nil {
		return nil, err
	}
	defer d.mu.Unlock()
	n, err := d.lookup("open", name)
	if err != nil {
		return nil, err
	}
	if n.dir == nil {
		return nil, pathError("readdir", name, syscall.ENOTDIR)
	}
	list := make([]fs.DirEntry, 0, len(n.dir.entries))
	for _, child := range sortedNames(n.dir.entries) {
		list = append(list, fs.FileInfoToDirEntry(n.dir.entries[child].info()))
	}
	return list, nil
}

// Stat describes a file or directory.
func (d *Disk) Stat(name string) (fs.FileInfo, error) {
	if err := d.lockAlive("stat", name); err != nil {
		return nil, err
	}
	defer d.mu.Unlock()
	n, err := d.lookup("stat", name)
	if err != nil {
		return nil, err
	}
	return n.info(), nil
}

// SyncDir makes a directory's entries durable; a rename between two directories
// only once both are synced.
func (d *Disk) SyncDir(name string) error {
	if err := d.lockAlive("fsync", name); err != nil {
		return err
	}
	defer d.mu.Unlock()
	n, err := d.lookup("open", name)
	if err != nil {
		return err
	}
	if n.dir == nil {
		return pathError("fsync", name, syscall.ENOTDIR)
	}
	v := d.begin(Op{Kind: OpSyncDir, Path: n.path()})
	if v.applies {
		d.syncNames(n)
	}
	if v.err != nil {
		return pathError("fsync", name, v.err)
	}
	return nil
}

// Lock takes a lock that no clone of the disk inherits.
func (d *Disk) Lock(name string) (io.Closer, error) {
	f, err := d.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	df := f.(*diskFile)
	d.mu.Lock()
	held := df.node.file.locked
	df.node.file.locked = true
	d.mu.Unlock()
	if held {
		f.Close()
		return nil, pathError("lock", name, ErrLocked)
	}
	return &diskLock{df}, nil
}

type diskLock struct{ *diskFile }

func (l *diskLock) Close() error {
	l.disk.mu.Lock()
	if !l.closed {
		l.node.file.locked = false
	}
	l.disk.mu.Unlock()
	return l.diskFile.Close()
}

// Usage is the sum of all file sizes and what SetFree left.
func (d *Disk) Usage(name string) (Usage, error) {
	if err := d.lockAlive("statfs", name); err != nil {
		return Usage{}, err
	}
	defer d.mu.Unlock()
	if _, err := d.lookup("statfs", name); err != nil {
		return Usage{}, err
	}
	free := d.free
	if free < 0 {
		free = 1 << 40
	}
	return Usage{Total: uint64(d.used + free), Free: uint64(free)}, nil
}

func sortedNames(m map[string]*node) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

type nodeInfo struct {
	name  string
	size  int64
	mode  fs.FileMode
	mtime time.Time
}

func (n *node) info() fs.FileInfo {
	i := nodeInfo{name: n.name, mode: n.mode, mtime: n.mtime}
	if n.file != nil {
		i.size = int64(len(n.file.data))
	}
	if n.parent == nil {
		i.name = "."
	}
	return i
}

func (i nodeInfo) Name() string       { return i.name }
func (i nodeInfo) Size() int64        { return i.size }
func (i nodeInfo) Mode() fs.FileMode  { return i.mode }
func (i nodeInfo) ModTime() time.Time { return i.mtime }
func (i nodeInfo) IsDir() bool        { return i.mode.IsDir() }
func (i nodeInfo) Sys() any           { return nil }
