package quorum

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"sync"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/leat-stream/leat/internal/machine"
)

// LogHooks are the Hooks of a metadata log, in records and offsets. The same rules
// hold: they are called in order, one at a time, may block, and an error is final.
type LogHooks struct {
	// Restore replaces the state: recs rebuild it, and it stands for every record up
	// to offset last, which is 0 in a new log.
	Restore func(last, timestamp int64, recs iter.Seq2[machine.Record, error]) error
	// Records hands out one committed batch, on every member.
	Records func(Batch) error
	// Lead says that this member leads in the epoch and that the log is committed up
	// to end. The owner leads the controller's shard then, on this Log.
	Lead   func(epoch int32, end int64)
	Resign func(epoch int32)
	// SnapshotDue asks for a snapshot, of the state up to the offset or later.
	SnapshotDue func(last int64)
}

// Log is the metadata log as package machine wants it: a machine.Log whose epochs are
// Raft terms. A batch is one entry; offsets number the records (see Batch).
type Log struct {
	node  *Node
	hooks LogHooks

	mu   sync.Mutex
	term uint64 // in which this member leads; 0 if it does not
	next int64  // offset of the next record to append in that term
	end  int64  // one past the last committed record that the hooks have seen
	snap int64  // last offset in the newest snapshot
}

var (
	_ machine.Log       = (*Log)(nil)
	_ machine.Confirmer = (*Log)(nil)
)

// OpenLog opens a member whose entries are batches, and calls LogHooks.Restore; the
// other hooks are called only after Start. Options.Hooks is not used.
func OpenLog(o Options, h LogHooks) (*Log, error) {
	l := &Log{hooks: h, end: firstOffset}
	o.Hooks = Hooks{Restore: l.restore, Commit: l.commit, Lead: l.lead, Resign: l.resign, SnapshotDue: l.snapshotDue}
	n, err := Open(o)
	if err != nil {
		return nil, err
	}
	l.node = n
	return l, nil
}

// Node is the member beneath.
func (l *Log) Node() *Node { return l.node }

// Start lets the member take part; see Node.Start.
func (l *Log) Start() { l.node.Start() }

// Close stops the member.
func (l *Log) Close() error { return l.node.Close() }

// End is one past the last committed record that the hooks have seen.
func (l *Log) End() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.end
}

// Append adds one batch if this member leads in the epoch. See machine.Log.
func (l *Log) Append(epoch int32, now time.Time, recs []machine.Record) (last int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if epoch <= 0 || l.term != uint64(epoch) {
		return 0, machine.ErrNotLeader
	}
	if len(recs) == 0 {
		return 0, errors.New("quorum: an empty batch")
	}
	if _, err := l.node.Append(l.term, appendBatch(nil, l.next, now.UnixMilli(), recs)); err != nil {
		return 0, notLeader(err)
	}
	l.next += int64(len(recs))
	return l.next - 1, nil
}

// Confirm tells whether this member still led in the epoch when it was asked. See
// machine.Confirmer.
func (l *Log) Confirm(epoch int32, done func(error)) {
	l.node.Confirm(uint64(epoch), func(err error) { done(notLeader(err)) })
}

// notLeader maps what ends leadership; a node that has ended leads nothing.
func notLeader(err error) error {
	if errors.Is(err, ErrNotLeader) || errors.Is(err, ErrClosed) || errors.Is(err, ErrFailed) {
		return fmt.Errorf("%w: %w", machine.ErrNotLeader, err)
	}
	return err
}

