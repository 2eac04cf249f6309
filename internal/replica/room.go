package replica

import (
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/log"
	"github.com/leat-stream/leat/internal/mutant"
)

// A full disk must not hold up those that have room:
//
//   - a leader whose append or sync finds no room asks the controller for another leader, with a wish
//     for the in-sync set as it is (metadata.SetHandOver). Producers get KAFKA_STORAGE_ERROR
//     and come again; where nobody else can lead, it is asked again while appends fail
//     (turns.go). What needs all in sync (acks=all) asks for none where this replica could not leave
//     the set then: it would wait for it under the other leader, and time out instead of being told
//     at once;
//   - a follower that finds none says so with its next fetch, at once. The leader
//     takes it out of the in-sync set, in the way in which it takes out one that lags, and
//     suspects no damage though the same is asked for again and again.
//
// The follower goes on trying; with the first append that succeeds it says so no more, and
// joins as others do. A replica that has nothing to append is not known to have no room,
// stays in sync, and may be elected, for that matter: it hands over when it is written to.

// noRoomTag is a field of Leat, without content, of a partition in a FetchRequest: the
// follower has no room for what it is sent.
const noRoomTag = 20_000

// roomCalm is for how long a follower must not have said that it has no room before it
// joins again: one at the brim would else come and go with every batch.
const roomCalm = 2 * time.Second

// SaysNoRoom tells whether a partition of a follower's fetch says that there is no room for
// it. What anybody but a replica says is not looked at; see lacksRoom.
func SaysNoRoom(ask *kmsg.FetchRequestTopicPartition) (so bool) {
	ask.UnknownTags.Each(func(tag uint32, _ []byte) { so = so || tag == noRoomTag })
	return so
}

func sayNoRoom(ask *kmsg.FetchRequestTopicPartition) { ask.UnknownTags.Set(noRoomTag, nil) }

// noRoom tells whether the replica found no room for its last records.
func (p *Partition) noRoom() bool { return p.full.Load() || p.stuck.Load() }

// foundNone takes note in one of the two that there is no room, and tells whether that is new;
// mu is held.
func (p *Partition) foundNone(what *atomic.Bool) (news bool) {
	if news = !p.noRoom(); news {
		p.m.counters.full.Add(1)
	}
	what.Store(true)
	return news
}

// yield asks for another leader when an append or a sync failed since there is no room, if that
// helps those who write with these acks; mu is held.
func (p *Partition) yield(r *role, what *atomic.Bool, acks int16, cause error, wake *wakeups) {
	if !log.IsFull(cause) {
		return
	}
	p.foundNone(what)
	t, now, least := p.tenure, p.m.now(), 1
	if acks == -1 {
		least = r.minISR
	}
	if t == nil || t.change != nil || len(r.isr) <= least || now.Sub(t.refused) < isrRefused || !p.mayYield(r, now) {
		return
	}
	if p.propose(r, slices.Clone(r.isr), wake); t.change == nil {
		return
	}
	t.change.yield, t.change.before = true, p.yielded.Load()
	p.yielded.Store(&yielded{at: now, end: p.log.EndOffset()})
	if !t.toldFull {
		t.toldFull = true
		wake.tell = func() { p.m.event(slog.LevelWarn, HandsOver{p.id, cause}) }
	}
}

// notYielded takes note that a wish came to nothing, since something else changed or one of its
// members is gone: another leader may be asked for again at once. mu is held.
func (p *Partition) notYielded(c *change) {
	if c.yield {
		p.yielded.Store(c.before)
	}
}

// notGranted takes note that nobody else could lead: leadership did not go round, and another
// leader is asked for again after yieldPause. mu is held.
func (p *Partition) notGranted(c *change) {
	if y := p.yielded.Load(); c.yield && y != nil {
		p.yielded.Store(&yielded{at: y.at, end: y.end, turn: y.at})
	}
}

