package log

import (
	"bytes"
	"maps"
	"os"
	"testing"

	"github.com/leat-stream/leat/internal/record"
)

// Each decoder takes any bytes without a panic, and what it accepts it writes again
// to something that it reads as the same.

func FuzzSnapshot(f *testing.F) {
	s := producers{}
	for i := range 7 {
		b := record.Batch(batch(2, 10, idempotent(int64(i%3), 0, int32(2*(i/3)))))
		b.SetBaseOffset(int64(2 * i))
		s.apply(b, true)
	}
	f.Add(s.encodeSnapshot())
	f.Add((&producers{}).encodeSnapshot())
	f.Add([]byte{0, 1, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, p []byte) {
		s, err := decodeSnapshot(p, 100)
		if err != nil {
			return
		}
		again, err := decodeSnapshot(s.encodeSnapshot(), 100)
		if err != nil || len(again.m) != len(s.m) || len(again.done) != len(s.done) {
			t.Fatalf("%d producers, then %d: %v", len(s.m), len(again.m), err)
		}
	})
}

func FuzzState(f *testing.F) {
	b := appendHeaderFrame(nil)
	b = appendLogFrame(b, &savedLog{id: testID("a"), start: 1, point: 9, unstable: 5, segs: []savedSegment{{0, 10, 3, 2, entryCounts{2, 1, 3}}, {4, 7, -1, 4, entryCounts{}}}})
	b = appendGoneFrame(b, testID("b"))
	b = appendMissingFrame(b, testID("d"), 8)
	f.Add(b)
	f.Add(b[:len(b)-5])
	f.Add(goldenState(f, 1))
	f.Add(appendHeaderFrame(nil))
	f.Fuzz(func(t *testing.T, p []byte) {
		c, err := parseState(p)
		if err != nil {
			return
		}
		if c.used > len(p) {
			t.Fatalf("used %d of %d bytes", c.used, len(p))
		}
		b := appendHeaderFrame(nil)
		for _, s := range c.logs {
			b = appendLogFrame(b, s)
		}
		for id, point := range c.missing {
			b = appendMissingFrame(b, id, point)
		}
		again, err := parseState(b)
		if err != nil || again.old || again.used != len(b) || len(again.logs) != len(c.logs) || !maps.Equal(again.missing, c.missing) {
			t.Fatalf("%d logs, then %d: %v", len(c.logs), len(again.logs), err)
		}
	})
}

func FuzzCheckpoint(f *testing.F) {
	f.Add(encodeOffsets(map[key]int64{{"a", 0}: 5, {"b-c", 12}: 0}))
	f.Add([]byte("0\n1\na 0 -1\n"))
	f.Add([]byte("0\n99999999999\n"))
	f.Fuzz(func(t *testing.T, p []byte) {
		m, err := parseOffsets(p)
		if err != nil {
			return
		}
		again, err := parseOffsets(encodeOffsets(m))
		if err != nil || !maps.Equal(m, again) {
			t.Fatalf("%v, then %v: %v", m, again, err)
		}
	})
}

func FuzzEpochs(f *testing.F) {
	f.Add(encodeEpochs([]epochEntry{{0, 0}, {3, 17}}))
	f.Add([]byte("0\n1\n5\n"))
	f.Fuzz(func(t *testing.T, p []byte) {
		list, err := parseEpochs(p)
		if err != nil {
			return
		}
		if again, err := parseEpochs(encodeEpochs(list)); err != nil || len(again) != len(list) {
			t.Fatalf("%v, then %v: %v", list, again, err)
		}
		e := epochs{list: list}
		for _, x := range list {
			if got, _ := e.endOf(x.epoch, 1<<40); got != x.epoch {
				t.Fatalf("end of epoch %d is of epoch %d", x.epoch, got)
			}
		}
	})
}

func FuzzTxnIndex(f *testing.F) {
	f.Add(appendTxnEntry(appendTxnEntry(nil, AbortedTxn{1, 0, 5, 6}), AbortedTxn{2, 3, 9, 4}))
	f.Add(make([]byte, txnEntrySize))
	f.Fuzz(func(t *testing.T, p []byte) {
		list, _ := parseTxnEntries(p, 0)
		var b []byte
		for _, x := range list {
			b = appendTxnEntry(b, x)
		}
		if !bytes.HasPrefix(p, b) {
			t.Fatal("entries are not those of the bytes")
		}
	})
}

