package replica

import (
	"errors"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/leat-stream/leat/internal/mutant"
	"github.com/leat-stream/leat/internal/record"
)

// A producer that is refused a batch with an error after which it tries again has others
// under way behind it. Until it has come again they are refused as it was. Told
// OUT_OF_ORDER_SEQUENCE, a producer may begin a new epoch, in which it sends anew what it
// has under way to all partitions, written or not; and a log that does not know the
// producer yet would begin with the later batch.

// gap is where the batches of a producer are missing; see refused.
type gap struct {
	epoch    int16
	sequence int32 // of the first batch that was refused
	code     *kerr.Error
	at       time.Time // it was refused last
}

// maxGaps bounds the producers of a partition whose gaps are known.
const maxGaps = 1000

// gapLasts is how long the first batch of a gap may stay away before those behind it are
// held out of order: producers come again within seconds, or never.
const gapLasts = 30 * time.Second

// gapErrors are what a batch that is in order may be refused with for a while.
var gapErrors = []*kerr.Error{kerr.KafkaStorageError, kerr.NotEnoughReplicas}

var errMissed = errors.New("the producer's batch before this one was refused, and has not come again yet")

// behind tells whether sequence a is after b; sequences wrap from 2^31-1 to 0.
func behind(a, b int32) bool {
	d := (a - b) & (1<<31 - 1)
	return d != 0 && d < 1<<30
}

// covers tells whether a batch is missing what the gap is missing, at now.
func (g gap) covers(b record.Batch, now time.Time) bool {
	return g.epoch == b.ProducerEpoch() && behind(b.BaseSequence(), g.sequence) && now.Sub(g.at) < gapLasts
}

// missed tells with what batches are refused because those before them are missing; nil
// when none are known to be. mu is held.
func (p *Partition) missed(batches []byte) *kerr.Error {
	if p.tenure == nil || len(p.tenure.gaps) == 0 {
		return nil
	}
	b, err := record.First(batches)
	if err != nil || !b.HasProducerID() {
		return nil
	}
	if g, ok := p.tenure.gaps[b.ProducerID()]; ok && g.covers(b, p.m.now()) {
		return g.code
	}
	return nil
}

// refused takes note that batches were not appended, and why; mu is held.
func (p *Partition) refused(batches []byte, code *kerr.Error) {
	b, err := record.First(batches)
	if err != nil || p.tenure == nil || !b.HasProducerID() || !slices.Contains(gapErrors, code) {
		return
	}
	t, now := p.tenure, p.m.now()
	g, known := t.gaps[b.ProducerID()]
	if known && g.covers(b, now) {
		return
	}
	if t.gaps == nil || !known && len(t.gaps) >= maxGaps {
		t.gaps = map[int64]gap{}
	}
	t.gaps[b.ProducerID()] = gap{b.ProducerEpoch(), b.BaseSequence(), code, now}
}

// strangers tells whether batches of an unknown producer may have others before them that
// are yet to come: those that were refused by this broker before it knew that it leads, or
// are under way to the leader before. A log that took the later ones would begin with them,
// and hold the earlier ones out of order. Kafka's client waits 30 s for an answer of the leader
// before. Later, an unknown producer is one that was forgotten, and any sequence starts it, as
// in Kafka; mu is held.
func (p *Partition) strangers() bool {
	return p.tenure != nil && !mutant.On("replica/unknown-starts-anywhere") && p.m.now().Sub(p.tenure.began) < p.m.tuning().StrangersWait
}

// filled takes note that batches are in the log; mu is held.
func (p *Partition) filled(batches []byte) {
	if p.tenure == nil || len(p.tenure.gaps) == 0 {
		return
	}
	b := record.Batch(batches)
	if g, ok := p.tenure.gaps[b.ProducerID()]; ok && !(g.epoch == b.ProducerEpoch() && behind(g.sequence, b.BaseSequence())) {
		delete(p.tenure.gaps, b.ProducerID())
	}
}
