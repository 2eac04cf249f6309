package quorum

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
	"google.golang.org/protobuf/proto"

	"github.com/leat-stream/leat/internal/mutant"
)

// core is the raft library with our log under it, as a step function: events in by
// its methods, duties out by ready. It reads no clock and touches no file.
type core struct {
	id       uint64
	rn       *raft.RawNode
	log      *memLog
	opts     coreOptions
	last     uint64          // index of the library's last entry, written or not
	unsaved  []*raftpb.Entry // given out to be written and not back yet
	leading  uint64          // the term whose leadership was announced; 0 if none
	applied  uint64
	due      int64 // log bytes behind the snapshot at which one is asked for
	confs    []confAt
	sent     map[uint64]int // ticks since a snapshot went to a member
	members  memberState
	transfer *transfer
	incoming map[uint64]SnapshotMeta // fetched snapshots that are not installed yet
	settled  []apply                 // what follows the entries that are being handed out
	now      time.Time               // of this step; set by the owner
	led      time.Time               // when a leader was last heard, by one that follows
	// impatient is how the member asks for votes without waiting for a timeout.
	impatient impatient
	// asking are those who wait to hear that this member leads, by number; see Confirm.
	asking map[uint64]func(error)
	asked  uint64
	// doubted is the entry that a heartbeat told of and that the log lacks; 0 for none.
	doubted uint64
	// followed are the ticks in a row under a leader, up to soundAfter; sound tells whether
	// there were as many since the start (doubt.go).
	followed int
	sound    bool
	out      duties
}

type coreOptions struct {
	electionTicks, heartbeatTicks int
	keepEntries                   uint64
	snapshotBytes                 int64
	electionTimeout               time.Duration
	asks                          bool // somebody asks when the member is in doubt
	logger                        raft.Logger
}

// confAt is the membership from an entry on.
type confAt struct {
	index   uint64
	conf    *raftpb.ConfState
	members []Member
}

// member is the one with a Raft id; nil if there is none.
func (c confAt) member(id uint64) *Member {
	if i := slices.IndexFunc(c.members, func(m Member) bool { return m.ID() == id }); i >= 0 {
		return &c.members[i]
	}
	return nil
}

// duties are what the shell must do, each list in its order, the lists in any.
type duties struct {
	// writes go to the store in order; when one is durable, persisted gets it back.
	writes []*raftpb.Message
	// sends go to other members, and may be lost.
	sends []*raftpb.Message
	// applies go to the hooks in order; when one is done, appliedTo gets its message.
	applies []apply
}

// apply is one of its fields.
type apply struct {
	entries  *raftpb.Message // committed entries
	snapshot uint64          // index of a received snapshot, now durable
	lead     uint64          // leader in this term, all earlier entries applied
	resign   uint64          // leader no more
	due      uint64          // a snapshot at this index is wanted
	call     func(error)     // somebody waits for this
	err      error           // for call
}

const (
	maxMessageBytes     = 1 << 20
	maxApplyBytes       = 4 << 20
	maxUncommittedBytes = 128 << 20 // above what a machine lets wait, so that it is never met first
	maxInflight         = 256
	maxKeepBytes        = 4 << 20 // of entries behind a snapshot
)

func newCore(id uint64, r *recovered, o coreOptions) (*core, error) {
	c := &core{id: id, log: newMemLog(r), opts: o, last: r.lastIndex(), applied: r.snapshot.Index, due: o.snapshotBytes, sent: map[uint64]int{}, asking: map[uint64]func(error){}}
	c.incoming = map[uint64]SnapshotMeta{}
	c.members = memberState{contacts: map[uint64]*contact{}, removed: map[uint64]uint64{}}
	c.confs = []confAt{{r.snapshot.Index, r.snapshot.Conf, r.snapshot.Members}}
	return c, c.begin()
}

