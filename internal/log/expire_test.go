package log

import (
	"testing"
	"time"

	"github.com/leat-stream/leat/internal/record"
)

// A producer of old records is remembered as long as any other: its retry is answered
// with the offset of the first time.
func TestProducersOfOldRecordsAreRemembered(t *testing.T) {
	w := newWorld(t)
	l := w.log("a")
	old := func() []byte {
		return batch(1, 1, func(h *record.BatchHeader) { h.ProducerID, h.ProducerEpoch, h.BaseSequence = 7, 0, 0 })
	}
	w.clock.Advance(30 * 24 * time.Hour) // the batch's time lies that far back
	if info := w.append(l, old()); info.Duplicate {
		t.Fatal("nothing was written yet")
	}
	w.sync()
	retain := func() {
		if _, err := l.Retain(w.clock.Now(), 0); err != nil {
			t.Fatal(err)
		}
	}
	retain()
	if info := w.append(l, old()); !info.Duplicate || info.FirstOffset != 0 {
		t.Fatalf("the retry was appended: %+v", info)
	}
	w.clock.Advance(25 * time.Hour)
	retain()
	if n := len(l.Producers()); n != 0 {
		t.Fatalf("%d producers are remembered after a day of silence", n)
	}
}
