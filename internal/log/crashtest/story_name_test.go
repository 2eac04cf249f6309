package crashtest

import (
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
