package quorum

import (
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/leat-stream/leat/internal/mutant"
)

// memLog is the synced log in memory, as the raft library reads it (raft.Storage).
// Its size is bounded by the snapshots: the owner takes one each SnapshotBytes.
type memLog struct {
	hard     *raftpb.HardState // at the start
	snapshot SnapshotMeta
	base     struct{ index, term uint64 } // of the entry before the first
	entries  []*raftpb.Entry
	since    int64 // bytes of the entries behind the snapshot
}

func newMemLog(r *recovered) *memLog {
	l := &memLog{
		hard:     &raftpb.HardState{Term: &r.hard.term, Vote: &r.hard.vote, Commit: &r.hard.commit},
		snapshot: r.snapshot, entries: r.entries,
	}
	l.base.index, l.base.term = r.baseIndex, r.baseTerm
	if mutant.On("quorum/forgets-votes") {
		l.hard.Vote = new(uint64(0))
	}
	l.recount()
	return l
}

func (l *memLog) recount() {
	l.since = 0
	for _, e := range l.entries {
		if e.GetIndex() > l.snapshot.Index {
			l.since += entryBytes(e)
		}
	}
}

func entryBytes(e *raftpb.Entry) int64 { return int64(len(e.GetData())) + 32 }

func (l *memLog) last() uint64 { return l.base.index + uint64(len(l.entries)) }

// InitialState is what the disk held at the start.
func (l *memLog) InitialState() (*raftpb.HardState, *raftpb.ConfState, error) {
	return l.hard, raftpb.EnsureConfState(l.snapshot.Conf), nil
}

// Entries are those of [lo, hi), as many as fit into max bytes but at least one.
func (l *memLog) Entries(lo, hi, max uint64) ([]*raftpb.Entry, error) {
	if lo <= l.base.index {
		return nil, raft.ErrCompacted
	}
	if hi > l.last()+1 || lo >= hi {
		return nil, raft.ErrUnavailable
	}
	es := l.entries[lo-l.base.index-1 : hi-l.base.index-1]
	size := uint64(0)
	for i, e := range es {
		size += uint64(entryBytes(e))
		if i > 0 && size > max {
			es = es[:i]
			break
		}
	}
	return slices.Clip(es), nil
}

// Term is the term of an entry, or of the one before the first.
func (l *memLog) Term(i uint64) (uint64, error) {
	switch {
	case i < l.base.index:
		return 0, raft.ErrCompacted
	case i == l.base.index:
		return l.base.term, nil
	case i > l.last():
		return 0, raft.ErrUnavailable
	}
	return l.entries[i-l.base.index-1].GetTerm(), nil
}

// LastIndex is the index of the last entry.
func (l *memLog) LastIndex() (uint64, error) { return l.last(), nil }

// FirstIndex is the index of the first entry that is there, or would be next.
func (l *memLog) FirstIndex() (uint64, error) { return l.base.index + 1, nil }

// Snapshot is the newest snapshot, without its data: the receiver fetches the file and
// keeps it as it is.
func (l *memLog) Snapshot() (*raftpb.Snapshot, error) {
	if l.snapshot.Index == 0 {
		return nil, raft.ErrSnapshotTemporarilyUnavailable
	}
	return &raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{
		ConfState: raftpb.EnsureConfState(l.snapshot.Conf), Index: &l.snapshot.Index, Term: &l.snapshot.Term,
	}}, nil
}

// append adds entries that are on disk now, over those that they replace. They are
// never behind base: writes come back in order, and what is applied stays.
func (l *memLog) append(es []*raftpb.Entry) {
	n := es[0].GetIndex() - l.base.index - 1
	if n < uint64(len(l.entries)) {
		l.entries = append(slices.Clip(l.entries[:n]), es...) // never over what a reader may hold
		l.recount()
		return
	}
	l.entries = append(l.entries, es...)
	for _, e := range es {
		l.since += entryBytes(e)
	}
}

// restore replaces everything by a received snapshot.
func (l *memLog) restore(m SnapshotMeta) {
	l.snapshot, l.entries, l.since = m, nil, 0
	l.base.index, l.base.term = m.Index, m.Term
}

// compact notes a newer snapshot and drops the entries up to index.
func (l *memLog) compact(m SnapshotMeta, index uint64) {
	l.snapshot = m
	if index > l.base.index {
		n := index - l.base.index
		l.base.term = l.entries[n-1].GetTerm()
		l.base.index = index
		l.entries = slices.Clone(l.entries[n:])
	}
	l.recount()
}

// keepFrom is how far the log may go when a snapshot at index is there, for a few
// entries to stay for those who lag a little.
func (l *memLog) keepFrom(index, entries uint64, bytes int64) uint64 {
	for ; index > l.base.index && entries > 0; entries-- {
		bytes -= entryBytes(l.entries[index-l.base.index-1])
		if bytes < 0 {
			break
		}
		index--
	}
	return index
}
