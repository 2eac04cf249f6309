package group

import (
	"github.com/twmb/franz-go/pkg/kmsg"
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
// when it does not fit.
func (t *turn) bury(g *group) bool {
	if g.saved != nil {
		rec := groupTombstone(g.id)
		if !t.fits(recordSize(rec)) {
			return false
		}
		t.write(rec)
	}
	for g.pending.len() > 0 {
		id := g.pending.oldest()
		g.pending.remove(id)
		t.disarm(g, id)
	}
	t.prune(g)
	return true
}

// tombstone removes one offset; false when the record does not fit.
func (t *turn) tombstone(g *group, topic string, partition int32) bool {
	rec := offsetTombstone(g.id, topic, partition)
	if !t.fits(recordSize(rec)) {
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

// topicsDeleted removes the offsets of topics that are gone, of every group. Offsets
// of another topic of the same name stay.
func (t *turn) topicsDeleted(r TopicsDeleted) {
	var zero [16]byte
	for _, g := range t.sorted() {
		for _, topic := range r.Topics {
			for _, p := range g.offsets.partitions(topic.Name) {
				c, _ := g.offsets.get(topic.Name, p)
				if c.topicID != zero && topic.ID != zero && c.topicID != topic.ID {
					continue
				}
				if !t.tombstone(g, topic.Name, p) {
					t.reply(t.token, Again{})
					return
				}
			}
		}
	}
	t.reply(t.token, Done{})
}
