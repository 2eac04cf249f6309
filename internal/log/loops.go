package log

import (
	"context"
	"sync"
	"time"

	"github.com/leat-stream/leat/internal/env"
)

// loops are what a directory does by itself while it is started: sync rounds while there
// is something to sync, settling when the journal waits for it, and Tick when it is due.
type loops struct {
	d                  *Dir
	sync, settle, tick env.Loop

	mu      sync.Mutex // guards what follows
	stopped bool
	timers  [3]env.Timer
	resting [2]bool // after a failure that may heal, until the timer
}

// The timers.
const (
	syncRest   = iota // a failed round is tried again
	settleRest        // the same of a settling
	nextTick
)

// restAfter is the pause after a failure that may heal, such as a full disk.
const restAfter = 100 * time.Millisecond

// tickEvery is how often Tick is called; sooner when so much was appended that a
// checkpoint is due, and soonTick after logs went.
const (
	tickEvery = time.Second
	soonTick  = 50 * time.Millisecond
)

// Start makes the directory sync, settle and tick by itself, on loops of exec, until Stop.
// A turn is one sync round, so that a simulator decides what happens between two.
func (d *Dir) Start(exec env.Exec) {
	r := &loops{d: d}
	r.sync = exec.Loop("log sync", r.round)
	r.settle = exec.Loop("log settle", r.settleTurn)
	r.tick = exec.Loop("log tick", r.tickTurn)
	if !d.loops.CompareAndSwap(nil, r) {
		panic("log: a directory is started twice")
	}
	r.sync.Wake()
	r.settle.Wake()
	r.after(nextTick, tickEvery, r.tick)
}

// Stop ends what Start began; when it returns, nothing of it runs. What is not synced stays
// so until Close or SyncRound. It must not be called from a turn.
func (d *Dir) Stop() {
	r := d.loops.Swap(nil)
	if r == nil {
		return
	}
	r.mu.Lock()
	r.stopped = true
	for _, t := range r.timers {
		if t != nil {
			t.Stop()
		}
	}
	r.mu.Unlock()
	r.sync.Stop()
	r.settle.Stop()
	r.tick.Stop()
}

// Run is Start and Stop on goroutines of its own, until ctx ends.
func (d *Dir) Run(ctx context.Context) {
	var g env.Goroutines
	d.Start(&g)
	<-ctx.Done()
	d.Stop()
	g.Wait()
}

// after wakes a loop later, in the place of an earlier timer of that kind.
func (r *loops) after(timer int, wait time.Duration, l env.Loop) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return
	}
	if t := r.timers[timer]; t != nil {
		t.Stop()
	}
	r.timers[timer] = r.d.opt.Clock.AfterFunc(wait, func() {
		if timer != nextTick {
			r.mu.Lock()
			r.resting[timer] = false
			r.mu.Unlock()
		}
		l.Wake()
	})
}

// rest pauses a loop after a failure.
func (r *loops) rest(timer int, l env.Loop) {
	r.mu.Lock()
	r.resting[timer] = true
	r.mu.Unlock()
	r.after(timer, restAfter, l)
}

func (r *loops) rests(timer int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.resting[timer]
}

func (r *loops) round() {
	d := r.d
	if d.Failed() != nil || r.rests(syncRest) {
		return
	}
	if d.Dirty() {
		if _, err := d.SyncRound(); err != nil && d.Failed() == nil {
			r.rest(syncRest, r.sync)
			return
		}
		if d.Dirty() {
			r.sync.Wake()
			return
		}
	}
	d.prepareJournal()
}

func (r *loops) settleTurn() {
	if r.rests(settleRest) {
		return
	}
	if err := r.d.Settle(); err != nil && r.d.Failed() == nil {
		r.rest(settleRest, r.settle)
	}
}

func (r *loops) tickTurn() {
	_ = r.d.Tick(r.d.opt.Clock.Now()) // what failed was reported as an event and is tried again
	r.after(nextTick, tickEvery, r.tick)
}

func (d *Dir) wake() {
	if r := d.loops.Load(); r != nil {
		r.sync.Wake()
	}
}

func (d *Dir) wakeSettle() {
	if r := d.loops.Load(); r != nil {
		r.settle.Wake()
	}
}

func (d *Dir) wakeTick() {
	if r := d.loops.Load(); r != nil {
		r.tick.Wake()
	}
}

func (d *Dir) tickSoon() {
	if r := d.loops.Load(); r != nil {
		r.after(nextTick, soonTick, r.tick)
	}
}
