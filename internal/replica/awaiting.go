package replica

import (
	"sync"
	"time"

	"github.com/leat-stream/leat/internal/env"
)

// awaiting is how a request of many parts waits: it is over once all its parts are under way
// and none of them waits any more. That is so once, and whoever is told answers.
type awaiting struct {
	mu    sync.Mutex
	wait  []bool // by part; nil while none has waited
	open  int    // parts that wait, and one more while parts begin
	timer env.Timer
}

// expirer gives up what still waits.
type expirer interface{ expire() }

// begin comes before the parts begin.
func (a *awaiting) begin() { a.open = 1 }

// await has the index-th of so many parts wait; it comes before anybody can settle it.
func (a *awaiting) await(index, parts int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.wait == nil {
		a.wait = make([]bool, parts)
	}
	a.wait[index] = true
	a.open++
}

// begun comes when all parts are under way. What waits expires after the timeout.
func (a *awaiting) begun(clock env.Clock, timeout time.Duration, op expirer) (over bool) {
	a.mu.Lock()
	a.open--
	left := a.open
	if left > 0 && timeout > 0 {
		a.timer = clock.AfterFunc(timeout, op.expire)
	}
	a.mu.Unlock()
	if left > 0 && timeout <= 0 {
		op.expire()
	}
	return left == 0
}

// told has set store something of a part that waits, and goes on to; false when it does not.
func (a *awaiting) told(index int, set func()) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.wait == nil || !a.wait[index] {
		return false
	}
	set()
	return true
}

// settle ends the wait of a part, whose result set stores. It does nothing when the part does
// not wait.
func (a *awaiting) settle(index int, set func()) (over bool) {
	a.mu.Lock()
	if a.wait == nil || !a.wait[index] {
		a.mu.Unlock()
		return false
	}
	a.wait[index] = false
	set()
	a.open--
	over = a.open == 0
	t := a.timer
	a.mu.Unlock()
	if over && t != nil {
		t.Stop()
	}
	return over
}
