package log

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"slices"

	"github.com/leat-stream/leat/internal/env"
)

// The state file keeps of every log what it takes to open it without looking at its
// files after a clean stop, and to scan no more than needed after another one. It is a
// row of frames: length uint32, CRC-32C uint32 of the payload, payload. The first
// frame is the header. A later frame of a log replaces an earlier one, so a checkpoint
// appends the logs that changed; when more than half is out of date it is written anew.
const (
	stateFile      = "leat.state"
	stateHeader    = "LEAT state 2"
	stateHeader1   = "LEAT state 1" // without the numbers of index entries
	stateFrameHead = 8
	maxStateBytes  = 1 << 30
	maxStateFrame  = 64 << 20

	frameHeader  = 1
	frameLog     = 2
	frameGone    = 3 // the log was deleted
	frameMissing = 4 // the log's directory vanished, which nobody has taken note of yet

	flagNoProducers = 1
	flagDamaged     = 2
)

// savedLog is one log in the state file.
type savedLog struct {
	id       LogID
	start    int64
	point    int64 // everything below is synced
	unstable int64 // first unstable offset, math.MaxInt64: none
	// noProducers: no producer is known at point, so no snapshot is needed.
	noProducers bool
	damaged     bool // some of its offsets are refused
	// segs are the segments up to point; the last one's size is the position of point.
	segs []savedSegment
}

type savedSegment struct {
	base, size, maxTs, maxTsAt int64
	n                          entryCounts
}

// Widths of a segment in a frame, by the file's version.
const (
	savedSegmentSize  = 44
	savedSegmentSize1 = 32
)

func (s *savedLog) size() (n int64) {
	for i := range s.segs {
		n += s.segs[i].size
	}
	return n
}

func appendFrame(dst []byte, fill func([]byte) []byte) []byte {
	at := len(dst)
	dst = append(dst, make([]byte, stateFrameHead)...)
	dst = fill(dst)
	payload := dst[at+stateFrameHead:]
	binary.BigEndian.PutUint32(dst[at:], uint32(len(payload)))
	binary.BigEndian.PutUint32(dst[at+4:], crc32.Checksum(payload, castagnoli))
	return dst
}

func appendHeaderFrame(dst []byte) []byte {
	return appendFrame(dst, func(b []byte) []byte { return append(append(b, frameHeader), stateHeader...) })
}

func appendName(b []byte, id LogID) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(id.Topic)))
	b = append(b, id.Topic...)
	b = binary.BigEndian.AppendUint32(b, uint32(id.Partition))
	return append(b, id.TopicID[:]...)
}

func appendGoneFrame(dst []byte, id LogID) []byte {
	return appendFrame(dst, func(b []byte) []byte { return appendName(append(b, frameGone), id) })
}

func appendLogFrame(dst []byte, s *savedLog) []byte {
	be := binary.BigEndian
	return appendFrame(dst, func(b []byte) []byte {
		b = appendName(append(b, frameLog), s.id)
		flags := byte(0)
		if s.noProducers {
			flags |= flagNoProducers
		}
		if s.damaged {
			flags |= flagDamaged
		}
		b = append(b, flags)
		for _, v := range [...]int64{s.start, s.point, s.unstable} {
			b = be.AppendUint64(b, uint64(v))
		}
		b = be.AppendUint32(b, uint32(len(s.segs)))
		for _, g := range s.segs {
			for _, v := range [...]int64{g.base, g.size, g.maxTs, g.maxTsAt} {
				b = be.AppendUint64(b, uint64(v))
			}
			for _, n := range [...]uint32{g.n.offsets, g.n.times, g.n.txns} {
				b = be.AppendUint32(b, n)
			}
		}
		return b
	})
}

func appendMissingFrame(dst []byte, id LogID, point int64) []byte {
	return appendFrame(dst, func(b []byte) []byte {
		return binary.BigEndian.AppendUint64(appendName(append(b, frameMissing), id), uint64(point))
	})
}

// nextFrame takes the first frame off b; a torn or damaged one is ErrCorrupt.
func nextFrame(b []byte) (payload, rest []byte, err error) {
	if len(b) < stateFrameHead {
		return nil, nil, damagedFile("state frame of %d bytes", len(b))
	}
	n := int(binary.BigEndian.Uint32(b))
	if n < 1 || n > maxStateFrame || n > len(b)-stateFrameHead {
		return nil, nil, damagedFile("state frame of %d bytes in %d", n, len(b))
	}
	payload = b[stateFrameHead : stateFrameHead+n]
	if crc32.Checksum(payload, castagnoli) != binary.BigEndian.Uint32(b[4:]) {
		return nil, nil, damagedFile("state frame: checksum")
	}
	return payload, b[stateFrameHead+n:], nil
}

// stateContent is what a state file says.
type stateContent struct {
	logs    map[key]*savedLog
	missing map[LogID]int64 // vanished logs and their recovery points
	used    int             // bytes of it that are good
	old     bool            // it is of an earlier version
}

