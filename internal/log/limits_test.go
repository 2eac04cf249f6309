package log

import (
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/leat-stream/leat/internal/record"
)

// refused appends a batch that must not get in.
func (w *world) refused(l *Log, b []byte, want error) error {
	w.t.Helper()
	end, size := l.EndOffset(), l.Size()
	_, err := l.Append(b, AppendOptions{Now: w.clock.Now()})
	if !errors.Is(err, want) || l.EndOffset() != end || l.Size() != size {
		w.t.Fatalf("%v, want %v; ends at %d, was %d", err, want, l.EndOffset(), end)
	}
	return err
}

// TestTimestampBounds: the bounds are part of what is allowed, and one record outside
// refuses its batch. A record without a time has none to judge.
func TestTimestampBounds(t *testing.T) {
	for _, codec := range []record.Codec{record.CodecNone, record.CodecZstd} {
		w := newWorld(t)
		l := w.log("a", func(c *Config) { c.TimestampBeforeMaxMs, c.TimestampAfterMaxMs = 1000, 50 })
		now := w.clock.Now().UnixMilli()
		of := func(ts ...int64) []byte {
			var b record.Builder
			b.Reset(record.NewHeader(0), record.Compression{Codec: codec})
			for _, at := range ts {
				b.Append(at, []byte("k"), []byte("v"))
			}
			p, err := b.Build(nil)
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		for _, ok := range [][]int64{{now}, {now - 1000, now + 50}, {record.NoTimestamp}} {
			if info := w.append(l, of(ok...)); info.MaxTimestamp != slices.Max(ok) || info.AppendTime != -1 {
				t.Fatalf("%d: %+v", ok, info)
			}
		}
		for _, bad := range [][]int64{{now, now - 1001, now}, {now, now + 51}} {
			var list *record.RecordErrors
			if err := w.refused(l, of(bad...), record.ErrTimestamp); !errors.As(err, &list) || list.Total != 1 || list.List[0].Index != 1 {
				t.Fatalf("%d: %v", bad, err)
			}
		}
		w.clock.Advance(time.Second) // the clock counts, not the time of the start
		w.append(l, of(now, now+1050))
		w.refused(l, of(now-1), record.ErrTimestamp)
		c := *l.Config()
		c.TimestampBeforeMaxMs, c.TimestampAfterMaxMs = math.MaxInt64, math.MaxInt64
		l.SetConfig(c)
		w.append(l, of(0, math.MaxInt32))
	}
}

// TestLogAppendTime: the broker's clock is the only time, in the batch, in the answer, in
// look-ups; a producer's is not even held against the bounds.
func TestLogAppendTime(t *testing.T) {
	for _, own := range []bool{false, true} {
		w := newWorld(t)
		l := w.log("a", func(c *Config) {
			c.TimestampType, c.TimestampBeforeMaxMs, c.TimestampAfterMaxMs = record.LogAppendTime, 0, 0
			c.CompressionSet, c.Compression = own, record.Compression{Codec: record.CodecZstd}
		})
		for i := range int64(3) {
			now := w.clock.Now().UnixMilli()
			info := w.append(l, compressedBatch(record.CodecGzip, int32(20*i), 5))
			b := batchAt(t, l, info.FirstOffset)
			if info.AppendTime != now || info.MaxTimestamp != now || b.TimestampType() != record.LogAppendTime || b.MaxTimestamp() != now || !b.CheckCRC() {
				t.Fatalf("now %d: %+v %+v", now, info, b.Header())
			}
			for r, err := range b.Records(1 << 20) {
				if err != nil || r.Timestamp != now {
					t.Fatalf("record at %d, now %d (%v)", r.Timestamp, now, err)
				}
			}
			w.clock.Advance(time.Second)
		}
		at, ok, err := l.OffsetForTime(epoch0.UnixMilli()+1, l.EndOffset())
		if err != nil || !ok || at.Offset != 20 {
			t.Fatalf("%+v %v %v", at, ok, err)
		}
		c := *l.Config()
		c.TimestampType, c.TimestampBeforeMaxMs = record.CreateTime, math.MaxInt64
		l.SetConfig(c)
		if info := w.append(l, compressedBatch(record.CodecGzip, 60, 5)); info.AppendTime != -1 || info.MaxTimestamp != 5 || batchAt(t, l, 60).TimestampType() != record.CreateTime {
			t.Fatalf("after the change: %+v", info)
		}
	}
}

// TestLargestBatch: max.message.bytes is of a batch as it is sent, and as it is stored;
// max.decompressed.message.bytes of a record in a compressed one.
func TestLargestBatch(t *testing.T) {
	w := newWorld(t)
	l := w.log("a")
	set := func(change func(*Config)) {
		c := *l.Config()
		change(&c)
		l.SetConfig(c)
	}
	b := batch(1, 1000)
	set(func(c *Config) { c.MaxMessageBytes = len(b) - 1 })
	w.refused(l, slices.Clone(b), record.ErrTooLarge)
	set(func(c *Config) { c.MaxMessageBytes = len(b) })
	w.append(l, slices.Clone(b))

	small := compressedBatch(record.CodecZstd, 0, epoch0.UnixMilli())
	set(func(c *Config) {
		c.MaxMessageBytes, c.CompressionSet, c.Compression = len(small), true, record.Compression{Codec: record.CodecNone}
	})
	w.refused(l, slices.Clone(small), record.ErrTooLarge) // it is as it comes, not as it is stored
	set(func(c *Config) { c.CompressionSet = false })
	w.append(l, small)

	one := func(codec record.Codec, size int) []byte {
		var b record.Builder
		b.Reset(record.NewHeader(0), record.Compression{Codec: codec})
		b.Append(epoch0.UnixMilli(), nil, make([]byte, size))
		p, err := b.Build(nil)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	set(func(c *Config) { c.MaxMessageBytes, c.MaxDecompressedBytes = 1<<20, 10_000 })
	for _, codec := range allCodecs {
		w.append(l, one(codec, 9_900))
		if codec == record.CodecNone {
			w.append(l, one(codec, 10_000)) // nothing is decompressed
		} else {
			w.refused(l, one(codec, 10_000), record.ErrInvalid)
		}
	}
	set(func(c *Config) { c.SegmentBytes = 5_000 })
	w.append(l, one(record.CodecZstd, 9_900))
	w.refused(l, one(record.CodecNone, 5_000), ErrRecordListTooLarge)

	// A follower takes what its leader took, in as many segments as it needs.
	var run []byte
	offset := l.EndOffset()
	for i := range int64(4) {
		b := record.Batch(one(record.CodecNone, 2_000+1000*int(i)))
		b.SetLeaderEpoch(l.LatestEpoch())
		b.SetBaseOffset(offset + i)
		run = append(run, b...)
	}
	if _, err := l.Append(run, AppendOptions{Origin: OriginReplication, Now: w.clock.Now()}); err != nil {
		t.Fatal(err)
	}
	if l.EndOffset() != offset+4 || !slices.Equal(l.bases()[len(l.bases())-3:], []int64{offset + 1, offset + 2, offset + 3}) {
		t.Fatalf("ends at %d, segments at %d", l.EndOffset(), l.bases())
	}
	if got := readAll(t, l, offset); !slices.Equal(got, []int64{offset, offset + 1, offset + 2, offset + 3}) {
		t.Fatalf("read %d", got)
	}
}
