package quorum

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/leat-stream/leat/internal/env"
)

const (
	segmentSuffix  = ".log"
	snapshotSuffix = ".snapshot"
	tmpSuffix      = ".tmp"
)

func segmentName(number uint64) string { return fmt.Sprintf("%020d%s", number, segmentSuffix) }
func snapshotName(index uint64) string { return fmt.Sprintf("%020d%s", index, snapshotSuffix) }

// parseName is the number in a file name with the suffix.
func parseName(name, suffix string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok || len(digits) != 20 {
		return 0, false
	}
	var n uint64
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return n, true
}

// segment is what one segment file says.
type segment struct {
	header   segmentHeader
	size     int64 // of its frames: where the next would go
	fileSize int64
	stray    bool  // something other than zeros follows the frames
	bad      error // why the frames end there, if not with zeros; wraps errFrame
}

// visitor is told of every frame.
type visitor struct {
	begin func(h segmentHeader)
	hard  func(pos int64, h hardState)
	entry func(pos int64, e *raftpb.Entry) error
}

// scanSegment reads a segment's frames up to the first bad one. The error is of
// reading or of the visitor; an unreadable header is bad at size 0.
func scanSegment(fsys env.FS, path string, v visitor) (segment, error) {
	b, err := readFile(fsys, path)
	if err != nil {
		return segment{}, err
	}
	s := segment{fileSize: int64(len(b))}
	for {
		f, ok, err := nextFrame(b[s.size:])
		if err == nil && ok {
			err = s.visit(f, v)
		}
		switch {
		case errors.Is(err, errFrame):
			s.bad = fmt.Errorf("byte %d: %w", s.size, err)
			return s, nil
		case err != nil:
			return s, err
		case !ok:
			if s.size == 0 {
				s.bad = fmt.Errorf("%w: no header", errFrame)
			}
			s.stray = allZero(b[s.size:]) != nil
			return s, nil
		}
		s.size += int64(f.size)
	}
}

func (s *segment) visit(f frame, v visitor) error {
	if (f.kind == kindSegment) != (s.size == 0) {
		return fmt.Errorf("%w: kind %d", errFrame, f.kind)
	}
	switch f.kind {
	case kindSegment:
		h, err := parseSegmentHeader(f.body)
		s.header = h
		if err == nil && v.begin != nil {
			v.begin(h)
		}
		return err
	case kindHardState:
		h, err := parseHardState(f.body)
		if err == nil && v.hard != nil {
			v.hard(s.size, h)
		}
		return err
	case kindEntry:
		e, err := parseEntry(f.body)
		if err != nil {
			return err
		}
		if v.entry != nil {
			return v.entry(s.size, e)
		}
		return nil
	}
	return fmt.Errorf("%w: kind %d", errFrame, f.kind)
}

// maxFile bounds what is read of a file into memory at once.
const maxFile = 256 << 20

func readFile(fsys env.FS, path string) ([]byte, error) {
	f, err := fsys.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > maxFile {
		return nil, fmt.Errorf("%w: %s has %d bytes, more than any file of ours", ErrCorrupt, path, size)
	}
	b := make([]byte, size)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return b[:n], nil
}
