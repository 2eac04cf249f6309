// Package machine runs replicated state machines of one shape (decision D2):
//
//	Decide(state, request, now, random) -> records, replies, timers, effects
//	Apply(state, record)                   the only code that changes durable state
//	Resume(state) -> timers, effects       after a load: what must still be done
//
// on any committed log: the Raft log for metadata, a replicated partition for
// groups and transactions.
package machine

import (
	"math/rand/v2"
	"time"
)

// Token names one submitted request within a shard's life; 0 is no request.
type Token uint64

// Record is one record of a machine's log. A nil Value is a tombstone.
type Record struct{ Key, Value []byte }

// Input is what one decision may know beside the state.
type Input struct {
	Now   time.Time  // wall clock, the only time a machine ever sees
	Rand  *rand.Rand // seeded by the runtime
	Token Token      // of the request, to answer now or in a later decision; 0 for timers
	// Request is a request type of the machine's own, or TimerFired.
	Request any
}

// TimerFired is the request by which a timer comes due.
type TimerFired struct{ Key string }

// Reply answers the request that came with Token. The runtime holds it back
// until every record that the state included at that moment is committed.
type Reply struct {
	Token Token
	Body  any
	// Confirm: it tells of the state, with nothing of its own to be committed, and has to be
	// true at some moment since it was asked. Where the log is a Confirmer the runtime holds
	// it back until the log is known to have been led then.
	Confirm bool
}

// Timer sets the timer named Key to come due at At, replacing an earlier one; a
// zero At cancels it.
type Timer struct {
	Key string
	At  time.Time
}

// Effect is something to do outside, as data: idempotent, never stored, derived
// again by Resume after a failover.
type Effect any

// Decision is the outcome of Decide. All its records form one batch, appended on
// condition of the leader epoch under which the state was loaded, and applied at
// once (speculatively).
type Decision struct {
	Records []Record
	Replies []Reply
	Timers  []Timer
	Effects []Effect
}

// Machine is one state machine. It reads no clock, disk, socket or global random
// source, holds no lock and starts no goroutine: it is called by one shard at a time.
type Machine interface {
	// Decide answers a request. It must not change durable state (what Apply
	// builds); it may change volatile state (parked tokens, deadlines), which is
	// thrown away with everything else when leadership is lost.
	Decide(in Input) Decision
	// Apply changes durable state by one record, both when a decision was just
	// made and when the log is loaded. offset is the record's offset; ts is the
	// record's timestamp in milliseconds since the epoch.
	Apply(offset int64, ts int64, rec Record) error
	// Resume runs once after a load, before the first Decide.
	Resume(now time.Time) Decision
}

// Log is the committed log beneath one machine.
type Log interface {
	// Append adds one batch if the log is still led in epoch. It returns the
	// offset of the last record, before that is committed. ErrNotLeader when the
	// epoch has passed; any other error leaves the log without the batch.
	Append(epoch int32, now time.Time, recs []Record) (last int64, err error)
	// Load calls fn for every record up to the log's end, in order, and returns the
	// end offset (one past the last record). It includes records not yet committed.
	Load(epoch int32, fn func(offset, ts int64, rec Record) error) (end int64, err error)
}

// Confirmer is a Log that can tell whether another may have taken it over.
type Confirmer interface {
	// Confirm calls done once, at any time and on any goroutine: with nil when nobody had
	// led the log in a later epoch when Confirm was called, with ErrNotLeader when
	// somebody may have.
	Confirm(epoch int32, done func(error))
}
