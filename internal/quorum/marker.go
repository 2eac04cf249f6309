package quorum

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/leat-stream/leat/internal/env"
)

// marker notes, in a file of its own, how far the newest segment was synced. It is
// written after each sync and not synced itself, so it may tell too little and
// never too much: a log that ends before its note has lost what it once promised.
// Two slots are written in turn, so that a torn write spares the other. A second file
// beside the folder has the same: it stays when an old copy of the folder is put back.
type marker struct {
	files [2]env.File
	note  synced
}

const (
	markerName  = "synced"
	witnessName = ".synced" // behind the folder's name
	markerSlot  = 512
)

// markerNames are the files of the note.
func markerNames(dir string) [2]string {
	return [2]string{filepath.Join(dir, markerName), filepath.Clean(dir) + witnessName}
}

// readNotes is what the files tell together: that one of them tells too little is no
// wonder, since neither is synced.
func readNotes(fsys env.FS, dir string) (note synced, err error) {
	for _, name := range markerNames(dir) {
		s, err := readMarker(fsys, name)
		if err != nil {
			return note, err
		}
		counter := max(note.counter, s.counter)
		if s.segment > note.segment || s.segment == note.segment && s.bytes > note.bytes {
			note = s
		}
		note.counter = counter
	}
	return note, nil
}

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

// openMarker opens the files for writing and creates them if needed. Their names are synced
// with others.
func openMarker(fsys env.FS, dir string, note synced) (*marker, error) {
	m := &marker{note: note}
	for i, name := range markerNames(dir) {
		var err error
		if m.files[i], err = fsys.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644); err != nil {
			return nil, errors.Join(err, m.close())
		}
	}
	return m, nil
}

// set notes that the segment is synced up to bytes.
func (m *marker) set(segment, bytes uint64) error {
	m.note = synced{m.note.counter + 1, segment, bytes}
	b, at := appendSynced(nil, m.note), int64(m.note.counter%2)*markerSlot
	var errs []error
	for _, f := range m.files {
		_, err := f.WriteAt(b, at)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (m *marker) close() error {
	var errs []error
	for _, f := range m.files {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}
