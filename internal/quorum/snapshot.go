package quorum

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/leat-stream/leat/internal/env"
)

// SnapshotMeta says which state a snapshot holds: everything up to the entry Index.
type SnapshotMeta struct {
	Index, Term uint64
	// Conf is the membership at Index, Members who is behind its ids.
	Conf    *raftpb.ConfState
	Members []Member
}

// waiting tells whether it is the beginning of a member that joins: it stands for
// nothing, not even for the founding, and knows of nobody. The leader's snapshot
// replaces it.
func (m SnapshotMeta) waiting() bool {
	return len(m.Members) == 0 && len(m.Conf.GetVoters()) == 0 && len(m.Conf.GetLearners()) == 0
}

const (
	snapshotChunk    = 64 << 10
	maxSnapshotFrame = 2 << 20 // the header has room for maxMembers
	maxMembers       = 1000
)

func appendSnapshotHeader(b []byte, m SnapshotMeta) ([]byte, error) {
	conf, err := proto.Marshal(raftpb.EnsureConfState(m.Conf))
	if err != nil {
		return nil, err
	}
	b, start := beginFrame(b, kindSnapshot)
	b = binary.BigEndian.AppendUint16(b, snapshotFormatVersion)
	b = appendU64s(b, m.Index, m.Term)
	b = binary.BigEndian.AppendUint32(b, uint32(len(m.Members)))
	for _, p := range m.Members {
		b = appendMember(b, p)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(conf)))
	return endFrame(append(b, conf...), start), nil
}

func parseSnapshotHeader(body []byte) (SnapshotMeta, error) {
	f := fields{b: body}
	v := f.u16()
	if !f.bad && v != 1 && v != snapshotFormatVersion {
		return SnapshotMeta{}, fmt.Errorf("%w %d", ErrVersion, v)
	}
	m := SnapshotMeta{Index: f.u64(), Term: f.u64(), Conf: &raftpb.ConfState{}}
	n := f.u32()
	if f.bad || n > maxMembers || int(n)*20 > len(f.b) {
		return m, fmt.Errorf("%w: malformed snapshot header", errFrame)
	}
	for range n {
		m.Members = append(m.Members, f.member(v >= 2))
	}
	conf := f.take(int(f.u32()))
	if err := f.done("snapshot header"); err != nil {
		return m, err
	}
	if err := proto.Unmarshal(conf, m.Conf); err != nil || (m.Index == 0) != (m.Term == 0) || m.Index == 0 && !m.waiting() {
		return m, fmt.Errorf("%w: malformed snapshot header", errFrame)
	}
	return m, nil
}

// encodeSnapshot writes a whole snapshot: header, data in chunks, footer.
func encodeSnapshot(w io.Writer, m SnapshotMeta, write func(io.Writer) error) error {
	head, err := appendSnapshotHeader(nil, m)
	if err != nil {
		return err
	}
	if _, err := w.Write(head); err != nil {
		return err
	}
	c := &chunkWriter{w: w}
	buf := bufio.NewWriterSize(c, snapshotChunk)
	if write != nil {
		if err := write(buf); err != nil {
			return err
		}
	}
	if err := buf.Flush(); err != nil {
		return err
	}
	b, start := beginFrame(nil, kindSnapshotFooter)
	b = appendU64s(b, c.total)
	b = binary.BigEndian.AppendUint32(b, c.crc)
	_, err = w.Write(endFrame(b, start))
	return err
}

// chunkWriter frames what it is given, at most snapshotChunk bytes a frame.
type chunkWriter struct {
	w     io.Writer
	buf   []byte
	total uint64
	crc   uint32
}

func (c *chunkWriter) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		k := min(len(p), snapshotChunk)
		b, start := beginFrame(c.buf[:0], kindSnapshotData)
		c.buf = endFrame(append(b, p[:k]...), start)
		if _, err := c.w.Write(c.buf); err != nil {
			return n, err
		}
		c.total += uint64(k)
		c.crc = crc32.Update(c.crc, castagnoli, p[:k])
		n, p = n+k, p[k:]
	}
	return n, nil
}

// snapshotReader reads a snapshot's data. io.EOF comes only after a footer that
// agrees with all that was read; everything else is an error wrapping errFrame.
type snapshotReader struct {
	r     *bufio.Reader
	meta  SnapshotMeta
	frame []byte
	rest  []byte
	total uint64
	crc   uint32
	err   error
}

