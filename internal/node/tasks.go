package node

import (
	"sync"

	"github.com/leat-stream/leat/internal/env"
)

// tasks runs functions one at a time, in the order in which they were posted: whatever
// decides about the node itself (its start, its registration, its members) runs here
// and needs no lock.
type tasks struct {
	mu    sync.Mutex
	queue []func()
	loop  env.Loop
}

func newTasks(exec env.Exec) *tasks {
	t := &tasks{}
	t.loop = exec.Loop("node", t.turn)
	return t
}

func (t *tasks) post(f func()) {
	t.mu.Lock()
	t.queue = append(t.queue, f)
	t.mu.Unlock()
	t.loop.Wake()
}

func (t *tasks) turn() {
	t.mu.Lock()
	all := t.queue
	t.queue = nil
	t.mu.Unlock()
	for _, f := range all {
		f()
	}
}