// begin makes the library's node. It panics on a state that it cannot have written.
func (c *core) begin() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: raft: %v", ErrCorrupt, p)
		}
	}()
	c.rn, err = raft.NewRawNode(&raft.Config{
		ID: c.id, ElectionTick: c.opts.electionTicks, HeartbeatTick: c.opts.heartbeatTicks,
		Storage: c.log, Applied: c.applied, AsyncStorageWrites: true,
		MaxSizePerMsg: maxMessageBytes, MaxCommittedSizePerReady: maxApplyBytes,
		MaxUncommittedEntriesSize: maxUncommittedBytes, MaxInflightMsgs: maxInflight,
		CheckQuorum: true, PreVote: true, DisableProposalForwarding: true, StepDownOnRemoval: true,
		Logger: c.opts.logger,
	})
	return err
}

// conf is the membership as far as it is applied.
func (c *core) conf() confAt { return c.confs[len(c.confs)-1] }

// quorum tells whether this member is the whole quorum: it need not wait for an
// election timeout.
func (c *core) quorum() bool {
	s := c.conf().conf
	return len(s.GetVoters()) == 1 && s.GetVoters()[0] == c.id && len(s.GetVotersOutgoing()) == 0
}

// alone tells whether it is the whole group: nothing happens by the clock then.
func (c *core) alone() bool { return c.quorum() && len(c.conf().conf.GetLearners()) == 0 }

func (c *core) campaign() error { return c.rn.Campaign() }

func (c *core) tick() {
	if c.suspended() {
		return
	}
	c.rn.Tick()
	c.tickSound()
	c.askVotes()
	c.tickTransfer()
	c.retrySnapshots()
}

// snapshotPatience is how many election timeouts a leader waits for the answer to a
// snapshot that it sent.
const snapshotPatience = 5

// retrySnapshots gives up snapshots that were not answered: the library sends
// nothing more to such a member until it is told what became of it, and a lossy
// transport cannot tell.
func (c *core) retrySnapshots() {
	if c.rn.BasicStatus().RaftState != raft.StateLeader {
		clear(c.sent)
		return
	}
	c.rn.WithProgress(func(id uint64, _ raft.ProgressType, p tracker.Progress) {
		if p.State != tracker.StateSnapshot {
			delete(c.sent, id)
		} else {
			c.sent[id]++
		}
	})
	for _, id := range slices.Sorted(maps.Keys(c.sent)) {
		if c.sent[id] > snapshotPatience*c.opts.electionTicks {
			delete(c.sent, id)
			c.rn.ReportSnapshot(id, raft.SnapshotFailure)
		}
	}
}

// step takes a message from another member. One from an unknown or removed member
// is dropped.
func (c *core) step(m *raftpb.Message) error {
	if c.impossible(m) || c.suspended() {
		return nil
	}
	if m.GetType() == raftpb.MsgHeartbeat && m.GetCommit() > c.last && m.GetTerm() >= c.rn.BasicStatus().GetTerm() {
		return c.forgotten(m)
	}
	if c.stale(m) {
		return nil
	}
	// The library's errors say only that it ignored the message.
	_ = c.rn.Step(m)
	c.heard(m.GetFrom())
	c.hinted(m)
	switch m.GetType() {
	case raftpb.MsgApp, raftpb.MsgHeartbeat, raftpb.MsgSnap:
		if c.rn.BasicStatus().Lead == m.GetFrom() {
			c.led = c.now
		}
	}
	return nil
}

// stepSnapshot takes a MsgSnap whose file was fetched.
func (c *core) stepSnapshot(m *raftpb.Message, meta SnapshotMeta) {
	commit := c.rn.BasicStatus().GetCommit()
	if meta.Index > commit {
		c.incoming[meta.Index] = meta
	}
	_ = c.step(m) // no heartbeat
	if c.rn.BasicStatus().GetCommit() == commit {
		delete(c.incoming, meta.Index) // the library ignored it
	}
}

// propose appends an entry if this member leads in the term.
func (c *core) propose(term uint64, data []byte) (index uint64, err error) {
	st := c.rn.BasicStatus()
	if st.RaftState != raft.StateLeader || st.GetTerm() != term {
		return 0, ErrNotLeader
	}
	if err := c.rn.Propose(data); errors.Is(err, raft.ErrProposalDropped) {
		return 0, ErrBusy
	} else if err != nil {
		return 0, err
	}
	c.last++
	return c.last, nil
}

