package log

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/leat-stream/leat/internal/record"
)

// kv is one record as a reader sees it; a nil value is "-".
type kv struct {
	offset     int64
	key, value string
}

func (r kv) String() string {
	if r.key == "marker" {
		return fmt.Sprintf("%d:marker", r.offset)
	}
	return fmt.Sprintf("%d:%s=%s", r.offset, r.key, r.value)
}

func records(t testing.TB, l *Log) (list []kv) {
	t.Helper()
	eachStored(t, l, func(b record.Batch) {
		if b.IsControl() {
			list = append(list, kv{b.BaseOffset(), "marker", ""})
			return
		}
		for r, err := range b.Records(1 << 20) {
			if err != nil {
				t.Fatal(err)
			}
			v := string(r.Value)
			if r.Value == nil {
				v = "-"
			}
			list = append(list, kv{r.Offset, string(r.Key), v})
		}
	})
	return list
}

func eachStored(t testing.TB, l *Log, fn func(record.Batch)) {
	t.Helper()
	offset := l.StartOffset()
	for offset < l.EndOffset() {
		run, err := l.Read(offset, 1<<20, l.EndOffset(), true)
		if err != nil {
			t.Fatal(err)
		}
		if run.Len() == 0 { // compaction may leave nothing before the end
			return
		}
		p := make([]byte, run.Len())
		if _, err := run.ReadAt(p, 0); err != nil {
			t.Fatal(err)
		}
		for b, err := range record.Split(p) {
			if err != nil || !b.CheckCRC() {
				t.Fatal(b, err)
			}
			fn(b)
		}
		offset = run.NextOffset()
		run.Release()
	}
}

func keyed(h record.BatchHeader, pairs ...string) []byte {
	var b record.Builder
	b.Reset(h, record.Compression{})
	for i := 0; i < len(pairs); i += 2 {
		var v []byte
		if pairs[i+1] != "-" {
			v = []byte(pairs[i+1])
		}
		b.Append(epoch0.UnixMilli(), []byte(pairs[i]), v)
	}
	p, err := b.Build(nil)
	if err != nil {
		panic(err)
	}
	return p
}

func compacted(c *Config) {
	c.Compact, c.Delete = true, false
	c.MinCleanable = 0
	c.DeleteRetention = 1000
}

// now moves a batch's timestamps to t.
func now(p []byte, t time.Time) []byte {
	b := record.Batch(p)
	binary.BigEndian.PutUint64(b[record.OffBaseTimestamp:], uint64(t.UnixMilli()))
	b.SetMaxTimestamp(record.CreateTime, t.UnixMilli())
	b.SetCRC()
	return p
}

func (w *world) appendAs(l *Log, o Origin, b []byte) AppendInfo {
	w.t.Helper()
	info, err := l.Append(b, AppendOptions{Now: w.clock.Now(), Origin: o})
	if err != nil {
		w.t.Fatal(err)
	}
	return info
}

func (w *world) roll(l *Log) {
	w.t.Helper()
	l.w.Lock()
	defer l.w.Unlock()
	if _, err := l.roll(l.end.Load(), w.clock.Now()); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) checkpoint() {
	w.t.Helper()
	w.sync()
	if err := w.dir.Checkpoint(); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) compact(l *Log) Compacted {
	w.t.Helper()
	w.checkpoint()
	res, err := l.Compact(CompactOptions{Now: w.clock.Now()})
	if err != nil {
		w.t.Fatal(err)
	}
	return res
}

func (w *world) want(l *Log, want string) {
	w.t.Helper()
	if got := fmt.Sprint(records(w.t, l)); got != want {
		w.t.Fatalf("the log holds\n%s, want\n%s", got, want)
	}
}