func newSnapshotReader(r io.Reader) (*snapshotReader, error) {
	s := &snapshotReader{r: bufio.NewReaderSize(r, 64<<10)}
	f, err := s.next()
	if err != nil {
		return nil, err
	}
	if f.kind != kindSnapshot {
		return nil, fmt.Errorf("%w: a snapshot starts with kind %d", errFrame, f.kind)
	}
	s.meta, err = parseSnapshotHeader(f.body)
	return s, err
}

// next reads one frame, growing the buffer only by what the file really holds.
func (s *snapshotReader) next() (frame, error) {
	head, err := s.r.Peek(frameHead)
	if err != nil {
		return frame{}, short(err)
	}
	n := int(binary.BigEndian.Uint32(head))
	if n == 0 || n > maxSnapshotFrame {
		return frame{}, fmt.Errorf("%w: snapshot frame of %d bytes", errFrame, n)
	}
	if cap(s.frame) < frameHead+n {
		s.frame = make([]byte, frameHead+n)
	}
	s.frame = s.frame[:frameHead+n]
	if _, err := io.ReadFull(s.r, s.frame); err != nil {
		return frame{}, short(err)
	}
	f, _, err := nextFrame(s.frame)
	return f, err
}

func short(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: snapshot ends early", errFrame)
	}
	return err
}

func (s *snapshotReader) Read(p []byte) (int, error) {
	for len(s.rest) == 0 {
		if s.err == nil {
			s.err = s.advance()
		}
		if s.err != nil {
			return 0, s.err
		}
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

func (s *snapshotReader) advance() error {
	f, err := s.next()
	if err != nil {
		return err
	}
	switch f.kind {
	case kindSnapshotData:
		s.rest = f.body
		s.total += uint64(len(f.body))
		s.crc = crc32.Update(s.crc, castagnoli, f.body)
		return nil
	case kindSnapshotFooter:
		v := fields{b: f.body}
		total, crc := v.u64(), v.u32()
		if err := v.done("snapshot footer"); err != nil {
			return err
		}
		if total != s.total || crc != s.crc {
			return fmt.Errorf("%w: snapshot of %d bytes, footer says %d", errFrame, s.total, total)
		}
		if _, err := s.r.Peek(1); !errors.Is(err, io.EOF) {
			return fmt.Errorf("%w: bytes after the snapshot's footer", errFrame)
		}
		return io.EOF
	}
	return fmt.Errorf("%w: kind %d in a snapshot", errFrame, f.kind)
}

// saveSnapshot makes a snapshot file durable under its name: written aside, synced,
// renamed, and the directory synced. A file of the same index is replaced.
func saveSnapshot(fsys env.FS, dir string, index uint64, write func(io.Writer) error) (err error) {
	name := filepath.Join(dir, snapshotName(index))
	f, err := fsys.OpenFile(name+tmpSuffix, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	defer func() {
		if err == nil {
			return
		}
		if rerr := fsys.Remove(name + tmpSuffix); !errors.Is(rerr, fs.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
	}()
	w := bufio.NewWriterSize(&offsetWriter{f: f}, snapshotChunk)
	err = write(w)
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		if err = f.Sync(); err != nil {
			err = syncError{err}
		}
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err := fsys.Rename(name+tmpSuffix, name); err != nil {
		return err
	}
	if err := fsys.SyncDir(dir); err != nil {
		return syncError{err}
	}
	return nil
}

type offsetWriter struct {
	f   env.File
	off int64
}

func (w *offsetWriter) Write(p []byte) (int, error) {
	n, err := w.f.WriteAt(p, w.off)
	w.off += int64(n)
	return n, err
}

// openSnapshot opens a snapshot file for reading its data.
func openSnapshot(fsys env.FS, dir string, index uint64) (*SnapshotFile, error) {
	f, err := fsys.OpenFile(filepath.Join(dir, snapshotName(index)), os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	r, err := newSnapshotReader(io.NewSectionReader(f, 0, 1<<62))
	if err == nil && r.meta.Index != index {
		err = fmt.Errorf("%w: snapshot of entry %d", errFrame, r.meta.Index)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", f.Name(), err), f.Close())
	}
	return &SnapshotFile{r, f}, nil
}

// SnapshotFile is an open snapshot. Read gives its data; io.EOF comes only after
// its checksums agreed.
type SnapshotFile struct {
	*snapshotReader
	f env.File
}

// Meta says which state it holds.
func (s *SnapshotFile) Meta() SnapshotMeta { return s.meta }

// Close closes the file.
func (s *SnapshotFile) Close() error { return s.f.Close() }
