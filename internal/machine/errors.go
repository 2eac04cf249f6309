package machine

import "errors"

// Errors that a request may end with. All but ErrFailed are worth a retry, here or
// at the new leader; what a caller answers for them is the protocol's business
// (for a group: COORDINATOR_LOAD_IN_PROGRESS, NOT_COORDINATOR and so on).
var (
	// ErrNotLeader: this node does not lead the shard, or lost it before the
	// request's records were committed (which may nevertheless happen later).
	// A failed append wraps both ErrNotLeader and its cause.
	ErrNotLeader = errors.New("machine: not the leader of the shard")
	// ErrLoading: the shard's state is being loaded from its log.
	ErrLoading = errors.New("machine: shard is loading")
	// ErrTimeout: the records were appended but not committed in time. They may
	// still commit; the shard goes on.
	ErrTimeout = errors.New("machine: not committed in time")
	// ErrOverloaded: the queue of requests, or the amount of uncommitted records, is full.
	ErrOverloaded = errors.New("machine: overloaded")
	// ErrFailed: the log holds something that the machine cannot apply. It is
	// permanent until the shard is led anew.
	ErrFailed = errors.New("machine: shard failed")
	// ErrClosed: the runtime is closing.
	ErrClosed = errors.New("machine: runtime is closed")
)
