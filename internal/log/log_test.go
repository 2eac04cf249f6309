package log

import (
	"slices"
	"testing"
)

func TestAppendSyncReopen(t *testing.T) {
	w := newWorld(t)
	l := w.log("a")
	var want []int64
	for i := range 10 {
		info := w.append(l, batch(3, 100))
		if info.FirstOffset != int64(3*i) || info.LastOffset != int64(3*i+2) {
			t.Fatalf("append %d: %+v", i, info)
		}
		want = append(want, info.FirstOffset)
	}
	if got := readAll(t, l, 0); !slices.Equal(got, want) {
		t.Fatalf("read %v, want %v", got, want)
	}
	if l.SyncedOffset() != 0 {
		t.Fatalf("synced %d before a round", l.SyncedOffset())
	}
	w.sync()
	if l.SyncedOffset() != 30 {
		t.Fatalf("synced %d after a round", l.SyncedOffset())
	}
	w.append(l, batch(1, 100)) // not synced
	w.crash()
	l = w.log("a")
	if l.EndOffset() < 30 {
		t.Fatalf("end %d after a power cut, 30 were synced", l.EndOffset())
	}
	if got := readAll(t, l, 0)[:10]; !slices.Equal(got, want) {
		t.Fatalf("read %v, want %v", got, want)
	}
	for _, e := range w.events {
		t.Log(e)
	}
}
