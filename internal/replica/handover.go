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

// producersAt is what the log knows of producers at its start. A follower that is not told
// of them starts all the same: it would else never come back.
func (p *Partition) producersAt(start int64) []byte {
	state, err := p.log.ProducersAt(start)
	if err != nil {
		p.complain(slog.LevelWarn, ProducersUntold{p.id, start, err})
	}
	return state
}
