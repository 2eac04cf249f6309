package metadata

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// handOverTag is a field of Leat, without content, of a partition in an AlterPartition
// request: its leader has no room for more records, and asks for another leader. The in-sync
// set is the one that the request names, the leader included: it has all that there is.
// A controller that does not know the field takes the request for an ordinary one.
const handOverTag = 20_000

// SetHandOver has a leader's wish for an in-sync set ask for another leader, too.
func SetHandOver(ask *kmsg.AlterPartitionRequestTopicPartition) {
	ask.UnknownTags.Set(handOverTag, nil)
}

func handsOver(ask *kmsg.AlterPartitionRequestTopicPartition) (so bool) {
	ask.UnknownTags.Each(func(tag uint32, _ []byte) { so = so || tag == handOverTag })
	return so
}

// heir is who leads instead of a leader that hands over: the next of the replicas behind it
// that is in sync with it, can lead, and is to stay; NoLeader when there is none. The next
// one, and not the first, so that all have had their turn before the same is asked again:
// there may be no room at the heir, either.
func (c *Controller) heir(p *Partition, isr []int32) int32 {
	n, at := len(p.Replicas), slices.Index(p.Replicas, p.Leader)
	for i := 1; i < n; i++ {
		r := p.Replicas[(at+i)%n]
		if slices.Contains(p.ISR, r) && slices.Contains(isr, r) && c.canLead(p, r) && !slices.Contains(p.Removing(), r) {
			return r
		}
	}
	return NoLeader
}
