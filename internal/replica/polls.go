package replica

import (
	"slices"
	"sync"
)

// polls are the followers' long polls that wait here. When this broker begins to lead, they
// end: its followers ask for what it now leads within their next requests, and no write
// waits until records elsewhere have ended a poll.
type polls struct {
	mu      sync.Mutex
	open    []*FetchOp // one a follower, as a rule
	stirred bool
}

func (p *polls) add(op *FetchOp) {
	p.mu.Lock()
	p.open = append(p.open, op)
	p.mu.Unlock()
}

func (p *polls) remove(op *FetchOp) {
	p.mu.Lock()
	p.open = slices.DeleteFunc(p.open, func(o *FetchOp) bool { return o == op })
	p.mu.Unlock()
}

// stir notes that a partition has come to be led; it is called with the partition locked.
func (p *polls) stir() {
	p.mu.Lock()
	p.stirred = true
	p.mu.Unlock()
}

// settle ends all if there is a reason to.
func (p *polls) settle() {
	p.mu.Lock()
	var due []*FetchOp
	if p.stirred {
		due = slices.Clone(p.open)
	}
	p.stirred = false
	p.mu.Unlock()
	for _, op := range due {
		op.end()
	}
}