// parseState reads a state file up to the first frame that is not good: a checkpoint
// that was cut short.
func parseState(b []byte) (c stateContent, err error) {
	payload, rest, err := nextFrame(b)
	if err != nil {
		return c, err
	}
	width := savedSegmentSize
	switch {
	case payload[0] == frameHeader && string(payload[1:]) == stateHeader:
	case payload[0] == frameHeader && string(payload[1:]) == stateHeader1:
		width, c.old = savedSegmentSize1, true
	default:
		return c, damagedFile("state file of another version")
	}
	c.logs, c.missing = map[key]*savedLog{}, map[LogID]int64{}
	for c.used = len(b) - len(rest); len(rest) > 0; c.used = len(b) - len(rest) {
		payload, tail, err := nextFrame(rest)
		if err != nil {
			return c, nil
		}
		s, err := parseLogFrame(payload, width)
		if err != nil {
			return stateContent{}, err
		}
		switch payload[0] {
		case frameGone:
			delete(c.logs, s.id.key())
		case frameMissing:
			c.missing[s.id] = s.point
		default:
			c.logs[s.id.key()] = s
		}
		rest = tail
	}
	return c, nil
}

// parseLogFrame reads the frame of a log, in which a segment has width bytes.
func parseLogFrame(p []byte, width int) (*savedLog, error) {
	be := binary.BigEndian
	kind := p[0]
	if kind < frameLog || kind > frameMissing || len(p) < 3 {
		return nil, damagedFile("state frame of kind %d", kind)
	}
	n := int(be.Uint16(p[1:]))
	p = p[3:]
	if len(p) < n+20 {
		return nil, damagedFile("state frame: name")
	}
	s := &savedLog{id: LogID{Topic: string(p[:n]), Partition: int32(be.Uint32(p[n:]))}}
	copy(s.id.TopicID[:], p[n+4:])
	p = p[n+20:]
	switch {
	case kind == frameGone:
		return s, nil
	case kind == frameMissing && len(p) == 8 && int64(be.Uint64(p)) >= 0:
		s.point = int64(be.Uint64(p))
		return s, nil
	case kind == frameMissing:
		return nil, damagedFile("state frame of missing log %v", s.id)
	}
	if len(p) < 1+3*8+4 {
		return nil, damagedFile("state frame of log %v", s.id)
	}
	s.noProducers, s.damaged = p[0]&flagNoProducers != 0, p[0]&flagDamaged != 0
	s.start, s.point, s.unstable = int64(be.Uint64(p[1:])), int64(be.Uint64(p[9:])), int64(be.Uint64(p[17:]))
	count := int(be.Uint32(p[25:]))
	p = p[29:]
	if s.start < 0 || s.point < 0 || s.unstable < 0 || count < 0 || len(p) != count*width {
		return nil, damagedFile("state frame of log %v", s.id)
	}
	s.segs = make([]savedSegment, count)
	for i := range s.segs {
		u := func(at int) int64 { return int64(be.Uint64(p[i*width+at:])) }
		g := savedSegment{base: u(0), size: u(8), maxTs: u(16), maxTsAt: u(24)}
		if width > savedSegmentSize1 {
			n := p[i*width+savedSegmentSize1:]
			g.n = entryCounts{be.Uint32(n), be.Uint32(n[4:]), be.Uint32(n[8:])}
		}
		if g.base < 0 || g.size < 0 || (i > 0 && g.base <= s.segs[i-1].base) {
			return nil, damagedFile("state frame of log %v: segment %d", s.id, g.base)
		}
		s.segs[i] = g
	}
	return s, nil
}

// stateLog is the open state file; Dir.ckptMu guards it.
type stateLog struct {
	file env.File // nil: to be written anew
	size int64
	live int64 // size when it was written anew
	// tail: the last frames are not synced (noteMade).
	tail bool
}

