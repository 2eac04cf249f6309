package machine

import (
	"fmt"
	"time"
)

// EventKind says what an Event tells of.
type EventKind uint8

// Kinds of events.
const (
	ShardLoaded   EventKind = iota + 1 // Records and End are set
	ShardReload                        // the speculative state was thrown away; Err says why
	ShardLost                          // the log says that the epoch has passed
	ShardFailed                        // a record cannot be applied; Err says which
	ShardResigned                      // by the owner's word, or the runtime is closing
)

func (k EventKind) String() string {
	switch k {
	case ShardLoaded:
		return "loaded"
	case ShardReload:
		return "reload"
	case ShardLost:
		return "lost"
	case ShardFailed:
		return "failed"
	case ShardResigned:
		return "resigned"
	}
	return fmt.Sprintf("EventKind(%d)", uint8(k))
}

// Event is one notable thing in a shard's life, for logs and tests.
type Event struct {
	Kind    EventKind
	Shard   string
	Epoch   int32
	Records int64         // applied by the load
	End     int64         // one past the last record
	Took    time.Duration // of the load
	Err     error
}

func (e Event) String() string {
	s := fmt.Sprintf("shard %s epoch %d %s", e.Shard, e.Epoch, e.Kind)
	if e.Kind == ShardLoaded {
		s += fmt.Sprintf(": %d records up to offset %d in %v", e.Records, e.End, e.Took)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}
