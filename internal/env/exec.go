package env

import "sync"

// Exec runs what a node does beside its callers, under the step functions of quorum,
// machine, replica and node (decision D2). The real one starts goroutines. A simulator
// has one of its own: it calls the turns itself, one at a time, in an order that comes
// from its seed, so that a whole cluster runs on one goroutine.
//
// What runs on an Exec must not wait for another part of it: under a simulator that
// would wait for itself. It hands over a callback instead.
type Exec interface {
	// Loop makes a loop. Its turn is called at least once after every Wake, and never
	// twice at a time; wakes that come before or during a turn may be taken together.
	Loop(name string, turn func()) Loop
	// Go runs f once, beside the caller; it may take long.
	Go(name string, f func())
}

// Loop is one loop of an Exec.
type Loop interface {
	// Wake asks for a turn. It never waits, and does nothing once the loop is stopped.
	Wake()
	// Stop ends the loop: when it returns, no turn runs and none will. It must not be
	// called from a turn of the same loop.
	Stop()
}

// Goroutines is the real Exec: a goroutine for each loop, which ends by Stop, and one
// for each call of Go. Wait waits until all have ended. The zero value is ready.
type Goroutines struct{ wg sync.WaitGroup }

var _ Exec = (*Goroutines)(nil)

// Loop starts the goroutine of a loop.
func (g *Goroutines) Loop(_ string, turn func()) Loop {
	l := &goLoop{wake: make(chan struct{}, 1), stop: make(chan struct{}), ended: make(chan struct{})}
	g.wg.Go(func() {
		defer close(l.ended)
		for {
			select {
			case <-l.stop:
				return
			case <-l.wake:
				turn()
			}
		}
	})
	return l
}

// Go starts a goroutine.
func (g *Goroutines) Go(_ string, f func()) { g.wg.Go(f) }

// Wait waits for every goroutine; the loops have to be stopped.
func (g *Goroutines) Wait() { g.wg.Wait() }

type goLoop struct {
	wake        chan struct{} // holds one
	stop, ended chan struct{}
	once        sync.Once
}

func (l *goLoop) Wake() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *goLoop) Stop() {
	l.once.Do(func() { close(l.stop) })
	<-l.ended
}