func TestCompactKeepsLatest(t *testing.T) {
	w := newWorld(t)
	l := w.log("a", compacted)
	none := record.NewHeader(0)
	w.append(l, keyed(none, "a", "1", "b", "1"))
	w.append(l, keyed(none, "a", "2", "c", "1"))
	w.roll(l)
	w.append(l, keyed(none, "b", "2", "d", "1"))
	w.roll(l)
	w.append(l, keyed(none, "a", "9")) // active: not touched, and not in the map
	if res := w.compact(l); res.Removed != 2 || res.Segments != 2 {
		t.Fatalf("%+v", res)
	}
	const want = "[2:a=2 3:c=1 4:b=2 5:d=1 6:a=9]"
	w.want(l, want)
	if n := len(*l.segs.Load()); n != 2 {
		t.Fatalf("%d segments, the sealed ones fit into one", n)
	}
	w.reopen()
	l = w.log("a", compacted)
	w.want(l, want)
	if res := w.compact(l); res.Segments != 0 {
		t.Fatalf("cleaned again though nothing was written: %+v", res)
	}
	w.crash()
	l = w.log("a", compacted)
	w.want(l, want)
}

func TestTombstonesStayForTheirTime(t *testing.T) {
	w := newWorld(t)
	l := w.log("a", compacted)
	none := record.NewHeader(0)
	w.append(l, keyed(none, "a", "1", "b", "1"))
	w.append(l, keyed(none, "a", "-"))
	w.roll(l)
	w.compact(l)
	w.want(l, "[1:b=1 2:a=-]")
	eachStored(t, l, func(b record.Batch) {
		if h, ok := b.DeleteHorizon(); ok != (b.BaseOffset() == 2) || (ok && h != epoch0.UnixMilli()+1000) {
			t.Fatalf("batch %d: delete horizon %d, %v", b.BaseOffset(), h, ok)
		}
	})
	more := func(v string) {
		w.append(l, keyed(none, "x", v))
		w.roll(l)
		w.compact(l)
	}
	w.clock.Advance(999 * time.Millisecond)
	more("1")
	w.want(l, "[1:b=1 2:a=- 3:x=1]")
	w.clock.Advance(time.Millisecond)
	more("2")
	w.want(l, "[1:b=1 4:x=2]")
}

func TestCompactKeepsLastBatchOfProducer(t *testing.T) {
	w := newWorld(t)
	l := w.log("a", compacted)
	h := record.NewHeader(0)
	idempotent(7, 0, 0)(&h)
	w.append(l, keyed(h, "a", "1", "b", "1"))
	w.append(l, keyed(record.NewHeader(0), "a", "2", "b", "2"))
	w.roll(l)
	w.compact(l)
	w.want(l, "[2:a=2 3:b=2]")
	empty := 0
	eachStored(t, l, func(b record.Batch) {
		if b.Count() == 0 && b.ProducerID() == 7 && b.LastOffset() == 1 && b.LastSequence() == 1 {
			empty++
		}
	})
	if empty != 1 {
		t.Fatal("the producer's last sequence is not in the log")
	}
	// From the log alone: without any snapshot.
	w.close()
	for _, n := range []int64{0, 4} {
		_ = w.disk.Remove("data/a-0/" + segmentName(n, snapshotSuffix))
	}
	_ = w.disk.Remove("data/" + stateFile)
	_ = w.disk.Remove("data/" + cleanFile)
	w.open()
	l = w.log("a", compacted)
	idempotent(7, 0, 1)(&h)
	if _, err := l.Append(keyed(h, "c", "1"), AppendOptions{Now: w.clock.Now()}); !errors.Is(err, ErrOutOfOrderSequence) {
		t.Fatalf("sequence 1 again: %v", err)
	}
	idempotent(7, 0, 2)(&h)
	w.append(l, keyed(h, "c", "1"))
}

