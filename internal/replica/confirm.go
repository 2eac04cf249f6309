package replica

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/leat-stream/leat/internal/record"
)

// A leader that was deposed and does not know it yet lacks what its successor has
// acknowledged since, so the valid next batch of a producer looks out of order to it.
// OUT_OF_ORDER_SEQUENCE ends a producer; so it is told only by a leader that is known to
// have led after the batch came in: what went before the batch was acknowledged before
// that, and is in its log or nowhere. Until then the answer is NOT_LEADER_OR_FOLLOWER,
// and the client asks again.
//
// Who leads next was in the in-sync set: an eligible replica outside of it is elected
// only where the set is smaller than min.insync.replicas. So each other member has to be
// heard of, in a fetch that it sent after the batch came in.

// batchKey tells one batch of a producer.
type batchKey struct {
	producer int64
	epoch    int16
	sequence int32
}

func keyOf(b record.Batch) batchKey {
	return batchKey{b.ProducerID(), b.ProducerEpoch(), b.BaseSequence()}
}

// maxDoubts bounds the batches of a partition about whose order there is doubt.
const maxDoubts = 1000

// doubtFades is how long after it was last asked about a doubt begins anew: what is sent again
// only then, as after a pause of this process, may rest on what a successor has told since.
const doubtFades = 5 * time.Second

// doubt is about something that was asked for.
type doubt struct {
	since time.Time // when it came in first
	asked time.Time // and last
}

// since is when what comes in now came in first.
func since[K comparable](doubts *map[K]doubt, key K, now time.Time) time.Time {
	d, known := (*doubts)[key]
	if !known || now.Sub(d.asked) > doubtFades {
		d.since = now
	}
	if d.asked = now; *doubts == nil || !known && len(*doubts) >= maxDoubts {
		*doubts = map[K]doubt{}
	}
	(*doubts)[key] = d
	return d.since
}

// FetchSession is a fetch session and its epoch in one request; zero outside of any.
type FetchSession struct{ ID, Epoch int32 }

// sent notes a fetch that comes in now. A follower sends the next fetch of a session when
// it has the answer to the one before: it followed this leader at some time after that
// one came in.
func (f *follower) sent(s FetchSession, now time.Time) {
	if s.ID != 0 && s.ID == f.session.ID && s.Epoch > f.session.Epoch {
		f.followed = f.fetched
	}
	f.session, f.fetched = s, now
}

// ledSince tells whether this broker surely led the partition at some time after t; mu is held.
func (p *Partition) ledSince(r *role, t time.Time) bool {
	if len(r.isr) < r.minISR {
		return false
	}
	heard := func(ids []int32) bool {
		for _, id := range ids {
			if id == p.m.opt.NodeID {
				continue
			}
			if f := p.tenure.followers[id]; f == nil || !f.followed.After(t) {
				return false
			}
		}
		return true
	}
	return heard(r.isr) && (p.tenure.change == nil || heard(p.tenure.change.isr))
}

// outOfOrder is what a producer is told when the log took its batch for out of order; mu
// is held.
func (p *Partition) outOfOrder(r *role, key batchKey, res Produced) (Produced, wakeups) {
	t := p.tenure
	if len(r.replicas) < 2 || t == nil {
		return res, wakeups{}
	}
	if p.ledSince(r, since(&t.doubts, key, p.m.now())) {
		delete(t.doubts, key)
		return res, wakeups{}
	}
	out := Refused(kerr.NotLeaderForPartition, res.Cause)
	out.Leadership = Leadership{r.leader, r.leaderEpoch}
	return out, wakeups{fire: p.pollers.all()} // followers fetch again at once
}

// beyond tells whether a reader's offset, which is above the log's end, is surely out of range.
// A reader may have it from this leader's successor, whichever leader epoch it names: from its
// group, or before its metadata became old. Told that it is out of range, it would begin
// elsewhere, behind or ahead. Until this broker is known to have led after the reader first
// asked, it is told NOT_LEADER_OR_FOLLOWER, and asks again.
func (p *Partition) beyond(part *FetchPart) bool {
	p.mu.Lock()
	r, t := p.st.Load(), p.tenure
	if t == nil || len(r.replicas) < 2 {
		p.mu.Unlock()
		return true
	}
	if p.ledSince(r, since(&t.ahead, part.Offset, p.m.now())) {
		delete(t.ahead, part.Offset)
		p.mu.Unlock()
		return true
	}
	wake := wakeups{fire: p.pollers.all()} // followers fetch again at once
	p.mu.Unlock()
	wake.run()
	return false
}
