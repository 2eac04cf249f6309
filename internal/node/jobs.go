package node

import (
	"sync"
	"time"

	"github.com/leat-stream/leat/internal/env"
)

// jobs are what a node does by the clock. None begins once they are stopped, and stop
// waits for those that run.
type jobs struct {
	clock env.Clock

	mu      sync.Mutex
	stopped bool
	next    uint64
	timers  map[uint64]env.Timer
	running sync.WaitGroup
}

// after runs f once, after d.
func (j *jobs) after(d time.Duration, f func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.stopped {
		return
	}
	if j.timers == nil {
		j.timers = map[uint64]env.Timer{}
	}
	id := j.next
	j.next++
	j.timers[id] = j.clock.AfterFunc(d, func() {
		if !j.begin(id) {
			return
		}
		defer j.running.Done()
		f()
	})
}

func (j *jobs) begin(id uint64) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.stopped {
		return false
	}
	delete(j.timers, id)
	j.running.Add(1)
	return true
}

// every runs f again and again, d after the last one ended.
func (j *jobs) every(d time.Duration, f func()) {
	j.after(d, func() {
		f()
		j.every(d, f)
	})
}

// stop ends all. It must not be called from a job.
func (j *jobs) stop() {
	j.mu.Lock()
	j.stopped = true
	for _, t := range j.timers {
		t.Stop()
	}
	j.timers = nil
	j.mu.Unlock()
	j.running.Wait()
}
