package replica

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/leat-stream/leat/internal/mutant"
)

// tenure is what the leader of a partition knows in one leader epoch; Partition.mu
// guards it. A new epoch begins with nothing known of the followers.
type tenure struct {
	epoch     int32
	began     time.Time
	followers map[int32]*follower // by broker id; never ranged over
	change    *change             // of the in-sync set, not yet settled; nil when there is none
	refused   time.Time           // when the controller last refused a change
	doubts    map[batchKey]doubt  // when batches first seemed out of order; see outOfOrder
	gaps      map[int64]gap       // of producers; see refused
	ahead     map[int64]doubt     // when readers first asked for these offsets; see beyond
	toldFull  bool                // an operator was told that there is no room to lead
}

// follower is one follower as its leader knows it.
type follower struct {
	end         int64 // it has everything below, synced where the partition is durable; -1 unknown
	brokerEpoch int64 // of the broker that fetched last, -1 unknown
	caughtUp    time.Time
	fetched     time.Time    // its last fetch
	session     FetchSession // of that
	followed    time.Time    // it followed this leader at some time after; see sent
	leaderEnd   int64        // where the leader's log ended at that fetch
	start       int64        // where its log starts, durably; -1 unknown
	toldHW      int64        // the high watermark that it was last told
	toldStart   int64        // where this log starts, as it was last told
	sentFrom    int64        // where the records began that it was sent last; -1 none
	repeats     int          // how often it has asked for the same again since
	full        bool         // its last fetch said that it has no room,
	fullAt      time.Time    // or the last one that did
}

func newTenure(r *role, self int32, now time.Time) *tenure {
	t := &tenure{epoch: r.leaderEpoch, began: now, followers: map[int32]*follower{}}
	for _, id := range r.isr {
		if id != self {
			t.follower(id).caughtUp = now // its time to fetch begins
		}
	}
	return t
}

func (t *tenure) follower(id int32) *follower {
	f := t.followers[id]
	if f == nil {
		f = &follower{end: -1, brokerEpoch: -1, leaderEnd: -1, start: -1, toldHW: -1, toldStart: -1, sentFrom: -1}
		t.followers[id] = f
	}
	return f
}

// end is how far a follower has come, -1 when it has not fetched in this epoch.
func (t *tenure) end(id int32) int64 {
	if f := t.followers[id]; f != nil {
		return f.end
	}
	return -1
}

// start is where a follower's log starts, -1 when it has not fetched in this epoch.
func (t *tenure) start(id int32) int64 {
	if f := t.followers[id]; f != nil {
		return f.start
	}
	return -1
}

// advance moves the high watermark as far as the in-sync set allows: to the least end
// over its members and, while a change of it is not settled, over the members that it
// would have. It is called with mu held; the caller runs the returned wake-ups after
// unlocking.
//
// The high watermark stands still while the in-sync set is smaller than
// min.insync.replicas (KIP-966): what readers saw then survives any election that
// the eligible leader replicas allow.
func (p *Partition) advance(r *role) wakeups {
	if len(r.isr) < r.minISR && !mutant.On("replica/hw-below-min-isr") || p.tenure == nil {
		return wakeups{}
	}
	end := p.localEnd(r)
	if mutant.On("replica/hw-counts-written") {
		end = p.log.EndOffset()
	}
	least := func(ids []int32) {
		for _, id := range ids {
			if id != p.m.opt.NodeID {
				end = min(end, p.tenure.end(id))
			}
		}
	}
	c := p.tenure.change
	if !(c != nil && mutant.On("replica/shrink-counts-early")) {
		least(r.isr)
	}
	if c != nil && !mutant.On("replica/hw-without-proposed") {
		least(c.isr)
	}
	return p.raise(r, end)
}

// grown is called with mu held after an append by the leader: a relaxed partition
// counts it at once, and the followers' long polls end.
func (p *Partition) grown(r *role) (wake wakeups) {
	if !r.Durable {
		wake = p.advance(r)
	}
	if wake.fire == nil {
		wake.fire = p.pollers.all()
	}
	return wake
}

