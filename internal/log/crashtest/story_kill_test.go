package crashtest

import (
	"errors"
	"fmt"
	"path"
	"syscall"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/log"
	"github.com/leat-stream/leat/internal/record"
)

// killedIn does something in which the process is killed, as cutPowerAfter said.
func (w *world) killedIn(do func() error) func() error {
	return func() error {
		if err := do(); err == nil || !w.disk.Crashed() {
			return fmt.Errorf("it was not cut short: %v", err)
		}
		if w.dir != nil {
			_ = w.dir.Close(false)
		}
		w.disk, w.dir = w.disk.KillClone(), nil
		return nil
	}
}

// A process is killed between a truncation and its sync. The next one finds the file as
// it was cut, and the batch that it writes there is durable in the journal. If a power
// cut then brings back what was cut off, it continues that batch.
func killedTruncation(w *world) error {
	err := steps(
		func() error { return w.begin(nil) },
		w.write(1, 0, 40),
		w.write(2, 0, 40),
		w.write(2, 2, 40),
		w.round,
		w.checkpoint,
	)
	if err != nil {
		return err
	}
	w.cutPowerAfter(func(op env.Op) bool { return op.Kind == env.OpTruncate && path.Ext(op.Path) == ".log" })
	w.logs[0].acked = 2
	return steps(w.killedIn(func() error { return w.logs[0].log.TruncateTo(2) }), w.open, w.verify, w.write(3, 0, 40), w.round)
}

// Retention drops a segment. The process is killed when the checkpoint has written the new
// start and not synced it. The next one removes the segment's files, and the power fails.
func unsyncedState(w *world) error {
	err := steps(
		func() error {
			return w.begin(func(p *partition) {
				p.cfg.SegmentBytes, p.cfg.RetentionBytes, p.cfg.FileDeleteDelayMs, p.txns = 400, 400, 1000, false
			})
		},
		w.write(1, 0, 100),
		w.write(1, 2, 100), // rolls
		w.write(1, 4, 100), // rolls
		w.round,
		w.checkpoint,
		func() error { return w.retain(w.logs[0]) },
	)
	if err != nil {
		return err
	}
	if w.logs[0].start == 0 {
		return errors.New("retention dropped nothing")
	}
	w.cutPowerAfter(func(op env.Op) bool { return op.Kind == env.OpWrite && op.Path == dataDir+"/leat.state" })
	if err := w.killedIn(w.checkpoint)(); err != nil {
		return err
	}
	w.cutPowerAfter(func(op env.Op) bool { return op.Kind == env.OpRemove && path.Ext(op.Path) == ".log" })
	if err := w.open(); err == nil || !w.disk.Crashed() {
		return fmt.Errorf("the start was not cut short: %v", err)
	}
	return nil
}

// DeleteRecords moves the start into a batch, and a truncation takes that batch. The
// process is killed when the lower recovery point is recorded and nothing is cut off.
func truncatedToStart(w *world) error {
	err := steps(
		func() error { return w.begin(nil) },
		w.write(1, 0, 40),
		w.write(1, 2, 40),
		w.write(1, 4, 40),
		w.round,
		w.checkpoint,
		func() error {
			p := w.logs[0]
			p.start, p.startLow, p.acked = 3, 3, 2
			return p.log.SetStartOffset(3)
		},
	)
	if err != nil {
		return err
	}
	w.cutPowerAfter(func(op env.Op) bool { return op.Kind == env.OpWrite && op.Path == dataDir+"/leat.state" })
	return steps(w.killedIn(func() error { return w.logs[0].log.TruncateTo(3) }), w.open, w.verify, w.verifyAlarm)
}

// A disk that fills up refuses two replicated batches, and does not let go of them. Before
// the next one, of the size of the first, they are cut off. If they come back, the second
// continues that one.
func refusedComesBack(w *world) error {
	return steps(
		func() error { return w.begin(func(p *partition) { p.follower, p.txns = true, false }) },
		w.replicate(1),
		w.round,
		func() error {
			w.full = true
			w.disk.FailAt(1, env.Partial{N: 1 << 20, Err: syscall.ENOSPC})
			w.disk.FailAt(2, syscall.EIO)
			return w.replicate(2)()
		},
		func() error {
			if w.seen.full != 1 {
				return errors.New("the batches were not refused")
			}
			w.full = false
			return nil
		},
		w.replicate(1),
		w.round,
	)
}

// replicate appends a run of a leader's batches of two records each.
func (w *world) replicate(batches int) func() error {
	return func() error {
		p := w.logs[0]
		var run []byte
		var parts []batch
		at := p.end()
		for range batches {
			b := record.Batch(w.batch(record.NewHeader(0), 2, 40))
			b.SetBaseOffset(at)
			b.SetLeaderEpoch(p.epoch)
			run = append(run, b...)
			parts = append(parts, batch{at, b.NextOffset(), b})
			at = b.NextOffset()
		}
		o := log.AppendOptions{LeaderEpoch: p.epoch, Now: w.clock.Now(), Origin: log.OriginReplication}
		return w.put(p, o, run, parts, nil)
	}
}
