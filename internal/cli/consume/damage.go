package consume

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A batch may be damaged at the leader, and whole at other replicas. The leader looks at
// it when a reader asks for the same offset again, and fetches it from another replica: so
// the reading asks again for a while before it says that the records cannot be read.

// damagePatience is for how long a partition is asked again for damaged records.
var damagePatience = 5 * time.Second // a test has its own

// damaged tells of an error that means damage: the broker says so, or the client cannot
// make sense of what it got, for which it has no error of its own. The client gives the
// errors that are of no partition without a topic.
func damaged(topic string, err error) bool {
	var (
		kafka *kerr.Error
		loss  *kgo.ErrDataLoss
		large *kgo.ErrDecompressTooLarge
		group *kgo.ErrGroupSession
	)
	switch {
	case errors.As(err, &kafka):
		return kafka == kerr.CorruptMessage
	case topic == "", errors.As(err, &loss), errors.As(err, &large), errors.As(err, &group), errors.Is(err, kgo.ErrClientClosed),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return false
	}
	return true
}

// damage is what is damaged of what came, and where; spent tells that it has been asked for
// damagePatience. A partition of which records came has got on.
func (p *plan) damage(cl *kgo.Client, fetches kgo.Fetches, now time.Time) (err error, spent bool) {
	fetches.EachPartition(func(fp kgo.FetchTopicPartition) {
		if n := len(fp.Records); n > 0 {
			delete(p.broken[fp.Topic], fp.Partition)
			note(&p.next, fp.Topic, fp.Partition, fp.Records[n-1].Offset+1)
		}
	})
	for _, fe := range fetches.Errors() {
		if !damaged(fe.Topic, fe.Err) {
			continue
		}
		since, again := p.broken[fe.Topic][fe.Partition]
		if !again {
			since = now
			note(&p.broken, fe.Topic, fe.Partition, now)
		}
		if !spent {
			err = fmt.Errorf("%s-%d cannot be read from offset %d on: %w", fe.Topic, fe.Partition, p.at(cl, fe.Topic, fe.Partition), fe.Err)
			spent = now.Sub(since) >= damagePatience
		}
	}
	return err, spent
}

// note keeps something of a partition.
func note[V any](m *map[string]map[int32]V, topic string, partition int32, v V) {
	if *m == nil {
		*m = map[string]map[int32]V{}
	}
	if (*m)[topic] == nil {
		(*m)[topic] = map[int32]V{}
	}
	(*m)[topic][partition] = v
}

// at is the offset that the reading of a partition has come to.
func (p *plan) at(cl *kgo.Client, topic string, partition int32) int64 {
	if next, ok := p.next[topic][partition]; ok {
		return next
	}
	if of, ok := cl.CommittedOffsets()[topic][partition]; ok { // of the group
		return of.Offset
	}
	from, _ := p.from.Lookup(topic, partition)
	return from.At
}