// lacks takes note that a follower found no room; mu is held.
func (p *Partition) lacks(leader int32, what *atomic.Bool, cause error, wake *wakeups) {
	if p.foundNone(what) {
		wake.tell = func() { p.m.event(slog.LevelWarn, NoRoom{p.id, leader, cause}) }
	}
}

// failed is what comes of an error of a follower in a leader epoch; mu is not held.
func (p *Partition) failed(leader, epoch int32, err error) verdict {
	if !log.IsFull(err) {
		p.complain(slog.LevelWarn, ReplicaFailed{p.id, leader, err})
		return trouble
	}
	var wake wakeups
	p.mu.Lock()
	gone := p.followed(leader, epoch) == nil
	if !gone {
		p.lacks(leader, &p.full, err, &wake)
	}
	p.mu.Unlock()
	if wake.run(); gone {
		return stale
	}
	return noRoom
}

// cannotSync is told by the log directory that what was appended cannot be made durable. A
// follower waits for that no longer: it says so, and states what it has synced.
func (p *Partition) cannotSync(err error) {
	p.mu.Lock()
	r := p.st.Load()
	if r == nil || !r.Durable || p.log.SyncedOffset() >= p.log.EndOffset() { // nobody waits for it
		p.mu.Unlock()
		return
	}
	var wake wakeups
	if r.leading {
		p.yield(r, &p.stuck, -1, err, &wake) // who wants less was told when it was appended
	} else {
		p.lacks(r.leader, &p.stuck, err, &wake)
	}
	e := p.fetching
	p.mu.Unlock()
	wake.run()
	if e != nil {
		e.f.stuck(e)
	}
}

// stuck ends that the next request waits for a partition that cannot be synced.
func (f *fetcher) stuck(e *fetching) {
	f.mu.Lock()
	if e.need == 0 || !e.p.stuck.Load() {
		f.mu.Unlock()
		return
	}
	e.need = 0
	f.unsynced--
	f.list(e)
	f.mu.Unlock()
	f.pump()
}

// lacksRoom takes a follower's word that it has no room. The error is what it is told
// instead of records.
func (p *Partition) lacksRoom(leaderEpoch int32, l *FetchLimits) *kerr.Error {
	p.mu.Lock()
	r, err := p.leadsReplica(leaderEpoch, l)
	if err != nil {
		p.mu.Unlock()
		return err
	}
	var wake wakeups
	f := p.tenure.follower(l.Replica)
	f.full, f.fullAt, f.sentFrom = true, p.m.now(), -1 // what it was sent had no room
	p.exclude(r, l.Replica, &wake)
	p.mu.Unlock()
	wake.run()
	return nil
}

// exclude wishes a follower out of the in-sync set that has no room, unless writes would
// stop for that; mu is held.
func (p *Partition) exclude(r *role, id int32, wake *wakeups) {
	t := p.tenure
	if t.change != nil || !slices.Contains(r.isr, id) || len(r.isr) <= r.minISR || p.m.now().Sub(t.refused) < isrRefused ||
		mutant.On("replica/full-stays-in-sync") {
		return
	}
	p.propose(r, slices.DeleteFunc(slices.Clone(r.isr), func(o int32) bool { return o == id }), wake)
}

// HandsOver tells that a leader has no room for records, and asks for another leader.
type HandsOver struct {
	Log log.LogID
	Err error
}

func (e HandsOver) String() string {
	return fmt.Sprintf("partition %s: there is no room for what producers send; another replica is asked to lead: %v", e.Log, e.Err)
}

// NoRoom tells that a follower has no room for its leader's records. It is tried again.
type NoRoom struct {
	Log    log.LogID
	Leader int32
	Err    error
}

func (e NoRoom) String() string {
	return fmt.Sprintf("partition %s: there is no room to follow leader %d, which goes on without this replica until there is: %v", e.Log, e.Leader, e.Err)
}