// Load replays the newest snapshot and what follows it, committed or not. A record
// of a snapshot has the snapshot's last offset and timestamp.
func (l *Log) Load(epoch int32, fn func(offset, ts int64, rec machine.Record) error) (end int64, err error) {
	if epoch <= 0 {
		return 0, machine.ErrNotLeader
	}
	f, es, err := l.node.view(uint64(epoch))
	if err != nil {
		return 0, notLeader(err)
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	h, err := readSnapshotHead(f)
	if err != nil {
		return 0, err
	}
	for rec, err := range records(f) {
		if err != nil {
			return 0, err
		}
		if err := fn(h.last, h.timestamp, rec); err != nil {
			return 0, err
		}
	}
	end = h.last + 1
	for _, e := range es {
		if end, err = replayEntry(e, end, fn); err != nil {
			return 0, err
		}
	}
	return end, nil
}

func replayEntry(e *raftpb.Entry, end int64, fn func(offset, ts int64, rec machine.Record) error) (int64, error) {
	if e.GetType() != raftpb.EntryNormal || len(e.GetData()) == 0 {
		return end, nil
	}
	b, err := decodeAt(e.GetIndex(), e.GetData(), end)
	if err != nil {
		return end, err
	}
	for i, r := range b.Records {
		if err := fn(b.Base+int64(i), b.Timestamp, r); err != nil {
			return end, err
		}
	}
	return b.End(), nil
}

// decodeAt decodes a batch that must continue at an offset.
func decodeAt(index uint64, data []byte, at int64) (Batch, error) {
	b, err := DecodeBatch(data)
	if err == nil && b.Base != at {
		err = fmt.Errorf("batch at offset %d, the log ends at %d", b.Base, at)
	}
	if err != nil {
		return b, fmt.Errorf("%w: entry %d: %w", ErrCorrupt, index, err)
	}
	return b, nil
}

// TakeSnapshot writes the state up to the record at offset last, which the hooks
// have seen as the last of its batch, as the records that rebuild it; the log behind
// it may go then. It does nothing if there is one as new already.
func (l *Log) TakeSnapshot(last int64, recs iter.Seq[machine.Record]) error {
	l.mu.Lock()
	done := last <= l.snap
	l.mu.Unlock()
	if done {
		return nil
	}
	index, ts, err := l.node.find(last)
	if err != nil {
		return err
	}
	err = l.node.TakeSnapshot(index, func(w io.Writer) error {
		return writeRecords(w, snapshotHead{last, ts}, recs)
	})
	if err == nil {
		l.mu.Lock()
		l.snap = max(l.snap, last)
		l.mu.Unlock()
	}
	return err
}

// find is the entry whose batch ends with the record at an offset, and its timestamp.
func (n *Node) find(last int64) (index uint64, ts int64, err error) {
	aerr := n.do(func(c *core) {
		err = fmt.Errorf("quorum: no batch behind the snapshot ends at offset %d", last)
		for _, e := range c.log.entries[c.log.snapshot.Index-c.log.base.index:] {
			if e.GetType() != raftpb.EntryNormal || len(e.GetData()) == 0 {
				continue
			}
			b, count, berr := batchHeader(e.GetData())
			if berr != nil {
				err = fmt.Errorf("%w: entry %d: %w", ErrCorrupt, e.GetIndex(), berr)
				return
			}
			if b.Base+int64(count) == last+1 {
				index, ts, err = e.GetIndex(), b.Timestamp, nil
				return
			}
		}
	})
	return index, ts, errors.Join(aerr, err)
}

func (l *Log) restore(_ SnapshotMeta, r io.Reader) error {
	h, err := readSnapshotHead(r)
	if err != nil {
		return corrupt(err)
	}
	l.mu.Lock()
	l.end, l.snap = h.last+1, h.last
	l.mu.Unlock()
	if l.hooks.Restore == nil {
		_, err := io.Copy(io.Discard, r)
		return err
	}
	return l.hooks.Restore(h.last, h.timestamp, records(r))
}

func (l *Log) commit(e Entry) error {
	b, err := decodeAt(e.Index, e.Data, l.End())
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.end = b.End()
	l.mu.Unlock()
	if l.hooks.Records == nil {
		return nil
	}
	return l.hooks.Records(b)
}

func (l *Log) lead(term uint64) {
	if term > math.MaxInt32 {
		l.node.fail(fmt.Errorf("term %d is above what an epoch can hold", term))
		return
	}
	l.mu.Lock()
	// All of earlier terms is committed and was handed out.
	l.term, l.next = term, l.end
	end := l.end
	l.mu.Unlock()
	if l.hooks.Lead != nil {
		l.hooks.Lead(int32(term), end)
	}
}

func (l *Log) resign(term uint64) {
	l.mu.Lock()
	l.term = 0
	l.mu.Unlock()
	if l.hooks.Resign != nil {
		l.hooks.Resign(int32(term))
	}
}

func (l *Log) snapshotDue(uint64) {
	if l.hooks.SnapshotDue != nil {
		l.hooks.SnapshotDue(l.End() - 1)
	}
}
