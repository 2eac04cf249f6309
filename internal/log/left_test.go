package log

import "testing"

// TestCheckpointsOfAnotherTopic: what the checkpoints say of a log that is gone is not
// believed of the next one of its name, whatever a power cut brings back.
func TestCheckpointsOfAnotherTopic(t *testing.T) {
	other := testID("a")
	other.TopicID[0]++
	for name, leave := range map[string]func(w *world){
		"deleted":    func(w *world) { w.must(w.dir.Delete(testID("a"))) },
		"set aside":  func(w *world) { _, err := w.dir.SetAside(testID("a")); w.must(err) },
		"checkpoint": func(w *world) { w.must(w.dir.Delete(testID("a"))); w.checkpoint() },
		"state": func(w *world) { // is written without the checkpoints
			other := w.log("b")
			w.append(other, batch(1, 100))
			w.must(w.dir.Delete(testID("a")))
			w.must(other.SetStartOffset(1))
		},
		"kill":      func(w *world) { w.must(w.dir.Delete(testID("a"))); w.kill() },
		"power cut": func(w *world) { w.must(w.dir.Delete(testID("a"))); w.crash() },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			l := w.log("a")
			for range 10 {
				w.append(l, batch(1, 100))
			}
			l.SetHighWatermark(10)
			w.reopen()
			leave(w)
			l, err := w.dir.OpenLog(other, DefaultConfig(), Hooks{})
			w.must(err)
			for range 10 {
				w.append(l, batch(1, 100))
			}
			l.SetHighWatermark(3)
			w.sync()
			w.checkpoint()
			for seed := range uint64(10) {
				v := *w
				v.crashAs(seed)
				l, err := v.dir.OpenLog(other, DefaultConfig(), Hooks{})
				w.must(err)
				if hw := l.HighWatermark(); l.EndOffset() != 10 || hw > 3 {
					t.Fatalf("the log ends at %d, and has the high watermark %d", l.EndOffset(), hw)
				}
			}
		})
	}
}
