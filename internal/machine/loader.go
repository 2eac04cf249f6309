package machine

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leat-stream/leat/internal/env"
)

// applyError marks a record that the machine cannot apply, so that it is told
// from a log that cannot be read at the moment.
type applyError struct {
	offset int64
	err    error
}

func (e *applyError) Error() string { return fmt.Sprintf("record at offset %d: %v", e.offset, e.err) }
func (e *applyError) Unwrap() error { return e.err }

var errCancelled = errors.New("machine: load cancelled")

// load is one building of a fresh machine from a log.
type load struct {
	shard     string
	epoch     int32
	log       Log
	machine   Machine
	cancelled atomic.Bool
	started   time.Time
	done      func(*load)
	result    evLoaded
}

func (j *load) run() {
	var n int64
	end, err := j.log.Load(j.epoch, func(offset, ts int64, rec Record) error {
		if j.cancelled.Load() {
			return errCancelled
		}
		if err := j.machine.Apply(offset, ts, rec); err != nil {
			return &applyError{offset, err}
		}
		n++
		return nil
	})
	j.result.machine, j.result.end, j.result.records, j.result.err = j.machine, end, n, err
	j.done(j)
}

// loader runs a few loads at a time beside the loops, so that a long one delays only
// its own shard. Its queue holds at most one live load per shard.
type loader struct {
	exec    env.Exec
	workers int

	mu      sync.Mutex
	rest    *sync.Cond
	queue   []*load
	called  int // asked of exec and not ended, at most workers
	running int // of those, in a load
	closed  bool
}

func newLoader(exec env.Exec, workers int) *loader {
	l := &loader{exec: exec, workers: workers}
	l.rest = sync.NewCond(&l.mu)
	return l
}

func (l *loader) add(j *load) {
	l.mu.Lock()
	l.queue = slices.DeleteFunc(l.queue, func(q *load) bool { return q.cancelled.Load() })
	l.queue = append(l.queue, j)
	call := l.called < l.workers && !l.closed
	if call {
		l.called++
	}
	l.mu.Unlock()
	if call {
		l.exec.Go("load", l.work)
	}
}

// work runs the first load of the queue, and asks to be called again for the next.
func (l *loader) work() {
	l.mu.Lock()
	if len(l.queue) > 0 {
		j := l.queue[0]
		l.queue = slices.Delete(l.queue, 0, 1)
		l.running++
		l.mu.Unlock()
		if !j.cancelled.Load() {
			j.run()
		}
		l.mu.Lock()
		l.running--
		l.rest.Broadcast()
	}
	again := len(l.queue) > 0
	if !again {
		l.called--
	}
	l.mu.Unlock()
	if again {
		l.exec.Go("load", l.work)
	}
}

// close waits for the loads that run, which the loops have cancelled; none begins
// after it.
func (l *loader) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.queue = nil
	for l.running > 0 {
		l.rest.Wait()
	}
}

func sortedTokens(m map[Token]*request) []Token {
	ts := make([]Token, 0, len(m))
	for t := range m {
		ts = append(ts, t)
	}
	slices.Sort(ts)
	return ts
}