func FuzzProperties(f *testing.F) {
	f.Add(meta{"cluster", 1, [16]byte{1}}.encode())
	f.Add(encodePartition([16]byte{7}))
	f.Add([]byte("version=1\nnode.id=99999999999\n"))
	f.Fuzz(func(t *testing.T, p []byte) {
		if id, err := parsePartition(p); err == nil {
			if again, err := parsePartition(encodePartition(id)); err != nil || again != id {
				t.Fatalf("topic id %x, then %x: %v", id, again, err)
			}
		}
		_, _ = parseMeta(p)
	})
}

func FuzzHole(f *testing.F) {
	golden := append([]byte("LEATHOLE\x00\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\xae\x00\x00\x00\x00\x00\x00\x01\x5c\x00\x00\x00\x00\x00\x00\x00\x06"), 0xe1, 0xfc, 0x71, 0x4c)
	if base, h, ok := parseHole(golden); !ok || base != 4 || h != (hole{174, 348, 6}) {
		f.Errorf("%d %+v %v, written as %x", base, h, ok, hole{174, 348, 6}.encode(4))
	}
	f.Add(golden)
	f.Add(make([]byte, holeSize))
	f.Fuzz(func(t *testing.T, p []byte) {
		if base, h, ok := parseHole(p); ok && !bytes.Equal(h.encode(base), p) {
			t.Fatalf("%+v in %d is not %x", h, base, p)
		}
	})
}

func FuzzNames(f *testing.F) {
	f.Add(segmentName(5, logSuffix))
	f.Add(corruptName(damagedRange{5, 7}))
	f.Add("topic-with-dash-12")
	f.Fuzz(func(t *testing.T, name string) {
		if base, suffix, ok := parseSegmentName(name); ok && segmentName(base, suffix) != name {
			t.Fatalf("segment name %q", name)
		}
		if d, ok := parseCorruptName(name); ok && corruptName(d) != name {
			t.Fatalf("name of damaged bytes %q", name)
		}
		if k, ok := parseDirName(name); ok && (LogID{Topic: k.topic, Partition: k.partition}).String() != name {
			t.Fatalf("directory name %q", name)
		}
	})
}

// FuzzFiles opens a log whose segment and indexes are any bytes, and reads it.
func FuzzFiles(f *testing.F) {
	good := append(batch(2, 50), func() []byte { b := record.Batch(batch(3, 50)); b.SetBaseOffset(2); return b }()...)
	f.Add(good, []byte{0, 0, 0, 4, 0, 0, 0, 200}, make([]byte, 12), make([]byte, txnEntrySize))
	f.Add(good[:len(good)-3], []byte{}, []byte{1}, []byte{})
	f.Fuzz(func(t *testing.T, log, offsets, times, txns []byte) {
		w := newWorld(t)
		l := w.log("a")
		w.append(l, batch(1, 1))
		w.checkpoint()
		for suffix, p := range map[string][]byte{logSuffix: log, indexSuffix: offsets, timeIndexSuffix: times, txnIndexSuffix: txns} {
			file, err := w.fs.OpenFile("data/a-0/"+segmentName(0, suffix), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := file.WriteAt(p, 0); err != nil {
				t.Fatal(err)
			}
		}
		w.kill()
		l = w.log("a")
		for at := l.StartOffset(); at < l.EndOffset(); {
			run, err := l.Read(at, 1<<20, l.EndOffset(), true)
			if err != nil || run.Len() == 0 {
				break
			}
			at = run.NextOffset()
			run.Release()
		}
		_, _, _ = l.OffsetForTime(epoch0.UnixMilli(), l.EndOffset())
		_, _, _ = l.MaxTimestampOffset(l.EndOffset())
		_, _ = l.AbortedTxns(0, l.EndOffset())
		if info := w.append(l, batch(1, 1)); info.FirstOffset < 1 {
			t.Fatalf("offset %d was given again", info.FirstOffset)
		}
		w.sync()
	})
}
