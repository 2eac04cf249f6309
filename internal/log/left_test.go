package log

import (
	"errors"
	"fmt"
	"testing"

	"github.com/leat-stream/leat/internal/env"
)

// TestCheckpointsOfAnotherLog: what the checkpoints say of a log that is gone is not
// believed of the next one of its name, whatever a power cut brings back.
func TestCheckpointsOfAnotherLog(t *testing.T) {
	checkpoint, restart := (*world).checkpoint, (*world).kill
	gone := func(w *world) { w.must(w.dir.Delete(testID("a"))) }
	tick := func(w *world) { w.must(w.dir.Tick(w.clock.Now())) }
	for name, steps := range map[string][]func(w *world){
		"deleted":                           {gone},
		"deleted, and checkpointed":         {gone, checkpoint},
		"deleted, and started again":        {gone, restart},
		"deleted, and a second later":       {gone, tick},
		"deleted, and after a power cut":    {gone, (*world).crash},
		"deleted, checkpointed and started": {gone, checkpoint, restart},
		"deleted, and the state written": {gone, func(w *world) { // without the checkpoints
			b := w.log("b")
			w.append(b, batch(1, 100))
			w.must(b.SetStartOffset(1))
		}},
		"set aside": {func(w *world) {
			_, err := w.dir.SetAside(testID("a"))
			w.must(err)
		}},
		"vanished": {func(w *world) {
			w.must(w.disk.RemoveAll("data/a-0"))
			w.must(w.disk.SyncDir("data"))
			w.crash()
		}},
	} {
		for what, id := range map[string]LogID{"the same topic": testID("a"), "another topic": anotherID("a")} {
			t.Run(name+", then "+what, func(t *testing.T) {
				for seed := range uint64(30) {
					w := newWorld(t)
					w.log("b")
					l := w.log("a")
					for range 5 {
						w.append(l, batch(1, 100))
					}
					w.sync()
					l.SetHighWatermark(5)
					l.cleaned.Store(4)
					w.checkpoint()
					w.must(w.disk.SyncDir("data"))
					for _, step := range steps {
						step(w)
					}

					l, err := w.dir.OpenLog(id, DefaultConfig(), Hooks{})
					w.must(err)
					for range 3 {
						w.append(l, batch(1, 100))
					}
					if seed%2 == 0 {
						w.sync()
						l.SetHighWatermark(1)
					}
					w.crashAs(seed)
					l, err = w.dir.OpenLog(id, DefaultConfig(), Hooks{})
					if seed%2 == 1 && errors.Is(err, ErrInconsistentTopicID) { // records that were never synced, of nobody
						_, err = w.dir.SetAside(LogID{Topic: id.Topic})
						w.must(err)
						l, err = w.dir.OpenLog(id, DefaultConfig(), Hooks{})
					}
					w.must(err)
					if hw, cleaned := l.HighWatermark(), l.cleaned.Load(); hw > 1 || cleaned > 0 {
						t.Fatalf("seed %d: with %d records, of which at most 1 is committed and none compacted, the high watermark is %d, and compacted up to %d",
							seed, l.EndOffset(), hw, cleaned)
					}
				}
			})
		}
	}
}

// anotherID is the id of another topic of the same name.
func anotherID(topic string) LogID {
	id := testID(topic)
	for i := range id.TopicID {
		id.TopicID[i] ^= byte(37 * (i + 3))
	}
	return id
}

// TestGoneIsForgottenBeforehand: the next Tick after a deletion makes durable that the logs are
// gone; one that is made under such a name syncs nothing, and no name is kept.
func TestGoneIsForgottenBeforehand(t *testing.T) {
	w := newWorld(t)
	const logs = 50
	for i := range logs {
		l := w.log(fmt.Sprint("t", i))
		w.append(l, batch(1, 100))
		w.sync()
		l.SetHighWatermark(1)
	}
	w.checkpoint()
	for i := range logs {
		w.must(w.dir.Delete(testID(fmt.Sprint("t", i))))
	}
	w.must(w.dir.Tick(w.clock.Now()))
	if len(w.dir.left)+len(w.dir.gone) > 0 {
		t.Errorf("%d and %d names are kept", len(w.dir.left), len(w.dir.gone))
	}
	w.disk.OnOp(func(op env.Op) error {
		if op.Kind == env.OpSync || op.Kind == env.OpSyncDir {
			t.Errorf("%v", op)
		}
		return nil
	})
	for i := range logs {
		w.append(w.log(fmt.Sprint("t", i)), batch(1, 100))
	}
}
