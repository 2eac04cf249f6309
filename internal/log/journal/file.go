package journal

import (
	"errors"
	"fmt"
	"os"

	"github.com/leat-stream/leat/internal/env"
)

// zeros is what files grow by; never written to.
var zeros = make([]byte, 256<<10)

// file is one of the two files.
type file struct {
	env.File
	name string
	size int64 // bytes that were written, with zeros at least
	end  int64 // end of its last frame, while it is not current
}

func (f *file) open(fsys env.FS, name string) error {
	h, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	f.File, f.name = h, name
	f.size, err = h.Size()
	f.size &^= block - 1
	return err
}

func (f *file) close() error {
	if f.File == nil {
		return nil
	}
	err := f.File.Close()
	f.File = nil
	return err
}

// grow writes zeros at the file's end until it is at least size bytes long: by a chunk,
// or doubled up to eight chunks. No space is ErrFull, which leaves the journal usable.
func (j *Journal) grow(f *file, size int64) error {
	if size <= f.size {
		return nil
	}
	target := padded(max(size, f.size+min(max(f.size, j.o.Chunk), 8*j.o.Chunk)))
	target = min(target, j.o.Size)
	for f.size < target {
		n, err := f.WriteAt(zeros[:min(int64(len(zeros)), target-f.size)], f.size)
		if env.IsFull(err) {
			return fmt.Errorf("%w: %w", ErrFull, err)
		}
		if err != nil {
			return j.fail(err)
		}
		f.size += int64(n)
	}
	return nil
}

// copyTo writes the file's bytes to a new file and syncs that.
func (f *file) copyTo(fsys env.FS, name string) (err error) {
	to, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	b := make([]byte, 1<<20)
	for off := int64(0); off < f.size; {
		n, err := f.ReadAt(b[:min(int64(len(b)), f.size-off)], off)
		if n == 0 && err != nil {
			return err
		}
		if _, err := to.WriteAt(b[:n], off); err != nil {
			return err
		}
		off += int64(n)
	}
	return to.Sync()
}
