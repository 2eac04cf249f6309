package log

import (
	"fmt"
	"strings"
	"testing"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/record"
)

// abortedBehindMap is a log whose first segment has more keys than the smallest map
// holds, and behind those an aborted transaction.
func abortedBehindMap(w *world) *Log {
	l := w.log("a", compacted)
	for i := range 60 {
		w.append(l, keyed(record.NewHeader(0), fmt.Sprintf("k%d", i), "1"))
	}
	w.append(l, keyed(inTxn(1, 0, 0), "a", "aborted"))
	w.marker(l, 1, 0, false)
	w.roll(l)
	w.append(l, keyed(record.NewHeader(0), "b", "1"))
	w.checkpoint()
	return l
}

var smallestMap = CompactOptions{Now: epoch0, BufferBytes: 1}

// An aborted transaction where the map of keys did not reach keeps its data, and so its
// entry in the transaction index, whatever becomes of the power.
func TestCompactKeepsAbortedBehindMap(t *testing.T) {
	for n := 1; ; n++ {
		for seed := range uint64(10) {
			w := newWorld(t)
			l := abortedBehindMap(w)
			w.disk.CrashAt(n)
			res, err := l.Compact(smallestMap)
			crashed := w.disk.Crashed()
			if crashed {
				w.crashAs(seed)
				l = w.log("a", compacted)
			} else if err != nil || res.Segments != 1 || res.To > 60 {
				t.Fatalf("%+v %v", res, err)
			}
			want := AbortedTxn{ProducerID: 1, FirstOffset: 60, LastOffset: 61, LastStableOffset: 62}
			if txns, err := l.AbortedTxns(0, 100); err != nil || len(txns) != 1 || txns[0] != want {
				t.Fatalf("crash at %d: aborted %+v %v", n, txns, err)
			}
			if !crashed {
				return
			}
		}
	}
}

// A transaction index without entries takes the place of one with some.
func TestCompactEmptiesTxnIndex(t *testing.T) {
	w := newWorld(t)
	l := w.log("a", compacted)
	w.append(l, keyed(inTxn(1, 0, 0), "a", "aborted"))
	w.marker(l, 1, 0, false)
	h := record.NewHeader(0)
	idempotent(1, 0, 1)(&h)
	w.append(l, keyed(h, "b", "1")) // not the aborted one is its last batch
	w.roll(l)
	w.append(l, keyed(record.NewHeader(0), "c", "1"))
	w.compact(l)
	if txns, err := l.AbortedTxns(0, 100); err != nil || len(txns) != 1 {
		t.Fatalf("aborted %v %v", txns, err)
	}
	w.append(l, keyed(record.NewHeader(0), "b", "2"))
	w.roll(l)
	w.compact(l) // its data is gone: the entry goes
	w.crash()
	l = w.log("a", compacted)
	if txns, err := l.AbortedTxns(0, 100); err != nil || len(txns) != 0 {
		t.Fatalf("aborted %v %v", txns, err)
	}
}

// What is known of a producer can be built again from the log alone when its last batch,
// which was not synced, is lost after a compaction.
func TestCompactKeepsLastDurableBatch(t *testing.T) {
	w := newWorld(t)
	l := w.log("a", compacted)
	write := func(seq int32, key string) {
		h := record.NewHeader(0)
		idempotent(7, 0, seq)(&h)
		w.append(l, keyed(h, key, fmt.Sprint(seq)))
	}
	write(0, "a")
	write(1, "a")
	w.append(l, keyed(record.NewHeader(0), "a", "last"))
	w.roll(l)
	w.append(l, keyed(record.NewHeader(0), "b", "1"))
	w.checkpoint()
	const active = "data/a-0/00000000000000000003.log"
	durable := fileSize(t, w.disk, active)
	write(2, "b")
	if _, err := l.Compact(CompactOptions{Now: w.clock.Now()}); err != nil {
		t.Fatal(err)
	}
	disk := w.disk.CrashClone(env.NewRand(0))
	for seed := uint64(1); fileSize(t, disk, active) != durable; seed++ {
		disk = w.disk.CrashClone(env.NewRand(seed))
	}
	for _, name := range filesOf(t, disk, "data/a-0") {
		if strings.HasSuffix(name, snapshotSuffix) {
			if err := disk.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.goOn(disk)
	l = w.log("a", compacted)
	if list := l.Producers(); len(list) != 1 || list[0].LastSequence != 1 || l.EndOffset() != 4 {
		t.Fatalf("producers %+v", list)
	}
}

func fileSize(t *testing.T, disk *env.Disk, name string) int64 {
	t.Helper()
	info, err := disk.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}
