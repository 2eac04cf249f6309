package crashtest

import (
	"errors"
	"fmt"

	"github.com/leat-stream/leat/internal/env"
)

// A topic is deleted and made anew under its name. What a checkpoint said of the first one
// must not come back once the second is there, which is before its first sync.
func nameTakenAgain(w *world) error { return takenAgain(w, func() error { return nil }) }

// The same, a second later: that the first one is gone was made durable meanwhile.
func nameTakenLater(w *world) error {
	return takenAgain(w, func() error { return w.dir.Tick(w.clock.Now()) })
}

func takenAgain(w *world, between func() error) error {
	var first *partition
	return steps(
		func() error { return w.begin(func(p *partition) { p.txns = false }) },
		w.write(1, 0, 40),
		w.write(1, 2, 40),
		w.round,
		func() error {
			first = w.logs[0]
			first.log.SetHighWatermark(4)
			w.logs = nil
			return w.close()
		},
		w.open,
		func() error { return w.dir.Delete(first.id) },
		between,
		func() error {
			return w.begin(func(p *partition) {
				p.txns, p.id = false, first.id
				p.id.TopicID = env.UUID(w.rng)
			})
		},
		w.write(1, 0, 40),
	)
}

// nothingCommitted: no log has a high watermark.
func nothingCommitted(w *world) error {
	for _, id := range w.dir.Logs() {
		if hw := w.dir.Log(id.Topic, id.Partition).HighWatermark(); hw > 0 {
			return fmt.Errorf("%v has the high watermark %d, and nothing of it is committed", id, hw)
		}
	}
	return w.verify()
}

// A log whose first segments are gone is set aside, and the state file says so before the
// name of its directory is synced for another reason.
func setAside(w *world) error {
	var aside *partition
	return steps(
		func() error { return w.begin(func(p *partition) { p.txns = false }) },
		func() error {
			p := w.logs[0]
			p.start, p.startLow, p.acked = 100, 100, 100
			return p.log.TruncateFullyTo(100)
		},
		w.write(1, 0, 40),
		w.round,
		func() error {
			aside, w.logs = w.logs[0], nil
			return w.begin(func(p *partition) { p.txns = false })
		},
		w.write(1, 0, 40),
		w.round,
		func() error {
			_, err := w.dir.SetAside(aside.id)
			return err
		},
		func() error {
			p := w.logs[0]
			w.logs = nil // no record of it counts any more
			return p.log.SetStartOffset(p.end())
		},
	)
}

// keepsAside: what was set aside has its records under the one name or the other.
func keepsAside(w *world) error {
	names, err := w.disk.ReadDir(dataDir)
	if err != nil {
		return err
	}
	for _, e := range names {
		if !e.IsDir() {
			continue
		}
		info, err := w.disk.Stat(dataDir + "/" + e.Name() + "/00000000000000000100.log")
		if err == nil && info.Size() > 0 {
			return nil
		}
	}
	return errors.New("what was set aside is gone")
}
