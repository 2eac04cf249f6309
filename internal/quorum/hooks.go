package quorum

import (
	"errors"
	"fmt"

	"go.etcd.io/raft/v3/raftpb"
)

// hookTurn is a turn of the hooks' loop: one duty.
func (n *Node) hookTurn() {
	n.mu.Lock()
	if n.ended() != nil {
		n.mu.Unlock()
		n.release()
		return
	}
	if len(n.applies) == 0 {
		n.mu.Unlock()
		return
	}
	a := n.applies[0]
	n.applies = n.applies[1:]
	if len(n.applies) > 0 {
		n.hooks.Wake()
	}
	n.mu.Unlock()
	if err := n.hook(a); err != nil {
		n.fail(err)
	}
}

// release tells those who wait that the node has ended.
func (n *Node) release() {
	n.mu.Lock()
	var waiting []func(error)
	for _, a := range n.applies {
		if a.call != nil {
			waiting = append(waiting, a.call)
		}
	}
	n.applies = nil
	if ch := n.core.members.change; ch != nil {
		waiting = append(waiting, ch.done)
		n.core.members.change = nil
	}
	if t := n.core.transfer; t != nil && t.done != nil {
		waiting = append(waiting, t.done)
	}
	n.core.transfer = nil
	pulls := n.pulls
	n.pulls = nil
	err := n.ended()
	n.mu.Unlock()
	for _, p := range pulls {
		if p.timer != nil {
			p.timer.Stop()
		}
		p.done(endedPull())
	}
	for _, f := range waiting {
		f(err)
	}
}

func (n *Node) hook(a apply) error {
	h := n.opts.Hooks
	switch {
	case a.entries != nil:
		for _, e := range a.entries.GetEntries() {
			if e.GetType() != raftpb.EntryNormal || len(e.GetData()) == 0 {
				continue
			}
			if err := h.Commit(Entry{e.GetIndex(), e.GetTerm(), e.GetType(), e.GetData()}); err != nil {
				return fmt.Errorf("metadata entry %d: %w", e.GetIndex(), err)
			}
		}
		// An error says that the node is ending.
		_ = n.do(func(c *core) {
			if err := c.appliedTo(a.entries); err != nil {
				n.fail(err)
			}
		})
	case a.snapshot != 0:
		f, err := openSnapshot(n.opts.FS, n.opts.Dir, a.snapshot)
		if err != nil {
			return err
		}
		return errors.Join(h.Restore(f.Meta(), f), f.Close())
	case a.call != nil:
		a.call(a.err)
	case a.lead != 0:
		h.Lead(a.lead)
	case a.resign != 0:
		h.Resign(a.resign)
	case a.due != 0:
		h.SnapshotDue(a.due)
	}
	return nil
}
