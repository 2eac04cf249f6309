package node

import (
	"sync"
	"time"
)

// imageWaiters wait for the committed image to reach a log index: a client that has
// changed something through this broker is to meet the change here.
type imageWaiters struct {
	mu   sync.Mutex
	list []*imageWaiter
}

type imageWaiter struct {
	index int64
	then  func()
	once  sync.Once
}

// imagePatience bounds the wait: a broker that lags so far serves its clients late
// rather than not at all.
const imagePatience = 2 * time.Second

// awaitImage calls then once the image has the index, or after imagePatience.
func (m *metadataLog) awaitImage(index int64, then func()) {
	if m.image().Index() >= index {
		then()
		return
	}
	w := &imageWaiter{index: index, then: then}
	m.waiters.mu.Lock()
	m.waiters.list = append(m.waiters.list, w)
	m.waiters.mu.Unlock()
	m.n.jobs.after(imagePatience, func() { w.once.Do(w.then) })
	m.imageMoved() // it may have between the two looks
}

// imageMoved lets those go who waited for no more than the image has.
func (m *metadataLog) imageMoved() {
	index := m.image().Index()
	var due []*imageWaiter
	m.waiters.mu.Lock()
	rest := m.waiters.list[:0]
	for _, w := range m.waiters.list {
		if w.index <= index {
			due = append(due, w)
		} else {
			rest = append(rest, w)
		}
	}
	clear(m.waiters.list[len(rest):])
	m.waiters.list = rest
	m.waiters.mu.Unlock()
	for _, w := range due {
		w.once.Do(w.then)
	}
}
