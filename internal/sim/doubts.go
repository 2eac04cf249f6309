package sim

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/log"
	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/replica"
)

// doubt is a wish for an in-sync set that was sent and not answered: a request that is
// under way may yet be carried out.
type doubt struct {
	isr    []int32
	epochs []int64 // of the members' brokers
	at     time.Duration
	void   bool // it can never be carried out any more
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
				d.isr, d.epochs = append(d.isr, m.BrokerID), append(d.epochs, m.BrokerEpoch)
			}
			c.doubts[key] = append(c.doubts[key], d)
		}
	}
}

// doubted are the members of all sets of which it is not known whether they follow what
// a leader knows, whose metadata is img.
func (c *Cluster) doubted(id log.LogID, st replica.Standing, img *metadata.Image) (members []int32) {
	id.Topic = ""
	key := wishOf{id, st.LeaderEpoch, st.PartitionEpoch}
	for i := range c.doubts[key] {
		d := &c.doubts[key][i]
		if d.void = d.void || d.surpassed(key, img); !d.void && c.Now()-d.at < doubtLasts {
			members = append(members, d.isr...)
		}
	}
	return members
}

// surpassed: the metadata has a later incarnation of a member, and not the wish. What was
// decided before that incarnation registered would be there.
func (d *doubt) surpassed(key wishOf, img *metadata.Image) bool {
	t := img.TopicByID(key.id.TopicID)
	if t == nil {
		return false
	}
	if p := t.Partition(key.id.Partition); p == nil || p.LeaderEpoch != key.leaderEpoch || p.PartitionEpoch != key.partitionEpoch {
		return false
	}
	for i, id := range d.isr {
		if b := img.Broker(id); b != nil && d.epochs[i] >= 0 && b.Epoch > d.epochs[i] {
			return true
		}
	}
	return false
}
