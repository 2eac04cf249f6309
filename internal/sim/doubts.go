package sim

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/log"
	"github.com/leat-stream/leat/internal/replica"
)

// doubt is a wish for an in-sync set that was sent and not answered: a request that is
// under way may yet be carried out.
type doubt struct {
	isr []int32
	at  time.Duration
}

// doubtLasts is for how long a request may be under way.
const doubtLasts = 60 * time.Second

func (c *Cluster) unanswered(req *kmsg.AlterPartitionRequest) {
	if c.doubts == nil {
		c.doubts = map[wishOf][]doubt{}
	}
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			key := wishOf{log.LogID{TopicID: t.TopicID, Partition: p.Partition}, p.LeaderEpoch, p.PartitionEpoch}
			d := doubt{at: c.Now()}
			for _, m := range p.NewEpochISR {
				d.isr = append(d.isr, m.BrokerID)
			}
			c.doubts[key] = append(c.doubts[key], d)
		}
	}
}

// doubted are the members of all sets of which it is not known whether they follow what
// a leader knows.
func (c *Cluster) doubted(id log.LogID, st replica.Standing) (members []int32) {
	id.Topic = ""
	for _, d := range c.doubts[wishOf{id, st.LeaderEpoch, st.PartitionEpoch}] {
		if c.Now()-d.at < doubtLasts {
			members = append(members, d.isr...)
		}
	}
	return members
}