// fetchedBy takes a follower's fetch, which states that it has everything below
// offset and was found to agree with this log up to there. The error is what the
// follower is told instead of records.
func (p *Partition) fetchedBy(leaderEpoch int32, l *FetchLimits, part *FetchPart) *kerr.Error {
	p.mu.Lock()
	r, err := p.leadsReplica(leaderEpoch, l)
	if err != nil {
		p.mu.Unlock()
		return err
	}
	f, now, end, offset := p.tenure.follower(l.Replica), p.m.now(), p.log.EndOffset(), part.Offset
	switch {
	case offset >= end:
		f.caughtUp = now
	case offset >= f.leaderEnd && f.leaderEnd >= 0:
		if f.fetched.After(f.caughtUp) {
			f.caughtUp = f.fetched // it has all there was at its last fetch
		}
	}
	f.end, f.brokerEpoch, f.leaderEnd = offset, l.ReplicaEpoch, end
	if l.Session.Epoch == 0 || part.LogStart < f.start {
		f.toldStart = -1 // what it was told got lost, or it had to begin anew
	}
	f.start = part.LogStart
	f.sent(l.Session, now)
	f.full = part.NoRoom
	suspect := f.repeated(offset)
	wake := p.advance(r)
	p.expand(r, l.Replica, &wake)
	p.deleted(r, &wake)
	p.mu.Unlock()
	wake.run()
	if suspect {
		p.m.counters.suspected.Add(1)
		p.log.Suspect(offset)
	}
	return nil
}

// leadsReplica checks that this broker leads in a leader epoch the replica that fetches. It
// refuses an earlier incarnation of a broker (KIP-903), and one that is no replica; mu is held.
func (p *Partition) leadsReplica(leaderEpoch int32, l *FetchLimits) (*role, *kerr.Error) {
	r := p.st.Load()
	if !r.leading || p.tenure == nil || r.leaderEpoch != leaderEpoch {
		return r, kerr.NotLeaderForPartition
	}
	if !slices.Contains(r.replicas, l.Replica) {
		return r, kerr.UnknownLeaderEpoch // the metadata here may be behind
	}
	known := p.tenure.follower(l.Replica).brokerEpoch
	if b := p.m.image().Broker(l.Replica); b != nil {
		known = max(known, b.Epoch)
	}
	if l.ReplicaEpoch < known && !mutant.On("replica/stale-incarnation-fetches") {
		return r, kerr.NotLeaderForPartition
	}
	return r, nil
}

// news tells whether a follower has not been told yet of the high watermark, or of a log
// start that is not its own.
func (p *Partition) news(id int32) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tenure == nil {
		return false
	}
	f, start := p.tenure.follower(id), p.log.StartOffset()
	return f.toldHW < p.hw.Load() || f.start < start && f.toldStart < start
}

// told notes which high watermark a follower is about to be told, and what it is sent.
func (p *Partition) told(id int32, offset int64, what *Fetched) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tenure == nil {
		return
	}
	f := p.tenure.follower(id)
	if what.News {
		f.toldHW, f.toldStart = what.HighWatermark, what.LogStart
	}
	if what.Run != nil {
		f.sentFrom = offset
	}
}

// suspicious is how often a follower asks for the same again until the records are
// checked: once may be a broken connection.
const suspicious = 2

// repeated takes a fetch of a follower, and tells whether what it was sent should be
// checked. A read looks at no checksum but a follower does, and all that the leader sees of
// damage is that the follower asks again.
func (f *follower) repeated(offset int64) bool {
	again := f.sentFrom == offset
	f.sentFrom = -1
	if !again {
		f.repeats = 0
		return false
	}
	f.repeats++
	return f.repeats == suspicious
}

// FollowerInfo tells how far a follower has come, as its leader knows it.
type FollowerInfo struct {
	ID          int32
	End         int64 // -1 unknown
	Start       int64 // where its log starts, as it last told
	BrokerEpoch int64 // of the incarnation that told it, -1 unknown
	CaughtUp    time.Time
	InSync      bool
	Wished      bool // in the in-sync set that this leader wishes for
}

// Followers lists the followers in the order of the replicas; nil when this broker
// does not lead.
func (p *Partition) Followers() []FollowerInfo {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.st.Load()
	if !r.leading || p.tenure == nil {
		return nil
	}
	var all []FollowerInfo
	for _, id := range r.replicas {
		if id == p.m.opt.NodeID {
			continue
		}
		f := FollowerInfo{ID: id, End: -1, BrokerEpoch: -1, InSync: slices.Contains(r.isr, id)}
		if c := p.tenure.change; c != nil {
			f.Wished = slices.Contains(c.isr, id)
		}
		if known := p.tenure.followers[id]; known != nil {
			f.End, f.Start, f.BrokerEpoch, f.CaughtUp = known.end, known.start, known.brokerEpoch, known.caughtUp
		}
		all = append(all, f)
	}
	return all
}
