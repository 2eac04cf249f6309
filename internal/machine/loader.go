package machine

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
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

// loader runs loads on a few goroutines of its own, so that a long one delays
// only its own shard. Its queue holds at most one live load per shard.
type loader struct {
	mu     sync.Mutex
	wake   *sync.Cond
	queue  []*load
	closed bool
	wg     sync.WaitGroup
}

func newLoader(workers int) *loader {
	l := &loader{}
	l.wake = sync.NewCond(&l.mu)
	for range workers {
		l.wg.Go(l.work)
	}
	return l
}

func (l *loader) work() {
	for {
		l.mu.Lock()
		for len(l.queue) == 0 && !l.closed {
			l.wake.Wait()
		}
		if l.closed {
			l.mu.Unlock()
			return
		}
		j := l.queue[0]
		l.queue = slices.Delete(l.queue, 0, 1)
		l.mu.Unlock()
		if !j.cancelled.Load() {
			j.run()
		}
	}
}

func (l *loader) add(j *load) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue = slices.DeleteFunc(l.queue, func(q *load) bool { return q.cancelled.Load() })
	l.queue = append(l.queue, j)
	l.wake.Signal()
}

// close waits for the running loads, which the loops have cancelled.
func (l *loader) close() {
	l.mu.Lock()
	l.closed = true
	l.queue = nil
	l.wake.Broadcast()
	l.mu.Unlock()
	l.wg.Wait()
}

func sortedTokens(m map[Token]*request) []Token {
	ts := make([]Token, 0, len(m))
	for t := range m {
		ts = append(ts, t)
	}
	slices.Sort(ts)
	return ts
}