// persisted takes back a write that is durable now.
func (c *core) persisted(m *raftpb.Message) error {
	if s := m.GetSnapshot(); s != nil {
		meta, ok := c.incoming[s.GetMetadata().GetIndex()]
		if !ok {
			return fmt.Errorf("a snapshot of entry %d came from nowhere", s.GetMetadata().GetIndex())
		}
		maps.DeleteFunc(c.incoming, func(index uint64, _ SnapshotMeta) bool { return index <= meta.Index })
		c.log.restore(meta)
		c.confs = []confAt{{meta.Index, meta.Conf, meta.Members}}
		c.applied = meta.Index
		c.out.applies = append(c.out.applies, apply{snapshot: meta.Index})
	}
	if es := m.GetEntries(); len(es) > 0 {
		c.log.append(es)
		last := es[len(es)-1].GetIndex()
		c.unsaved = slices.DeleteFunc(c.unsaved, func(e *raftpb.Entry) bool { return e.GetIndex() <= last })
	}
	return c.respond(m)
}

// appliedTo takes back entries that the hooks have seen.
func (c *core) appliedTo(m *raftpb.Message) error {
	es := m.GetEntries()
	c.applied = max(c.applied, es[len(es)-1].GetIndex())
	if c.log.since >= c.due {
		c.due = c.log.since + c.opts.snapshotBytes // ask again only when as much came on top
		c.out.applies = append(c.out.applies, apply{due: c.applied})
	}
	if err := c.respond(m); err != nil {
		return err
	}
	if c.conf().index >= es[0].GetIndex() && c.quorum() && c.rn.BasicStatus().RaftState != raft.StateLeader {
		return c.campaign() // the others were removed, the leader among them: there is nobody to wait for
	}
	return nil
}

func (c *core) respond(m *raftpb.Message) error {
	for _, r := range m.GetResponses() {
		if r.GetTo() != c.id {
			c.send(r)
			continue
		}
		// A member that was just removed is no peer of its own any more.
		if err := c.rn.Step(r); err != nil && !errors.Is(err, raft.ErrStepPeerNotFound) {
			return fmt.Errorf("own %v: %w", r.GetType(), err)
		}
	}
	return nil
}

// ready collects the duties that the events since the last call brought.
func (c *core) ready() (duties, error) {
	for c.rn.HasReady() {
		rd := c.rn.Ready()
		st := c.rn.BasicStatus()
		leads := st.RaftState == raft.StateLeader
		if c.leading != 0 && (!leads || st.GetTerm() != c.leading) {
			c.out.applies = append(c.out.applies, apply{resign: c.leading})
			c.leading = 0
			c.lost()
		}
		c.confirmed(rd.ReadStates)
		for _, m := range rd.Messages {
			if m.GetType() == raftpb.MsgSnap {
				m.Snapshot = admit(m.GetSnapshot(), m.GetTo())
			}
			switch m.GetTo() {
			case raft.LocalAppendThread:
				c.append(m)
			case raft.LocalApplyThread:
				if err := c.apply(m); err != nil {
					return duties{}, err
				}
				es := m.GetEntries()
				if leads && c.leading == 0 && es[len(es)-1].GetTerm() == st.GetTerm() {
					c.leading = st.GetTerm()
					c.out.applies = append(c.out.applies, apply{lead: c.leading})
				}
			default:
				c.send(m)
			}
		}
	}
	d := c.out
	c.out = duties{}
	return d, nil
}

func (c *core) append(m *raftpb.Message) {
	if s := m.GetSnapshot(); s != nil {
		c.last = s.GetMetadata().GetIndex()
	}
	if es := m.GetEntries(); len(es) > 0 {
		c.last = es[len(es)-1].GetIndex()
		first := es[0].GetIndex()
		c.unsaved = slices.DeleteFunc(c.unsaved, func(e *raftpb.Entry) bool { return e.GetIndex() >= first })
		c.unsaved = append(c.unsaved, es...)
	}
	if mutant.On("quorum/answers-before-sync") {
		for _, r := range m.GetResponses() {
			if r.GetTo() != c.id {
				c.out.sends = append(c.out.sends, r)
			}
		}
	}
	c.out.writes = append(c.out.writes, m)
}

