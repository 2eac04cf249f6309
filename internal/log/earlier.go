package log

import (
	"fmt"
	"io"
	"math"

	"github.com/leat-stream/leat/internal/mutant"
	"github.com/leat-stream/leat/internal/record"
)

// A producer's connection bounds how many batches it has under way, and five are
// remembered for that. But a producer that hears of another leader goes on there while a
// batch is still under way to the one before, and that batch comes again behind any number
// of later ones. Whether it is a duplicate then is looked up in the log.

// maxRun bounds how far back sequence numbers tell what was written before what: they
// wrap from 2^31-1 to 0.
const maxRun = 1 << 30

// back is how many sequence numbers a lies before b; at least maxRun says that it does not.
func back(a, b int32) uint32 { return uint32(b-a) & math.MaxInt32 }

// Earlier is a batch whose sequence numbers lie before all that are remembered of its
// producer, in the producer's current epoch. As an error it is ErrOutOfOrderSequence,
// unless the log has the batch: see FindEarlier.
type Earlier struct {
	ProducerID    int64
	ProducerEpoch int16
	Sequence      int32 // the first
	Delta         int32 // the last, less the first
	// Written: all its numbers are known to have been written, so that the batch was, though
	// the log may not have it any more.
	Written bool
	// Below is the offset of a later batch of the producer: the batch is below, or nowhere.
	Below int64

	behind uint32 // numbers from its first to the first of the batch at Below
	expect int32  // the number that the producer should have sent
}

func (e *Earlier) Error() string {
	return fmt.Sprintf("%v: producer %d epoch %d: sequence %d, expected is %d", ErrOutOfOrderSequence, e.ProducerID, e.ProducerEpoch, e.Sequence, e.expect)
}

// Is makes it an ErrOutOfOrderSequence.
func (e *Earlier) Is(target error) bool { return target == ErrOutOfOrderSequence }

// earlier is the batch if it lies before all that is remembered; otherwise nil.
func (p *producer) earlier(b record.Batch) *Earlier {
	first, delta := b.BaseSequence(), b.LastOffsetDelta()
	if p.n == 0 || first < 0 || delta < 0 || p.lastSeq() < 0 || mutant.On("log/old-duplicate-out-of-order") {
		return nil
	}
	oldest, last := p.batches[0], back(first, p.lastSeq())
	n := back(first, oldest.firstSeq())
	if last >= maxRun || n == 0 || n > last || n <= uint32(delta) {
		return nil
	}
	e := &Earlier{
		ProducerID: p.id, ProducerEpoch: p.epoch, Sequence: first, Delta: delta,
		Written: last < p.run, Below: oldest.firstOffset(), behind: n, expect: int32((int64(p.lastSeq()) + 1) & math.MaxInt32),
	}
	return e
}

// maxEarlier bounds how many headers a search looks at. It is a variable so that tests can
// lower it.
var maxEarlier = 1 << 15

// earlierStep is how many bytes of a segment a search looks through at a time, from the
// end to the start.
const earlierStep = 256 << 10

// FindEarlier looks for the batch in the log, back from the producer's later ones, and
// tells where it was written. ErrOutOfOrderSequence: its numbers are those of batches with
// other bounds. Not found can also mean that there was too much to look through. It holds no lock that appends need; the caller makes sure that the log is not
// truncated meanwhile, or throws the answer away.
func (l *Log) FindEarlier(e Earlier) (info AppendInfo, found bool, err error) {
	err = l.retryGone(func(list []*segment) error {
		s := earlierSearch{want: e, upTo: e.upTo(e.Below, e.behind), left: maxEarlier}
		for i := find(list, s.upTo-1); i >= 0 && !s.done; i = find(list, s.upTo-1) {
			if err := s.segment(list[i]); err != nil {
				return err
			}
		}
		info, found = s.info, s.found
		return nil
	})
	info.LogStartOffset = l.start.Load()
	return info, found && err == nil, err
}

// upTo is an offset that the batch is wholly below, as one of its producer that begins n
// numbers later is at offset at: every number that was written has taken an offset.
func (e *Earlier) upTo(at int64, n uint32) int64 {
	if !e.Written {
		return at
	}
	return at - int64(n) + int64(e.Delta) + 1
}

// earlierSearch goes back through a log.
type earlierSearch struct {
	want  Earlier
	upTo  int64 // the batch is wholly below this offset; it falls with every step
	left  int   // headers that may still be looked at
	done  bool
	found bool
	info  AppendInfo
}

// segment looks through what a segment has below upTo, in steps from its end to its start.
func (s *earlierSearch) segment(seg *segment) error {
	f, err := seg.file.acquire()
	if err != nil {
		return err
	}
	defer seg.file.release()
	limit := seg.size.Load()
	for !s.done && s.upTo > seg.base {
		end, err := seg.position(f, s.upTo, limit)
		if err != nil {
			return err
		}
		from, err := seg.boundary(f, max(end-earlierStep, 0))
		if err != nil {
			return err
		}
		if err := s.step(f, seg, from, end); err != nil {
			return err
		}
		if from == 0 {
			s.upTo = min(s.upTo, seg.base)
		}
	}
	return nil
}

// step looks through the batches from position from to end, forward. Of those of the
// producer that it meets, the first later one tells where to go on.
func (s *earlierSearch) step(f io.ReaderAt, seg *segment, from, end int64) error {
	before, other := false, false
	var match header
	err := rawHeaders(f, seg.base, nil, from, end, func(h header, b record.Batch) bool {
		if s.left--; s.left < 0 {
			s.done = true
			return false
		}
		if h.pos == from {
			s.upTo = min(s.upTo, h.base)
		}
		if b.ProducerID() != s.want.ProducerID || b.IsControl() {
			return true
		}
		sameEpoch, n := b.ProducerEpoch() == s.want.ProducerEpoch, back(s.want.Sequence, b.BaseSequence())
		other = sameEpoch && (n <= uint32(s.want.Delta) || back(b.BaseSequence(), s.want.Sequence) <= uint32(b.LastOffsetDelta()))
		switch {
		case sameEpoch && n == 0 && b.LastOffsetDelta() == s.want.Delta:
			s.done, s.found, match = true, true, h
		case other:
			s.done = true
		case !sameEpoch || n >= maxRun:
			before = true // if the wanted one is there, it follows
			return true
		case before:
			s.done = true // and does not follow
		default:
			s.upTo = min(s.upTo, s.want.upTo(h.base, n))
		}
		return false
	})
	if err == nil && other && !s.found {
		return fmt.Errorf("%w: producer %d has sent other batches with sequence %d", ErrOutOfOrderSequence, s.want.ProducerID, s.want.Sequence)
	}
	if err != nil || !s.found {
		s.done = s.done || before
		return err
	}
	if s.info, err = foundAt(f, match, end); err != nil {
		s.found = false
	}
	return err
}

// foundAt makes the answer of a batch that was found, once it is known to be whole.
func foundAt(f io.ReaderAt, h header, limit int64) (AppendInfo, error) {
	b, err := readBatch(f, h.pos, limit)
	if err != nil {
		return AppendInfo{}, err
	}
	return AppendInfo{
		FirstOffset: b.BaseOffset(), LastOffset: b.LastOffset(), MaxTimestamp: b.MaxTimestamp(), AppendTime: -1, Duplicate: true,
	}, nil
}
