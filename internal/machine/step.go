package machine

import "time"

// An event is what happens to a shard; an action is what the shard wants done
// about it. The shell (loop.go) turns the world into events and carries out the
// actions in the order in which they were returned.
type (
	event  interface{ isEvent() }
	action interface{ isAction() }
)

// Events.
type (
	// evStart is the first event: leadership was given.
	evStart struct{}
	// evLoaded: the load with this number ended.
	evLoaded struct {
		number  uint64
		machine Machine
		end     int64 // one past the last record
		records int64
		took    time.Duration
		err     error
	}
	evRequest struct {
		token   Token
		body    any
		timeout time.Duration // of the commit
	}
	// evView reads the state; its answer waits as any reply without records does.
	evView struct {
		token   Token
		read    func(Machine) any
		timeout time.Duration
	}
	evTimer    struct{ key string }
	evDeadline struct{ token Token }
	// evAppended answers an actAppend and is the very next event after it.
	evAppended struct {
		last int64
		err  error
	}
	evCommitted struct{ end int64 }
	// evConfirmed answers an actConfirm.
	evConfirmed struct {
		token Token
		body  any
		err   error
	}
	// evStop ends the shard: resigned (ErrNotLeader) or closed (ErrClosed).
	evStop struct{ err error }
)

func (evStart) isEvent()     {}
func (evLoaded) isEvent()    {}
func (evRequest) isEvent()   {}
func (evView) isEvent()      {}
func (evTimer) isEvent()     {}
func (evDeadline) isEvent()  {}
func (evAppended) isEvent()  {}
func (evCommitted) isEvent() {}
func (evConfirmed) isEvent() {}
func (evStop) isEvent()      {}

// Actions.
type (
	// actLoad loads a fresh machine after a pause, and answers with evLoaded.
	actLoad struct {
		number uint64
		after  time.Duration
	}
	// actAppend appends one batch now; it is always the last of its list.
	actAppend struct{ records []Record }
	actReply  struct {
		token Token
		body  any
	}
	// actConfirm asks the log whether it is still led; evConfirmed brings the answer.
	actConfirm struct {
		token Token
		body  any
	}
	actFail struct {
		token Token
		err   error
	}
	// actTimer sets the machine's timer, or cancels it when at is zero.
	actTimer struct {
		key string
		at  time.Time
	}
	// actDeadline sets the deadline of a held-back reply, or cancels it when at is zero.
	actDeadline struct {
		token Token
		at    time.Time
	}
	// actForget cancels every timer, every deadline and the running load of the shard.
	actForget struct{}
	actEffect struct{ effect Effect }
	actNotify struct{ event Event }
)

func (actLoad) isAction()     {}
func (actAppend) isAction()   {}
func (actReply) isAction()    {}
func (actConfirm) isAction()  {}
func (actFail) isAction()     {}
func (actTimer) isAction()    {}
func (actDeadline) isAction() {}
func (actForget) isAction()   {}
func (actEffect) isAction()   {}
func (actNotify) isAction()   {}
