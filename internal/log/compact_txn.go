package log

import (
	"cmp"
	"slices"

	"github.com/leat-stream/leat/internal/record"
)

// cleanTxns follows transactions while a compaction walks through the log in order: it
// tells which batches belong to aborted ones, and which markers have no data left.
type cleanTxns struct {
	waiting   []AbortedTxn          // not reached yet, ascending by first offset
	aborting  map[int64]*abortedRun // by producer
	committed map[int64]bool        // producers with data of a transaction without an end so far
}

type abortedRun struct {
	txn  AbortedTxn
	seen bool // a batch of it was there
}

func newCleanTxns(l *Log, from, to int64) (*cleanTxns, error) {
	all, err := l.AbortedTxns(from, to)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b AbortedTxn) int { return cmp.Compare(a.FirstOffset, b.FirstOffset) })
	return &cleanTxns{waiting: all, aborting: map[int64]*abortedRun{}, committed: map[int64]bool{}}, nil
}

func (c *cleanTxns) reach(offset int64) {
	for len(c.waiting) > 0 && c.waiting[0].FirstOffset <= offset {
		t := c.waiting[0]
		c.waiting = c.waiting[1:]
		if c.aborting[t.ProducerID] == nil {
			c.aborting[t.ProducerID] = &abortedRun{txn: t}
		}
	}
}

// aborted tells whether a data batch belongs to an aborted transaction.
func (c *cleanTxns) aborted(b record.Batch) bool {
	c.reach(b.LastOffset())
	if !b.IsTransactional() {
		return false
	}
	if run := c.aborting[b.ProducerID()]; run != nil {
		run.seen = true
		return true
	}
	c.committed[b.ProducerID()] = true
	return false
}

// marker tells whether a control batch is not needed any more, since no data of its
// transaction is left. The entry of an aborted transaction that is still needed is
// handed to keep.
func (c *cleanTxns) marker(b record.Batch, keep func(AbortedTxn)) (needless bool) {
	c.reach(b.LastOffset())
	if b.Count() == 0 {
		return true // cleaned before
	}
	m, ok, err := parseMarker(b)
	if err != nil || !ok {
		return false
	}
	id := b.ProducerID()
	if !m.abort {
		had := c.committed[id]
		delete(c.committed, id)
		return !had
	}
	run := c.aborting[id]
	delete(c.aborting, id)
	if run == nil || !run.seen {
		return true
	}
	if keep != nil {
		keep(run.txn)
	}
	return false
}
