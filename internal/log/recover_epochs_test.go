package log

import (
	"slices"
	"testing"

	"github.com/leat-stream/leat/internal/record"
)

// TestEpochsOfDamage: a leader epoch that is flipped, which is under no checksum, is none of
// those that are told when the file of epochs is held against the batches or built again.
func TestEpochsOfDamage(t *testing.T) {
	for name, c := range map[string]struct {
		at       int // byte of the epochs of the batch
		batch    int64
		scrubbed bool
		lost     bool // the file
	}{
		"up":                       {1, 3, false, false},
		"up, no file":              {1, 3, false, true},
		"down":                     {3, 3, true, false},
		"up at the end, no file":   {1, 5, true, true},
		"up, no file, but a scrub": {1, 3, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			l := w.log("a")
			size := int64(len(batch(1, 100)))
			for i := range 6 {
				_, err := l.Append(batch(1, 100), AppendOptions{Now: w.clock.Now(), LeaderEpoch: int32(2 + i/3)})
				w.must(err)
			}
			w.checkpoint()
			w.reopen()
			if c.scrubbed {
				readAll(t, w.log("a"), 0)
			}
			w.change(aLog, flip(int(c.batch*size)+record.OffLeaderEpoch+c.at))
			if c.scrubbed {
				w.scrub()
			}
			w.close()
			if c.lost {
				w.must(w.disk.Remove(aDir + epochFile))
			}
			w.open()
			l = w.log("a")
			if got := l.LatestEpoch(); got != 3 {
				t.Errorf("the latest epoch is %d", got)
			}
			if got := l.EpochForOffset(3); got != 3 && !(c.lost && c.batch == 3) {
				t.Errorf("offset 3 is of epoch %d", got)
			}
			w.scrub()
			if got := l.Damaged(); len(got) > 0 && !slices.Equal(got, []Range{{c.batch, c.batch + 1}}) || len(got) == 0 && !c.lost {
				t.Errorf("refused %v", got)
			}
		})
	}
}
