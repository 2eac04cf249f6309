package log

import (
	"bytes"
	"encoding/binary"
	"runtime/debug"
	"slices"
	"testing"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/record"
)

// TestLengthIntoARecord: a length that leads to what looks like the next batch, in the batch's own
// record, is not taken for true.
func TestLengthIntoARecord(t *testing.T) {
	forged := record.Batch(batch(1, 50, idempotent(77, 0, 0)))
	forged.SetBaseOffset(5)
	forged.SetLeaderEpoch(0)
	var bl record.Builder
	bl.Reset(record.NewHeader(0), record.Compression{})
	bl.Append(epoch0.UnixMilli(), nil, slices.Concat(make([]byte, 50), forged, make([]byte, 255-len(forged))))
	outer, err := bl.Build(nil)
	if err != nil || !bytes.HasPrefix(outer[len(outer)-256:], forged) || (len(outer)-record.Overhead)&256 == 0 {
		t.Fatal("the forged batch is elsewhere", err)
	}
	for _, interval := range []int64{1, 1 << 20} {
		w := newWorld(t)
		l := w.log("a", func(c *Config) { c.IndexIntervalBytes = interval })
		for range 4 {
			w.append(l, batch(1, 50))
		}
		pos := int(l.Size())
		w.append(l, slices.Clone(outer))
		for range 4 {
			w.append(l, batch(1, 50))
		}
		w.checkpoint()
		w.reopen()
		w.change(aLog, flip(pos+record.OffLength+2))
		w.scrub()
		wantRefused(t, w.log("a"), 4, 5, 9)
	}
}

// TestOldBatches: a file of batches with lower offsets than its own is damage, however many they are.
func TestOldBatches(t *testing.T) {
	w := newWorld(t)
	l := w.log("a")
	for range 20_000 {
		w.append(l, batch(1, 1))
	}
	w.roll(l)
	for range 20_000 {
		w.append(l, batch(1, 1))
	}
	w.checkpoint()
	w.reopen()
	p := w.content(aLog)
	w.change(aDir+segmentName(20_000, logSuffix), func([]byte) []byte { return slices.Clone(p) })
	defer debug.SetMaxStack(debug.SetMaxStack(4 << 20))
	w.scrub()
	if got := w.log("a").Damaged(); !slices.Equal(got, []Range{{20_000, 40_000}}) {
		t.Fatalf("refused %v", got)
	}
}

// counted counts the bytes that are read of a file.
type counted struct {
	env.File
	read *int64
}

func (c counted) ReadAt(p []byte, at int64) (int, error) {
	*c.read += int64(len(p))
	return c.File.ReadAt(p, at)
}

// TestManyBeginnings: a record that looks like the beginnings of many batches, each as long as the
// rest of the segment, does not have that read for each.
func TestManyBeginnings(t *testing.T) {
	w := newWorld(t)
	l := w.log("a", func(c *Config) { c.IndexIntervalBytes = 1 })
	w.append(l, batch(1, 100))
	var v []byte
	for range 500 {
		b := make(record.Batch, record.HeaderSize)
		b[record.OffMagic] = record.Magic
		b.SetBaseOffset(2)
		binary.BigEndian.PutUint32(b[record.OffLength:], 1<<20)
		v = append(v, b...)
	}
	var bl record.Builder
	bl.Reset(record.NewHeader(0), record.Compression{})
	bl.Append(epoch0.UnixMilli(), nil, v)
	p, err := bl.Build(nil)
	w.must(err)
	w.append(l, slices.Clone(p))
	w.append(l, p) // where the index leads
	for l.Size() < 2<<20 {
		w.append(l, batch(1, 50_000))
	}
	w.checkpoint()
	pos := int64(len(batch(1, 100)))
	w.change(aLog, func(p []byte) []byte {
		copy(p[pos:], make([]byte, 50))
		return p
	})
	s := (*l.segs.Load())[0]
	f, err := s.file.acquire()
	w.must(err)
	defer s.file.release()
	read, size := int64(0), l.Size()
	sc := newScanner(counted{f, &read}, size)
	k := hunt{sc: sc, pos: pos, next: 1, end: l.EndOffset(), whole: true, anchor: s.indexedBehind(f, pos, 1, size, l.EndOffset())}
	if h, found, err := k.run(); err != nil || !found || h.base != 2 {
		t.Fatal(h, found, err)
	}
	if read > 4*size {
		t.Fatalf("%d bytes were read of %d", read, size)
	}
}

// TestTornBatchWithBatches: what is in the record of a write that was never finished is no batch.
func TestTornBatchWithBatches(t *testing.T) {
	for _, reserved := range []bool{false, true} {
		w := newWorld(t)
		unsynced(w)
		l := w.log("a")
		forged := record.Batch(batch(1, 50, idempotent(77, 0, 0)))
		forged.SetBaseOffset(9)
		forged.SetLeaderEpoch(0)
		var bl record.Builder
		bl.Reset(record.NewHeader(0), record.Compression{})
		bl.Append(epoch0.UnixMilli(), nil, append(slices.Clone(forged), bytes.Repeat([]byte{1}, 500)...))
		outer, err := bl.Build(nil)
		w.must(err)
		pos := int(l.Size())
		w.append(l, outer)
		w.change(aLog, func(p []byte) []byte {
			p = p[:pos+len(outer)-100]
			if reserved {
				p = append(p, make([]byte, 1000)...)
			}
			return p
		})
		w.kill()
		l = w.log("a")
		wantRefused(t, l, 8, 8, 8)
	}
}
