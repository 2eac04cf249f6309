package quorum

import (
	"errors"
	"slices"
	"time"

	"go.etcd.io/raft/v3"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/nodewire"
)

// codeBrokerNotAvailable answers requests to a node that has ended.
const codeBrokerNotAvailable = 8

const (
	maxPulls     = 10_000  // that wait; more are answered at once
	maxPullBytes = 8 << 20 // of one answer
)

// pull is a long poll that waits for a commit.
type pull struct {
	req   *nodewire.PullRequest
	done  func(*nodewire.PullResponse)
	timer env.Timer
}

// Pull answers a request for committed entries once there are any, or after its
// patience; done is called once, it may be within the call. The data must not be
// changed.
func (n *Node) Pull(req *nodewire.PullRequest, done func(*nodewire.PullResponse)) {
	taken := false
	_ = n.do(func(c *core) { // an error says that it is answered at the end, or not taken
		if n.pullsEnded {
			return
		}
		taken = true
		p := &pull{req: req, done: done}
		n.pulls = append(n.pulls, p)
		if req.MaxWaitMs <= 0 || len(n.pulls) > maxPulls {
			n.settlePulls(c, p)
			return
		}
		p.timer = n.opts.Clock.AfterFunc(time.Duration(req.MaxWaitMs)*time.Millisecond, func() {
			_ = n.do(func(c *core) { n.settlePulls(c, p) })
		})
		n.settlePulls(c, nil)
	})
	if !taken {
		done(endedPull())
	}
}

// EndPulls answers everybody who waits, and takes no more: the node is about to stop, and
// observers had better turn to another.
func (n *Node) EndPulls() {
	_ = n.do(func(*core) { // an error says that they are answered
		n.pullsEnded = true
		for _, p := range n.pulls {
			if p.timer != nil {
				p.timer.Stop()
			}
			n.calls = append(n.calls, func() { p.done(endedPull()) })
		}
		n.pulls = nil
	})
}

func endedPull() *nodewire.PullResponse {
	return &nodewire.PullResponse{ErrorCode: codeBrokerNotAvailable, Leader: nodewire.Identity{NodeID: -1}}
}

// settlePulls answers the requests that something is there for, and late in any case;
// n.mu is held.
func (n *Node) settlePulls(c *core, late *pull) {
	n.pulledTo = c.readable()
	n.pulls = slices.DeleteFunc(n.pulls, func(p *pull) bool {
		resp, some := c.pull(p.req)
		if !some && p != late {
			return false
		}
		if p.timer != nil {
			p.timer.Stop()
		}
		n.calls = append(n.calls, func() { p.done(resp) })
		return true
	})
}

// readable is the last entry that others may be given: committed, synced here and seen
// by the hooks. The library's commit index alone does not say that. It may stand for
// entries of a new leader that are still on their way to the disk, while the synced log
// holds others of an old one in their place.
func (c *core) readable() uint64 { return min(c.applied, c.log.last()) }

// ledWithin is for how many election timeouts a member is taken to follow the leader that
// it heard last. The library forgets the leader of a voter by itself, and keeps that of a
// learner and of one that was removed for ever: who pulls from such a one would wait for
// ever, too.
const ledWithin = 4

// pull is what is there for a request, and whether it is anything.
func (c *core) pull(req *nodewire.PullRequest) (resp *nodewire.PullResponse, some bool) {
	st := c.rn.BasicStatus()
	commit := c.readable()
	resp = &nodewire.PullResponse{Term: st.GetTerm(), Commit: commit, Leader: nodewire.Identity{NodeID: -1}}
	if m := c.conf().member(st.Lead); m != nil && (st.Lead == c.id || c.now.Sub(c.led) <= ledWithin*c.opts.electionTimeout) {
		resp.Leader = m.Identity()
	}
	if commit == 0 || req.From > commit { // 0: it waits itself
		return resp, false
	}
	es, err := c.log.Entries(max(req.From, 1), commit+1, uint64(min(max(req.MaxBytes, 1), maxPullBytes)))
	if errors.Is(err, raft.ErrCompacted) {
		resp.SnapshotIndex = c.log.snapshot.Index
		return resp, resp.SnapshotIndex != 0
	}
	for _, e := range es {
		resp.Entries = append(resp.Entries, nodewire.PullEntry{Index: e.GetIndex(), Term: e.GetTerm(), Type: int8(e.GetType()), Data: e.GetData()})
	}
	return resp, len(es) > 0
}