func (w *world) marker(l *Log, producer int64, epoch int16, commit bool) {
	w.t.Helper()
	kind := record.ControlAbort
	if commit {
		kind = record.ControlCommit
	}
	h := record.NewHeader(0)
	h.ProducerID, h.ProducerEpoch = producer, epoch
	b, err := record.AppendEndTxn(nil, h, kind, 1, w.clock.Now().UnixMilli())
	if err != nil {
		w.t.Fatal(err)
	}
	w.appendAs(l, OriginCoordinator, b)
}

func inTxn(producer int64, epoch int16, seq int32) record.BatchHeader {
	h := record.NewHeader(0)
	idempotent(producer, epoch, seq)(&h)
	h.Transactional = true
	return h
}

func TestCompactTransactions(t *testing.T) {
	w := newWorld(t)
	l := w.log("a", compacted)
	w.append(l, keyed(inTxn(1, 0, 0), "a", "aborted"))   // 0
	w.append(l, keyed(inTxn(2, 0, 0), "a", "committed")) // 1
	w.marker(l, 1, 0, false)                             // 2
	w.marker(l, 2, 0, true)                              // 3
	w.append(l, keyed(inTxn(1, 0, 1), "a", "aborted"))   // 4
	w.marker(l, 1, 0, false)                             // 5
	w.roll(l)
	w.append(l, keyed(inTxn(3, 0, 0), "a", "open")) // 6: nothing from here on is stable
	w.roll(l)
	w.append(l, keyed(record.NewHeader(0), "a", "last"))
	w.compact(l)
	w.want(l, "[1:a=committed 2:marker 3:marker 5:marker 6:a=open 7:a=last]")
	txns, err := l.AbortedTxns(0, 100)
	if err != nil || len(txns) != 2 {
		t.Fatalf("aborted %v %v", txns, err)
	}
	w.marker(l, 3, 0, true) // 8
	w.roll(l)
	w.compact(l) // the value of the open transaction is in the map now; aborted data is gone: horizons begin
	w.want(l, "[2:marker 3:marker 5:marker 7:a=last 8:marker]")
	w.clock.Advance(2 * time.Second)
	w.append(l, keyed(record.NewHeader(0), "z", "1"))
	w.roll(l)
	w.compact(l)
	// Marker 2 has nothing left. Of each remembered producer the last batch is there, if
	// only empty, and so its marker is.
	w.want(l, "[3:marker 5:marker 7:a=last 8:marker 9:z=1]")
	if _, err := l.Retain(w.clock.Now(), l.EndOffset()); err != nil { // silence counts from here
		t.Fatal(err)
	}
	w.clock.Advance(25 * time.Hour)
	if res, err := l.Retain(w.clock.Now(), l.EndOffset()); err != nil || res.Expired != 3 {
		t.Fatalf("%+v %v", res, err)
	}
	for i := range 3 {
		h := record.NewHeader(0)
		w.clock.Advance(2 * time.Second)
		w.append(l, now(keyed(h, "z", fmt.Sprint(i+2)), w.clock.Now()))
		w.roll(l)
		w.compact(l)
	}
	w.want(l, "[7:a=last 12:z=4]")
	if txns, err = l.AbortedTxns(0, 100); err != nil || len(txns) != 0 {
		t.Fatalf("aborted %v %v", txns, err)
	}
}

func TestCompactSmallBuffer(t *testing.T) {
	w := newWorld(t)
	l := w.log("a", compacted)
	for i := range 400 {
		w.append(l, keyed(record.NewHeader(0), fmt.Sprintf("k%d", i%200), fmt.Sprint(i)))
		if i%50 == 49 {
			w.roll(l)
		}
	}
	w.checkpoint()
	rounds := 0
	for {
		res, err := l.Compact(CompactOptions{Now: w.clock.Now(), BufferBytes: 128 * mapSlotBytes})
		if err != nil {
			t.Fatal(err)
		}
		if res.Segments == 0 {
			break
		}
		rounds++
	}
	got := records(t, l)
	if rounds < 3 || len(got) != 200 || got[0].offset != 200 {
		t.Fatalf("%d rounds, %d records: %v", rounds, len(got), got)
	}
}

