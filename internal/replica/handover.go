package replica

import (
	"log/slog"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ProducersTag is a field of Leat of a partition in a FetchResponse, for a follower that
// finds nothing at the leader of what it has: the producers as the leader knows them where
// its log starts (decision 0008).
const ProducersTag = 20_000

// toldProducers is what an answer has of them; nil when it has nothing.
func toldProducers(in *kmsg.FetchResponseTopicPartition) (state []byte) {
	in.UnknownTags.Each(func(tag uint32, b []byte) {
		if tag == ProducersTag {
			state = b
		}
	})
	return state
}

// handOver adds what is known of producers to the answer that has a follower start anew. It
// may be large, and has to be read: an answer has that of one partition, and says nothing at
// all of the others, until the follower asks again. A high watermark, or a start, it would take
// for one of the log that it has. One that cannot be told starts all the same: it would else
// never come back.
func (p *Partition) handOver(f Fetched, follower int32, before bool) (Fetched, bool) {
	if !p.log.KnowsProducers() {
		return f, before
	}
	if before {
		return RefusedFetch(nil), true // nothing is refused, either
	}
	state, err := p.log.ProducersAt(f.LogStart)
	if err != nil {
		p.m.event(slog.LevelWarn, ProducersUntold{p.id, follower, f.LogStart, err})
	}
	f.Producers = state
	return f, true
}
