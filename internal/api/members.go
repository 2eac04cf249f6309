package api

import (
	"sync"
	"sync/atomic"

	"github.com/leat-stream/leat/internal/group"
)

// Members adds up what the members of all groups hold, as the coordinators tell it
// (group.MembersHold), against a bound. It follows them, and so lags by the decisions
// that wait for their commit.
type Members struct {
	limit   int64
	refused atomic.Int64

	mu    sync.Mutex
	held  map[string]int64 // by shard
	total int64
}

// NewMembers bounds members at limit bytes.
func NewMembers(limit int64) *Members {
	return &Members{limit: limit, held: map[string]int64{}}
}

// Hold notes what the members of one coordinator hold; 0 when it is no longer here.
func (m *Members) Hold(shard string, bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.total += bytes - m.held[shard]
	if m.held[shard] = bytes; bytes == 0 {
		delete(m.held, shard)
	}
}

// Bytes is what all members hold.
func (m *Members) Bytes() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.total
}

// Refused counts the joins that were refused while memory was full.
func (m *Members) Refused() int64 { return m.refused.Load() }

// memory says what a request to a coordinator may add. Half the bound more than the
// bound is for the members that are in: their metadata may grow into it.
func (m *Members) memory() group.Memory {
	switch n := m.Bytes(); {
	case n < m.limit:
		return group.Roomy
	case n < m.limit+m.limit/2:
		return group.NoMembers
	}
	return group.NoMore
}