// readState reads the state file; c.state stays nil when there is none or it is damaged.
func (d *Dir) readState(c *checkpoints) error {
	p, err := readSmall(d.fs, d.path+"/"+stateFile, maxStateBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var content stateContent
	if err == nil {
		content, err = parseState(p)
	}
	if errors.Is(err, ErrCorrupt) {
		d.event(IndexRebuilt{File: stateFile, Err: err})
		return nil
	}
	if err == nil && d.again {
		err = d.fatal(d.secureState(p))
	}
	c.state, c.missing, c.stateOld = content.logs, content.missing, content.old
	c.stateSize, c.stateWhole = int64(content.used), content.used == len(p)
	return err
}

// secureState makes the state file durable as it was read from the page cache of a process
// before, which may not have lived to sync it: what it says is acted upon before it is
// written anew, and segments below the start are removed. It is written once more where it
// is, as a sync that failed leaves nothing to sync.
func (d *Dir) secureState(p []byte) error {
	f, err := d.fs.OpenFile(d.path+"/"+stateFile, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(p, 0); err == nil {
		if err = f.Sync(); err != nil {
			err = syncError{err}
		}
	}
	return errors.Join(err, f.Close())
}

// openState goes on with the state file as it is.
func (d *Dir) openState(size int64) error {
	f, err := d.fs.OpenFile(d.path+"/"+stateFile, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("state: %w", err)
	}
	d.state = stateLog{file: f, size: size, live: size}
	return nil
}

// writeState makes frames of the given logs durable, and of those that were deleted; ckptMu
// is held. A deleted log counts as gone until then: its name is not given to another.
func (d *Dir) writeState(changed []*Log) error {
	d.mu.Lock()
	gone := slices.Clone(d.gone)
	d.mu.Unlock()
	if err := d.writeFrames(changed, gone); err != nil {
		return err
	}
	d.mu.Lock()
	d.gone = slices.Delete(d.gone, 0, len(gone)) // others were added behind
	d.mu.Unlock()
	return nil
}

func (d *Dir) writeFrames(changed []*Log, gone []LogID) error {
	if d.state.file == nil || d.state.size > 2*d.state.live+1<<20 {
		return d.rewriteState()
	}
	b := d.stateBuf[:0]
	for _, id := range gone {
		b = appendGoneFrame(b, id)
	}
	for _, l := range changed {
		if !l.deleted() && !l.unmade.Load() {
			b = appendLogFrame(b, l.snapshotState())
		}
	}
	d.stateBuf = b[:0]
	if len(b) == 0 && !d.state.tail {
		return nil
	}
	var err error
	if len(b) > 0 {
		_, err = d.state.file.WriteAt(b, d.state.size)
	}
	if err == nil {
		if err = d.state.file.Sync(); err != nil {
			err = syncError{err}
		}
	}
	if err != nil { // what was half written must not be followed by more
		d.dropState()
		return err
	}
	d.state.size += int64(len(b))
	d.state.tail = false
	return nil
}

func (d *Dir) dropState() {
	if d.state.file != nil {
		_ = d.state.file.Close() // it is written anew: nothing in it counts any more
		d.state.file = nil
	}
}

// rewriteState writes the state of all logs into a new file.
func (d *Dir) rewriteState() error {
	list := d.all()
	b := appendHeaderFrame(d.stateBuf[:0])
	for _, m := range d.missing {
		b = appendMissingFrame(b, m.Log, m.Point)
	}
	list = slices.DeleteFunc(list, func(l *Log) bool { return l.unmade.Load() })
	for _, l := range list {
		b = appendLogFrame(b, l.snapshotState())
	}
	d.dropState()
	if err := writeSmall(d.fs, d.path, stateFile, b); err != nil {
		return err
	}
	d.stateBuf = b[:0]
	for _, l := range list {
		l.markSaved()
	}
	return d.openState(int64(len(b)))
}

// snapshotState is what the state file is to say of the log.
func (l *Log) snapshotState() *savedLog {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.segs.Load() == nil && l.saved != nil {
		l.dirty.saving.offset, l.dirty.savingStart = l.saved.point, l.saved.start
		return l.saved
	}
	s := &savedLog{
		id: l.ID(), start: l.start.Load(), point: l.dirty.ready.offset, unstable: l.unstable.Load(),
		noProducers: len(l.producers.m) == 0, damaged: len(l.damage) > 0,
	}
	at := l.dirty.ready
	s.start = max(s.start, l.dirty.wantStart)
	l.dirty.saving, l.dirty.savingStart = at, s.start
	l.dirty.tried = max(l.dirty.tried, s.point)
	p := l.segs.Load()
	if p == nil {
		return s
	}
	if l.dirty.nextSegs != nil {
		p = &l.dirty.nextSegs
	}
	for _, g := range *p {
		if g == at.seg {
			s.segs = append(s.segs, savedSegment{g.base, at.size, at.maxTs, at.maxTsAt, at.n})
			break
		}
		if g.base >= s.point { // the place's own segment is gone
			s.segs = append(s.segs, savedSegment{base: g.base, maxTs: -1, maxTsAt: g.base})
			break
		}
		g.mu.RLock()
		s.segs = append(s.segs, savedSegment{g.base, g.size.Load(), g.maxTs, g.maxTsAt, g.counts()})
		g.mu.RUnlock()
	}
	return s
}

// markSaved notes that what snapshotState returned last is durable. Only now the epochs
// below the start may be forgotten: after a crash before, the start is where it was.
func (l *Log) markSaved() {
	l.mu.Lock()
	l.dirty.savedStart = l.dirty.savingStart
	l.dirty.point, l.dirty.tried = l.dirty.saving.offset, l.dirty.saving.offset
	l.epochs.truncateStart(l.dirty.savingStart)
	l.mu.Unlock()
}