// apply hands out committed entries; changes of membership take effect at once.
func (c *core) apply(m *raftpb.Message) error {
	for _, e := range m.GetEntries() {
		var change raftpb.ConfChangeI
		switch e.GetType() {
		case raftpb.EntryNormal:
			continue
		case raftpb.EntryConfChange:
			change = &raftpb.ConfChange{}
		case raftpb.EntryConfChangeV2:
			change = &raftpb.ConfChangeV2{}
		}
		if err := proto.Unmarshal(e.GetData(), change.(proto.Message)); err != nil {
			return fmt.Errorf("%w: change of membership in entry %d: %w", ErrCorrupt, e.GetIndex(), err)
		}
		members, err := changeMembers(c.conf().members, change.AsV2())
		if err != nil {
			return fmt.Errorf("%w: change of membership in entry %d: %w", ErrCorrupt, e.GetIndex(), err)
		}
		conf := c.rn.ApplyConfChange(change)
		c.confs = append(c.confs, confAt{e.GetIndex(), conf, members})
		c.changed(e.GetIndex(), change.AsV2())
	}
	c.settleChange(m.GetEntries())
	c.out.applies = append(append(c.out.applies, apply{entries: m}), c.settled...)
	c.settled = nil
	return nil
}

// changeMembers carries out what a change says of single members; its context names
// those that it adds or whose address it changes.
func changeMembers(members []Member, c *raftpb.ConfChangeV2) ([]Member, error) {
	named, err := parseContext(c.GetContext())
	if err != nil {
		return nil, err
	}
	members = slices.Clone(members)
	for _, p := range named {
		if i := slices.IndexFunc(members, func(o Member) bool { return o.ID() == p.ID() }); i >= 0 {
			members[i] = p
		} else {
			members = append(members, p)
		}
	}
	for _, ch := range c.GetChanges() {
		if ch.GetType() == raftpb.ConfChangeRemoveNode {
			members = slices.DeleteFunc(members, func(p Member) bool { return p.ID() == ch.GetNodeId() })
		}
	}
	slices.SortFunc(members, byID)
	return members, nil
}

// snapshotMeta describes a snapshot of the state at an applied index. ok is false
// if there is one as new already.
func (c *core) snapshotMeta(index uint64) (m SnapshotMeta, ok bool, err error) {
	if index <= c.log.snapshot.Index {
		return m, false, nil
	}
	if index > c.applied {
		return m, false, fmt.Errorf("quorum: snapshot at entry %d, applied is %d", index, c.applied)
	}
	term, err := c.log.Term(index)
	if err != nil {
		return m, false, fmt.Errorf("quorum: term of entry %d: %w", index, err)
	}
	m = SnapshotMeta{Index: index, Term: term}
	for _, at := range c.confs {
		if at.index <= index {
			m.Conf, m.Members = at.conf, at.members
		}
	}
	return m, true, nil
}

// snapshotted notes that a snapshot is durable, and says up to where the log may go.
// ok is false if a newer one came first.
func (c *core) snapshotted(m SnapshotMeta) (compact uint64, ok bool) {
	if m.Index <= c.log.snapshot.Index {
		return 0, false
	}
	compact = c.log.keepFrom(m.Index, c.opts.keepEntries, maxKeepBytes)
	c.log.compact(m, compact)
	c.due = c.opts.snapshotBytes
	for len(c.confs) > 1 && c.confs[1].index <= m.Index {
		c.confs = c.confs[1:]
	}
	return compact, true
}

// tail is everything behind the snapshot, written or not, if this member leads in
// the term and that was announced: all of earlier terms is written then.
func (c *core) tail(term uint64) ([]*raftpb.Entry, error) {
	st := c.rn.BasicStatus()
	if c.leading != term || st.RaftState != raft.StateLeader || st.GetTerm() != term {
		return nil, ErrNotLeader
	}
	n := c.log.snapshot.Index - c.log.base.index
	return slices.Concat(c.log.entries[n:], c.unsaved), nil
}
