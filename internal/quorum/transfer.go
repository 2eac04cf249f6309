package quorum

import (
	"slices"

	"go.etcd.io/raft/v3"
)

// transfer is a handover of leadership that is under way.
type transfer struct {
	done func(error) // may be nil
	left int         // ticks
}

// TransferLeadership asks another voter to lead at once, without waiting for anybody's
// timeout: as before a controlled shutdown. to is a Raft id, or 0 for the active voter
// that has most of the log. done is called once, with nil when this member leads no
// more. Appends answer ErrBusy meanwhile.
func (n *Node) TransferLeadership(to uint64, done func(error)) {
	err := ErrClosed
	ended := n.do(func(c *core) { err = c.startTransfer(to, done) })
	if err == nil {
		return // done is kept
	}
	if ended != nil {
		err = ended
	}
	done(err)
}

func (c *core) startTransfer(to uint64, done func(error)) error {
	if c.rn.BasicStatus().RaftState != raft.StateLeader {
		return ErrNotLeader
	}
	if c.transfer != nil {
		return ErrChanging
	}
	if to == 0 {
		to = c.successor()
	}
	if to == c.id || !slices.Contains(c.conf().conf.GetVoters(), to) {
		return ErrUnknownMember
	}
	if !c.active(to) {
		return ErrNotCaughtUp
	}
	c.transfer = &transfer{done, c.opts.electionTicks}
	c.rn.TransferLeader(to)
	return nil
}

// successor is the active voter that has most of the log, 0 if there is none.
func (c *core) successor() (id uint64) {
	for _, v := range c.conf().conf.GetVoters() {
		if v != c.id && c.active(v) && (id == 0 || c.members.contacts[v].match > c.members.contacts[id].match) {
			id = v
		}
	}
	return id
}

// endTransfer answers the transfer that is under way.
func (c *core) endTransfer(err error) {
	if t := c.transfer; t != nil {
		c.transfer = nil
		if t.done != nil {
			c.out.applies = append(c.out.applies, apply{call: t.done, err: err})
		}
	}
}

// tickTransfer gives a transfer up after an election timeout, as the library does.
func (c *core) tickTransfer() {
	if t := c.transfer; t != nil {
		if t.left--; t.left <= 0 {
			c.endTransfer(ErrNotTransferred)
		}
	}
}

// hungTimeouts is how many election timeouts a leader's disk may hang. Heartbeats and
// the others' commits go on without it, but the leader hands out nothing that it has
// not synced itself: it is better followed by a member whose disk works.
const hungTimeouts = 2

// watchDisk counts the ticks in which the disk made nothing durable though it was asked
// to, and hands leadership over when there are too many; n.mu is held.
func (n *Node) watchDisk(c *core) {
	w := &n.writer
	if !w.busy && !w.full && len(n.writes) == 0 || w.written != w.seen {
		w.seen, w.idle = w.written, 0
		return
	}
	if w.idle++; w.idle < hungTimeouts*n.opts.ElectionTicks {
		return
	}
	w.idle = 0
	if c.rn.BasicStatus().RaftState == raft.StateLeader {
		n.opts.Logger.Warn("the metadata log's disk hangs, handing over leadership", "error", c.startTransfer(0, nil))
	}
}
