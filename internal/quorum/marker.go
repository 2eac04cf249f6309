package quorum

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/leat-stream/leat/internal/env"
)

// marker notes, in a file of its own, how far the newest segment was synced. It is
// written after each sync and not synced itself, so it may tell too little and
// never too much: a log that ends before its note has lost what it once promised.
// Two slots are written in turn, so that a torn write spares the other.
type marker struct {
	f    env.File
	note synced
}

const (
	markerName = "synced"
	markerSlot = 512
)

// readMarker is the newest valid note; zero if there is none.
func readMarker(fsys env.FS, name string) (synced, error) {
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return synced{}, nil
	} else if err != nil {
		return synced{}, err
	}
	defer f.Close()
	var newest synced
	for slot := range int64(2) {
		b := make([]byte, markerSlot)
		n, err := f.ReadAt(b, slot*markerSlot)
		if err != nil && !errors.Is(err, io.EOF) {
			return synced{}, err
		}
		fr, ok, err := nextFrame(b[:n])
		if err != nil || !ok || fr.kind != kindSynced {
			continue // torn, or never written
		}
		if s, err := parseSynced(fr.body); err == nil && s.counter >= newest.counter {
			newest = s
		}
	}
	return newest, nil
}

// openMarker opens the file for writing and creates it if needed; created says that
// the directory has to be synced.
func openMarker(fsys env.FS, name string, note synced) (m *marker, created bool, err error) {
	if _, err := fsys.Stat(name); errors.Is(err, fs.ErrNotExist) {
		created = true
	}
	f, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, false, err
	}
	return &marker{f, note}, created, nil
}

// set notes that the segment is synced up to bytes.
func (m *marker) set(segment, bytes uint64) error {
	m.note = synced{m.note.counter + 1, segment, bytes}
	_, err := m.f.WriteAt(appendSynced(nil, m.note), int64(m.note.counter%2)*markerSlot)
	return err
}
