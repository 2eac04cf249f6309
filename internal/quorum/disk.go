package quorum

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"go.etcd.io/raft/v3/raftpb"
)

// diskJob is a write, or a removal of what a snapshot covers.
type diskJob struct {
	message         *raftpb.Message
	compact, newest uint64
}

// diskWriter is what the disk's loop owns.
type diskWriter struct {
	store *store
	jobs  []diskJob
	// begun are the messages that the store has taken and not made durable yet: the
	// disk is full.
	begun []*raftpb.Message
	noted bool // that the log is lost

	// Guarded by Node.mu:
	full    bool   // it waits until the clock says to try again
	busy    bool   // a turn runs
	written uint64 // grows with every write that is durable
	seen    uint64 // of written, at the last tick
	idle    int    // ticks without progress
}

// fullPause is how long a full disk is left alone.
const fullPause = time.Second

// writeTurn is a turn of the disk's loop: it takes what has piled up and syncs it at once.
func (n *Node) writeTurn() {
	w := &n.writer
	n.mu.Lock()
	if ended := n.ended(); ended != nil || w.full {
		n.mu.Unlock()
		w.noteLost(ended)
		return
	}
	w.busy = true
	defer func() {
		n.mu.Lock()
		w.busy = false
		n.mu.Unlock()
	}()
	w.jobs = append(w.jobs, n.writes...)
	n.writes = nil
	n.mu.Unlock()
	for len(w.jobs) > 0 || len(w.begun) > 0 {
		err := n.writeSome(w)
		if errors.Is(err, errNoSpace) {
			n.diskFull(err)
			return
		}
		if err != nil {
			n.fail(fmt.Errorf("metadata log: %w", err))
		}
		if n.ended() != nil {
			return
		}
	}
}

// writeSome carries out the writes up to the next removal, or that.
func (n *Node) writeSome(w *diskWriter) error {
	if len(w.begun) == 0 && w.jobs[0].message == nil {
		j := w.jobs[0]
		w.jobs = w.jobs[1:]
		return w.store.compact(j.compact, j.newest)
	}
	var ws []write
	for len(w.jobs) > 0 && w.jobs[0].message != nil {
		w.begun = append(w.begun, w.jobs[0].message)
		ws = append(ws, writeOf(w.jobs[0].message))
		w.jobs = w.jobs[1:]
	}
	if err := w.store.write(ws); err != nil {
		return err
	}
	ms := w.begun
	w.begun = nil
	// An error says that the node is ending; what was written stays.
	_ = n.do(func(c *core) {
		w.written++
		for _, m := range ms {
			if err := c.persisted(m); err != nil {
				n.fail(err)
				return
			}
		}
	})
	return nil
}

// writeOf is what a MsgStorageAppend asks for.
func writeOf(m *raftpb.Message) write {
	w := write{entries: m.GetEntries(), sync: len(m.GetResponses()) > 0}
	if s := m.GetSnapshot(); s != nil {
		w.snapshot = fetched{s.GetMetadata().GetIndex(), s.GetMetadata().GetTerm()}
	}
	if m.GetTerm() != 0 {
		w.hard = &hardState{m.GetTerm(), m.GetVote(), m.GetCommit()}
	}
	return w
}

// diskFull leaves the writes where they are, and tries again later. A leader hands over to
// a voter that has room, if there is one: it hands out nothing that it has not synced itself.
func (n *Node) diskFull(err error) {
	n.opts.Logger.Error("no space for the metadata log, waiting for some", "error", err)
	// An error of do says that the node is ending.
	_ = n.do(func(c *core) {
		if c.startTransfer(0, nil) == nil {
			n.opts.Logger.Warn("no space for the metadata log, handing over leadership")
		}
	})
	n.mu.Lock()
	n.writer.full = true
	n.mu.Unlock()
	n.opts.Clock.AfterFunc(fullPause, func() {
		n.mu.Lock()
		n.writer.full = false
		n.mu.Unlock()
		n.disk.Wake()
	})
}

// noteLost notes a lost log where the next start looks: a voter that forgot may vote
// twice. Should the note be lost too, the leader tells again.
func (w *diskWriter) noteLost(err error) {
	if w.noted || !errors.Is(err, ErrLostLog) || w.store == nil {
		return
	}
	w.noted = true
	_ = w.store.marker.set(math.MaxUint64, 0) // the node has failed already, with err
}

// close closes the store; no turn runs any more. What was not written is left out.
func (w *diskWriter) close(started bool, log *slog.Logger) error {
	st := w.store
	w.store = nil
	switch {
	case st == nil:
		return nil
	case !started:
		return st.abandon()
	case len(w.begun) > 0:
		st.failed = errors.Join(st.failed, ErrClosed) // half of it must not go out with the commit index
	}
	if err := st.close(); err != nil {
		log.Error("cannot close the metadata log", "error", err)
	}
	return nil
}
