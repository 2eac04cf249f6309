package replica

import (
	"cmp"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/log"
	"github.com/leat-stream/leat/internal/mutant"
)

// A damaged replica is mended in this order, which a stop at any point leaves as it is,
// since the log itself remembers what it refuses:
//
//  1. it is marked, and fetches no more;
//  2. the controller is told, hands leadership over, takes the replica out of the in-sync
//     set and the eligible ones, and begins a new leader epoch;
//  3. once the metadata says so here, nobody counts on the replica: it drops everything
//     from the damage on and follows again, and joins the in-sync set as others do.
//
// Where nobody else has the records it leads on: what is damaged is refused, the rest is
// served, until another replica is in sync. One that lacks what is damaged can never be,
// unless the topic allows records to be given up: then it is served around the damage.

// damage marks a replica that refuses some of its records; Partition.mu guards it.
type damage struct {
	// epoch is the leader epoch in which it was found. Fetches of that epoch may be under
	// way, or wishes of a leader that heard of them; no later one has heard of this replica.
	epoch int32
	told  int32 // partition epoch under which the controller last answered; -1 none
	alone bool  // it was told that nobody else has the records
	given int64 // end of the last range that was told to be given up
}

// lostPause is how long a report that failed waits before it is sent again.
const lostPause = 200 * time.Millisecond

// maxLost bounds the partitions of one report.
const maxLost = 5000

// Damaged is told, at any time, that the log of a replica refuses records.
func (m *Manager) Damaged(id log.LogID) {
	m.mu.Lock()
	p, _ := m.Find(Ref{TopicID: id.TopicID, Index: id.Partition})
	if p == nil || p.id != id {
		m.hurt[id] = struct{}{} // not opened yet
		m.mu.Unlock()
		return
	}
	if len(p.log.Damaged()) == 0 { // it is mended already
		m.mu.Unlock()
		return
	}
	p.mu.Lock()
	if p.damage == nil {
		p.damage = &damage{epoch: p.st.Load().leaderEpoch, told: -1}
	}
	p.mu.Unlock()
	m.steer(p, p.st.Load())
	m.mu.Unlock()
	m.pump()
	m.repairs.add(p)
}

// repairs looks after the damaged replicas of this broker.
type repairs struct {
	m *Manager

	mu      sync.Mutex
	list    []*Partition
	due     bool // a look is due
	looking bool
	again   bool // something happened during the look
	asking  bool // a report is under way
	timer   env.Timer
}

// add asks for a look at a damaged replica. It runs beside the caller: cutting a log must
// not hold up the metadata.
func (r *repairs) add(p *Partition) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Contains(r.list, p) {
		r.list = append(r.list, p)
	}
	r.wake()
}

// wake asks for a look; mu is held.
func (r *repairs) wake() {
	r.again = true
	if !r.due && !r.looking {
		r.due = true
		r.m.opt.Clock.AfterFunc(0, r.look)
	}
}

// later asks for a look after a pause.
func (r *repairs) later() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.timer != nil {
		return
	}
	r.timer = r.m.opt.Clock.AfterFunc(lostPause, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.timer = nil
		r.wake()
	})
}

// look does for every damaged replica what can be done now.
func (r *repairs) look() {
	r.mu.Lock()
	r.due = false
	if r.looking || r.m.stopping.Load() {
		r.mu.Unlock()
		return
	}
	r.looking = true
	for r.again {
		r.again = false
		list := slices.Clone(r.list)
		r.list = nil // who is damaged anew comes in again
		r.mu.Unlock()
		left := r.each(list)
		r.mu.Lock()
		for _, p := range left {
			if !slices.Contains(r.list, p) {
				r.list = append(r.list, p)
			}
		}
	}
	r.looking = false
	r.mu.Unlock()
}

// report is one partition of a report.
type report struct {
	p     *Partition
	d     *damage
	epoch int32 // of the partition
}

// each goes through damaged replicas, and gives those that still are.
func (r *repairs) each(list []*Partition) (left []*Partition) {
	slices.SortFunc(list, func(a, b *Partition) int {
		return cmp.Or(strings.Compare(a.id.Topic, b.id.Topic), cmp.Compare(a.id.Partition, b.id.Partition))
	})
	var due []report
	for _, p := range list {
		d, epoch, ask := p.mend()
		if d == nil {
			r.m.mu.Lock()
			r.m.steer(p, p.st.Load())
			r.m.mu.Unlock()
			continue
		}
		left = append(left, p)
		if ask && len(due) < maxLost {
			due = append(due, report{p, d, epoch})
		}
	}
	r.m.pump()
	r.ask(due)
	return left
}

