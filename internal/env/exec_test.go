package env

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
)

func TestGoroutinesTurnAfterEveryWake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Goroutines
		var turns, running atomic.Int32
		release := make(chan struct{})
		l := g.Loop("test", func() {
			if running.Add(1) > 1 {
				t.Error("two turns at a time")
			}
			<-release
			running.Add(-1)
			turns.Add(1)
		})
		l.Wake()
		synctest.Wait()
		l.Wake() // during a turn: asks for one more
		l.Wake()
		release <- struct{}{}
		release <- struct{}{}
		synctest.Wait()
		if n := turns.Load(); n != 2 {
			t.Fatalf("%d turns, want 2", n)
		}
		l.Stop()
		l.Stop()
		l.Wake()
		done := false
		g.Go("once", func() { done = true })
		g.Wait()
		if !done || turns.Load() != 2 {
			t.Fatalf("done %v, %d turns", done, turns.Load())
		}
	})
}
