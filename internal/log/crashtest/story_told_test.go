package crashtest

import (
	"fmt"
	"strings"

	"github.com/leat-stream/leat/internal/env"
)

// A replica drops what it has, and is told what its leader knows of producers where it
// starts. That is durable when it has begun, as its start is.
func toldProducers(w *world) error {
	return steps(
		func() error { return w.begin(func(p *partition) { p.txns = false }) },
		w.write(1, 0, 40),
		w.write(1, 2, 40),
		w.write(2, 0, 40),
		w.round,
		func() error {
			p := w.logs[0]
			state, err := p.log.ProducersAt(p.end())
			if err != nil {
				return err
			}
			start := p.end() + 10
			if err := p.log.StartAnew(start, state); err != nil {
				return err
			}
			p.batches, p.start, p.startLow, p.acked = nil, start, start, start
			return nil
		},
	)
}

// Then it is to begin a little before that, and the power fails when the old start is gone.
func movedStart(w *world) error {
	if err := toldProducers(w); err != nil {
		return err
	}
	p := w.logs[0]
	w.cutPowerAfter(func(op env.Op) bool { return op.Kind == env.OpRemove && strings.HasSuffix(op.Path, ".log") })
	if err := p.log.MoveStart(p.start - 1); err == nil || !w.disk.Crashed() {
		return fmt.Errorf("it was not cut short: %v", err)
	}
	return nil
}

// knowsProducers checks that they are known.
func knowsProducers(w *world) error {
	l := w.dir.Log(w.logs[0].id.Topic, w.logs[0].id.Partition)
	last := map[int64]int32{}
	for _, p := range l.Producers() {
		last[p.ProducerID] = p.LastSequence
	}
	if len(last) != 2 || last[1] != 3 || last[2] != 1 {
		return fmt.Errorf("of the producers is known %v", last)
	}
	return w.verify()
}
