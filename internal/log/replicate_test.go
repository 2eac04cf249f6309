package log

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/leat-stream/leat/internal/record"
)

// fetched is a run of batches as a leader sends it: each of two records, with the offset
// and leader epoch that are asked for.
func fetched(at ...[2]int64) (run []byte) {
	for _, a := range at {
		b := record.Batch(batch(2, 50))
		b.SetBaseOffset(a[0])
		b.SetLeaderEpoch(int32(a[1]))
		run = append(run, b...)
	}
	return run
}

// TestReplicatedRuns: a follower takes what continues its log, whole batches only, and
// nothing of a run in which anything is wrong.
func TestReplicatedRuns(t *testing.T) {
	size := len(fetched([2]int64{0, 0}))
	for name, c := range map[string]struct {
		run []byte
		end int64
		err error
	}{
		"one":                       {fetched([2]int64{4, 2}), 6, nil},
		"gaps":                      {fetched([2]int64{7, 2}, [2]int64{9, 2}, [2]int64{20, 3}), 22, nil},
		"the last one is cut short": {fetched([2]int64{4, 2}, [2]int64{6, 2})[:2*size-1], 6, nil},
		"cut short in its header":   {fetched([2]int64{4, 2}, [2]int64{6, 2})[:size+5], 6, nil},
		"only one, cut short":       {fetched([2]int64{4, 2})[:size-1], 4, ErrCorrupt},
		"below the end":             {fetched([2]int64{3, 2}), 4, ErrNotInOrder},
		"falls back":                {fetched([2]int64{4, 2}, [2]int64{5, 2}), 4, ErrNotInOrder},
		"an older epoch":            {fetched([2]int64{4, 1}), 4, ErrNotInOrder},
		"an older epoch behind":     {fetched([2]int64{4, 3}, [2]int64{6, 2}), 4, ErrNotInOrder},
		"damage in the first":       {harmed(fetched([2]int64{4, 2}, [2]int64{6, 2}), size-1), 4, ErrCorrupt},
		"damage in the last":        {harmed(fetched([2]int64{4, 2}, [2]int64{6, 2}), 2*size-1), 4, ErrCorrupt},
		"damage before a part":      {harmed(fetched([2]int64{4, 2}, [2]int64{6, 2})[:2*size-1], size-1), 4, ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			l := w.log("a")
			o := AppendOptions{Origin: OriginReplication, Now: w.clock.Now()}
			if _, err := l.Append(fetched([2]int64{0, 1}, [2]int64{2, 2}), o); err != nil {
				t.Fatal(err)
			}
			before := l.Size()
			info, err := l.Append(c.run, o)
			if !errors.Is(err, c.err) || l.EndOffset() != c.end {
				t.Fatalf("ends at %d, want %d: %v", l.EndOffset(), c.end, err)
			}
			if err != nil && l.Size() != before || err == nil && (info.LastOffset != c.end-1 || int64(info.Bytes) != l.Size()-before) {
				t.Fatalf("%d bytes, had %d: %+v", l.Size(), before, info)
			}
			if err == nil && l.EpochForOffset(c.end-1) != int32(record.Batch(c.run).LeaderEpoch()) && name != "gaps" {
				t.Fatalf("epoch %d", l.EpochForOffset(c.end-1))
			}
			w.sync()
			w.crash()
			if l = w.log("a"); l.EndOffset() != c.end {
				t.Fatalf("ends at %d after a power cut", l.EndOffset())
			}
		})
	}
}

func harmed(p []byte, at int) []byte { return flip(at)(bytes.Clone(p)) }

// TestTruncationDropsUnusedEpochs: a leader of an epoch without records is told to cut its
// log back to where it ends; if the epoch stayed it would be told so for ever.
func TestTruncationDropsUnusedEpochs(t *testing.T) {
	w := newWorld(t)
	l := w.log("a")
	if _, err := l.Append(fetched([2]int64{0, 4}), AppendOptions{Origin: OriginReplication, Now: w.clock.Now()}); err != nil {
		t.Fatal(err)
	}
	w.must(l.AssignEpoch(5))
	w.sync()
	w.must(l.TruncateTo(2))
	if e := l.LatestEpoch(); e != 4 || l.EndOffset() != 2 {
		t.Fatalf("epoch %d, ends at %d", e, l.EndOffset())
	}
	w.sync()
	w.crash()
	if e := w.log("a").LatestEpoch(); e != 4 {
		t.Fatalf("epoch %d after a power cut", e)
	}
}

// TestAdvanceStart: the start follows the leader's, never beyond what is synced, and is
// durable with the next checkpoint.
func TestAdvanceStart(t *testing.T) {
	w := newWorld(t)
	l := w.log("a", smallSegments)
	for range 40 {
		w.append(l, batch(1, 200))
	}
	l.AdvanceStart(30)
	if l.StartOffset() != 0 {
		t.Fatalf("starts at %d", l.StartOffset())
	}
	w.sync()
	l.AdvanceStart(30)
	l.AdvanceStart(20)
	if l.StartOffset() != 30 {
		t.Fatalf("starts at %d", l.StartOffset())
	}
	w.checkpoint()
	if r := w.retained(l, 40); r.Segments == 0 {
		t.Fatal("the segments below stay")
	}
	l.AdvanceStart(50)
	w.checkpoint()
	w.crash()
	if l = w.log("a", smallSegments); l.StartOffset() != 40 || l.EndOffset() != 40 {
		t.Fatalf("%d to %d after a power cut", l.StartOffset(), l.EndOffset())
	}
	if b := l.bases(); !slices.IsSorted(b) {
		t.Fatal(b)
	}
}
