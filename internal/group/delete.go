package group

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/machine"
)

// Again is the answer to a request that was done in part, because all of it does not
// go into one batch: it is to be submitted again.
type Again struct{}

// deleteGroup removes an Empty group with its offsets.
func (t *turn) deleteGroup(r DeleteGroup) {
	resp := kmsg.NewDeleteGroupsResponseGroup()
	resp.Group = r.Group
	g := t.groups[r.Group]
	switch {
	case g == nil:
		resp.ErrorCode = codeGroupNotFound
		msg := notFound(r.Group)
		resp.ErrorMessage = &msg
	case g.state != empty:
		resp.ErrorCode = codeNonEmptyGroup
		msg := "The group is not empty."
		resp.ErrorMessage = &msg
	default:
		for _, topic := range g.offsets.topics() {
			for _, p := range g.offsets.partitions(topic) {
				if !t.tombstone(g, topic, p) {
					t.reply(t.token, Again{})
					return
				}
			}
		}
		if !t.bury(g) {
			t.reply(t.token, Again{})
			return
		}
	}
	t.reply(t.token, &resp)
}

// bury writes the tombstone of an Empty group and forgets its pending members; false
// when the batch is full.
func (t *turn) bury(g *group) bool {
	if g.saved != nil && !t.writeNext(groupTombstone(g.id)) {
		return false
	}
	for g.pending.len() > 0 {
		id := g.pending.oldest()
		g.pending.remove(id)
		t.disarm(g, id)
	}
	t.prune(g)
	return true
}

// tombstone removes one offset; false when the batch is full.
func (t *turn) tombstone(g *group, topic string, partition int32) bool {
	return t.writeNext(offsetTombstone(g.id, topic, partition))
}

// writeNext adds a record if it still fits; the first one always does, so that what
// is done in several batches comes to its end.
func (t *turn) writeNext(rec machine.Record) bool {
	if len(t.out.Records) > 0 && !t.fits(recordSize(rec)) {
		return false
	}
	t.write(rec)
	return true
}

// deleteOffsets removes offsets of topics to which nobody in the group is subscribed
// (KIP-496).
func (t *turn) deleteOffsets(r DeleteOffsets) {
	req := r.Req
	resp := kmsg.NewPtrOffsetDeleteResponse()
	g := t.groups[req.Group]
	switch {
	case req.Group == "":
		resp.ErrorCode = codeInvalidGroupID
	case g == nil:
		resp.ErrorCode = codeGroupNotFound
	case g.state != empty && g.protocolType != consumerType:
		resp.ErrorCode = codeNonEmptyGroup
	}
	if resp.ErrorCode != 0 {
		t.reply(t.token, resp)
		return
	}
	for _, topic := range req.Topics {
		out := kmsg.NewOffsetDeleteResponseTopic()
		out.Topic = topic.Topic
		for _, p := range topic.Partitions {
			outp := kmsg.NewOffsetDeleteResponseTopicPartition()
			outp.Partition = p.Partition
			if g.subscribes(topic.Topic) {
				outp.ErrorCode = codeSubscribed
			} else if _, ok := g.offsets.get(topic.Topic, p.Partition); ok && !t.tombstone(g, topic.Topic, p.Partition) {
				t.reply(t.token, Again{})
				return
			}
			out.Partitions = append(out.Partitions, outp)
		}
		resp.Topics = append(resp.Topics, out)
	}
	t.reply(t.token, resp)
}

// maxSweeps bounds the deletions of topics that are under way at once.
const maxSweeps = 1000

// sweep is a deletion of topics on its way through the groups.
type sweep struct {
	topics []Topic
	token  machine.Token
	from   string // the group at which it goes on
}

// topicsDeleted removes the offsets of topics that are gone, of every group. Offsets
// of another topic of the same name stay. What does not go into one batch follows in
// further decisions.
func (t *turn) topicsDeleted(r TopicsDeleted) {
	if len(t.sweeps) >= maxSweeps {
		t.reply(t.token, Again{})
		return
	}
	t.sweeps = append(t.sweeps, sweep{topics: r.Topics, token: t.token})
	if len(t.sweeps) == 1 {
		t.forget()
	}
}

// forget goes on with the deletions until the batch is full.
func (t *turn) forget() {
	for len(t.sweeps) > 0 {
		s := &t.sweeps[0]
		for _, g := range t.sorted() {
			if g.id < s.from {
				continue
			}
			if !t.forgetIn(g, s.topics) {
				s.from = g.id
				t.after(string(timerForget), 0)
				return
			}
		}
		t.reply(s.token, Done{})
		t.sweeps = t.sweeps[1:]
	}
	t.sweeps = nil
}

// forgetIn removes the offsets of topics in one group; false when the batch is full.
func (t *turn) forgetIn(g *group, topics []Topic) bool {
	var zero [16]byte
	for _, topic := range topics {
		for _, p := range g.offsets.partitions(topic.Name) {
			c, _ := g.offsets.get(topic.Name, p)
			other := c.topicID != zero && topic.ID != zero && c.topicID != topic.ID
			if !other && !t.tombstone(g, topic.Name, p) {
				return false
			}
		}
	}
	return true
}