func TestCompactOncePicksTheDirtiest(t *testing.T) {
	w := newWorld(t)
	logs := map[string]*Log{}
	for _, name := range []string{"a", "b", "c"} {
		l := w.log(name, compacted, func(c *Config) { c.MinCleanable = 0.5 })
		logs[name] = l
		w.append(l, keyed(record.NewHeader(0), "k", "1"))
		w.roll(l)
		w.compact(l)
	}
	w.append(logs["b"], batch(1, 1000))
	w.roll(logs["b"])
	w.append(logs["c"], batch(1, 100))
	w.roll(logs["c"])
	w.checkpoint()
	var order []string
	for {
		res, ok, err := w.dir.CompactOnce(CompactOptions{Now: w.clock.Now()})
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		order = append(order, res.Log.Topic)
	}
	if !slices.Equal(order, []string{"b", "c"}) {
		t.Fatalf("compacted %v", order)
	}
}

func TestMaxCompactionLag(t *testing.T) {
	w := newWorld(t)
	lag := func(c *Config) { c.MinCleanable, c.MaxCompactLagMs = 1, 5000 }
	l := w.log("a", compacted, lag)
	w.append(l, keyed(record.NewHeader(0), "k", "1", "k", "2"))
	w.roll(l)
	w.checkpoint()
	if _, ok, err := w.dir.CompactOnce(CompactOptions{Now: w.clock.Now()}); ok || err != nil {
		t.Fatalf("due before its time: %v", err)
	}
	w.clock.Advance(5001 * time.Millisecond)
	if _, ok, err := w.dir.CompactOnce(CompactOptions{Now: w.clock.Now()}); !ok || err != nil {
		t.Fatalf("not due after its time: %v", err)
	}
}

func TestMinCompactionLag(t *testing.T) {
	w := newWorld(t)
	l := w.log("a", compacted, func(c *Config) { c.MinCompactLagMs = 5000 })
	w.append(l, keyed(record.NewHeader(0), "k", "1", "k", "2"))
	w.roll(l)
	if res := w.compact(l); res.Segments != 0 {
		t.Fatalf("%+v", res)
	}
	w.clock.Advance(5001 * time.Millisecond)
	if res := w.compact(l); res.Segments != 1 {
		t.Fatalf("%+v", res)
	}
}

// TestCompactCrash crashes at every operation of a compaction.
func TestCompactCrash(t *testing.T) {
	for n := 1; ; n++ {
		w := newWorld(t)
		l := w.log("a", compacted)
		h := record.NewHeader(0)
		for i := range 6 {
			w.append(l, keyed(h, "a", fmt.Sprint(i), fmt.Sprintf("k%d", i), "x"))
			if i%2 == 1 {
				w.roll(l)
			}
		}
		w.append(l, keyed(h, "last", "1"))
		w.checkpoint()
		w.disk.CrashAt(n)
		res, err := l.Compact(CompactOptions{Now: w.clock.Now()})
		if err == nil && res.Segments > 0 && !w.disk.Crashed() {
			if n < 8 {
				t.Fatalf("only %d operations", n)
			}
			return
		}
		w.crash()
		l = w.log("a", compacted)
		got := map[string]string{}
		last := int64(-1)
		for _, r := range records(t, l) {
			if r.offset <= last {
				t.Fatalf("crash at %d: offset %d after %d", n, r.offset, last)
			}
			last = r.offset
			got[r.key] = r.value
		}
		if len(got) != 8 || got["a"] != "5" || l.EndOffset() != 13 || !l.Recovered().Kept {
			t.Fatalf("crash at %d: %v, end %d, %+v", n, got, l.EndOffset(), l.Recovered())
		}
		w.compact(l)
		w.want(l, "[1:k0=x 3:k1=x 5:k2=x 7:k3=x 9:k4=x 10:a=5 11:k5=x 12:last=1]")
	}
}