// mend drops what is damaged if nobody counts on the replica; then it is whole, and nil is
// given. Otherwise ask tells whether the controller has to be told.
func (p *Partition) mend() (left *damage, epoch int32, ask bool) {
	self := p.m.opt.NodeID
	p.mu.Lock()
	d, r := p.damage, p.st.Load()
	if d == nil {
		p.mu.Unlock()
		return nil, 0, false
	}
	counted := slices.Contains(r.isr, self) || slices.Contains(r.eligible, self)
	leads := r.leader == self
	early := mutant.On("replica/damage-untold")
	if leads && mutant.On("replica/damaged-leader-drops") {
		leads, early = false, true
	}
	if r.leader < 0 || leads || !early && (counted || r.leaderEpoch <= d.epoch) {
		others := func(id int32) bool { return id != self }
		held := slices.ContainsFunc(r.isr, others) || slices.ContainsFunc(r.eligible, others)
		anew := held && (counted || r.leader == self) || r.leader == self && !d.alone // elected though it lacks records
		ask = d.told < 0 || anew && r.partitionEpoch > d.told
		p.mu.Unlock()
		return d, r.partitionEpoch, ask
	}
	from, list := p.log.EndOffset(), p.log.Damaged()
	end, err := p.log.TruncateDamage()
	if err != nil {
		p.mu.Unlock()
		p.complain(slog.LevelWarn, ReplicaFailed{p.id, r.leader, err})
		p.m.repairs.later()
		return d, r.partitionEpoch, false
	}
	p.cut(end)
	p.damage = nil
	p.mu.Unlock()
	p.m.counters.mended.Add(1)
	p.m.event(slog.LevelWarn, Refetched{p.id, list, end, from, r.leader})
	p.wakeFetches()
	return nil, 0, false
}

// ask tells the controller, one report at a time.
func (r *repairs) ask(due []report) {
	r.mu.Lock()
	if len(due) == 0 || r.asking || r.m.opt.Lost == nil {
		r.mu.Unlock()
		return
	}
	r.asking = true
	r.mu.Unlock()
	refs := make([]Ref, len(due))
	for i, d := range due {
		refs[i] = Ref{TopicID: d.p.id.TopicID, Index: d.p.id.Partition}
	}
	r.m.counters.lostReports.Add(1)
	r.m.opt.Lost(refs, func(kept []Ref, err error) {
		if err == nil {
			for i, d := range due {
				d.answered(slices.Contains(kept, refs[i]))
			}
		}
		r.mu.Lock()
		r.asking = false
		if err == nil {
			r.wake()
		}
		r.mu.Unlock()
		if err != nil {
			r.later()
		}
	})
}

// answered takes note that the controller knows; kept: the replica leads on.
func (d *report) answered(kept bool) {
	p := d.p
	p.mu.Lock()
	tell := p.damage == d.d && kept && !d.d.alone
	d.d.told, d.d.alone = d.epoch, kept
	p.mu.Unlock()
	if tell {
		p.m.event(slog.LevelError, DamagedAlone{p.id, p.log.Damaged()})
	}
}

// pass tells where a follower goes on that asks this leader for damaged records which nobody
// else has: behind them, if the topic allows that they are lost; else at the same offset.
func (p *Partition) pass(r *role, offset int64) int64 {
	if !r.Unclean || len(r.isr) > 1 || len(r.eligible) > 0 {
		return offset
	}
	behind := offset
	for to, damaged := p.log.DamagedTo(behind); damaged; to, damaged = p.log.DamagedTo(behind) {
		behind = to
	}
	p.mu.Lock()
	d := p.damage
	ok := d != nil && d.alone
	tell := ok && behind > d.given
	if tell {
		d.given = behind
	}
	p.mu.Unlock()
	if !ok {
		return offset
	}
	if tell {
		p.m.event(slog.LevelError, DamageGivenUp{p.id, log.Range{From: offset, To: behind}})
	}
	return behind
}

// Mending tells whether the replica is damaged and not yet mended.
func (p *Partition) Mending() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.damage != nil
}
