// Package env holds the four seams through which Leat touches the world: file
// system, clock, randomness and network. The real ones are thin; the simulated
// ones (a crashable disk, a virtual clock, seeded randomness, a lossy network)
// let tests drive production code from one seed.
//
// Nothing else in the project calls os file functions, time.Now, time.AfterFunc
// or a global random source on a path that a simulation must reach.
package env

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// ErrLocked answers FS.Lock when somebody else holds the lock.
var ErrLocked = errors.New("locked by another process")

// IsFull tells whether an error of a write goes away when somebody frees space: the file system
// is full, or a quota of it is used up.
func IsFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// FS is a file system. Names are slash-separated paths as the os package takes
// them. Errors wrap those of io/fs and syscall (fs.ErrNotExist, syscall.ENOSPC,
// syscall.EIO …), so errors.Is works on real and simulated ones alike.
type FS interface {
	// OpenFile opens a file; flag and perm are those of os.OpenFile.
	// With os.O_CREATE a symbolic link in its place is refused.
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	MkdirAll(name string, perm fs.FileMode) error
	// Remove deletes a file or an empty directory. It is durable only after SyncDir of the parent.
	Remove(name string) error
	RemoveAll(name string) error
	// Rename replaces newname atomically. It is durable only after SyncDir of both parents.
	Rename(oldname, newname string) error
	// ReadDir lists a directory, sorted by name.
	ReadDir(name string) ([]fs.DirEntry, error)
	Stat(name string) (fs.FileInfo, error)
	// SyncDir makes the directory's entries (created, renamed, removed names) durable.
	SyncDir(name string) error
	// Lock takes an exclusive advisory lock on a file, which it creates; a lock
	// that is held elsewhere answers ErrLocked. Closing releases it.
	Lock(name string) (io.Closer, error)
	// Usage tells the total and free bytes of the file system that holds name.
	Usage(name string) (Usage, error)
}

// File is an open file. There is no shared position: every access states its offset.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// WriteVecAt writes the buffers one after the other at off (pwritev), whole or with an error.
	WriteVecAt(bufs [][]byte, off int64) (int64, error)
	Truncate(size int64) error
	// Sync makes data and size durable (fdatasync; F_FULLFSYNC on darwin).
	Sync() error
	// Size is the current length in bytes.
	Size() (int64, error)
	// Preallocate reserves size bytes of blocks and extends the file to it, reading as zeros.
	Preallocate(size int64) error
	Name() string
	// OS is the operating system's file, for sendfile; nil on a simulated disk.
	OS() *os.File
}

// Usage is the space of a file system, in bytes.
type Usage struct{ Total, Free uint64 }

// Clock tells time and calls back later. Simulated clocks move only when told.
type Clock interface {
	// Now carries a monotonic reading on the real clock.
	Now() time.Time
	// AfterFunc calls f once after d, on a goroutine of its own (real) or on the
	// goroutine that advances the clock (simulated).
	AfterFunc(d time.Duration, f func()) Timer
}

// Timer is a pending AfterFunc.
type Timer interface {
	// Stop prevents the call; false if it already happened or was stopped.
	Stop() bool
	// Reset makes the call happen d from now, whether or not it already did.
	Reset(d time.Duration) bool
}
