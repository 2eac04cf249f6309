package group

import "github.com/twmb/franz-go/pkg/kmsg"

// fetchOffsets reads committed offsets. A group, topic or partition without one has
// offset -1, and no error.
func (t *turn) fetchOffsets(r FetchOffsets) {
	req := r.Req
	resp := kmsg.NewOffsetFetchResponseGroup()
	resp.Group = req.Group
	var have offsets
	if g := t.groups[req.Group]; g != nil {
		have = g.offsets
	}
	if req.Topics == nil {
		for _, topic := range have.topics() {
			out := kmsg.NewOffsetFetchResponseGroupTopic()
			out.Topic = topic
			for _, p := range have.partitions(topic) {
				out.Partitions = append(out.Partitions, have.fetch(topic, p, [16]byte{}))
			}
			resp.Topics = append(resp.Topics, out)
		}
		t.reply(t.token, &resp)
		return
	}
	resp.Topics = make([]kmsg.OffsetFetchResponseGroupTopic, 0, len(req.Topics))
	for _, topic := range req.Topics {
		out := kmsg.NewOffsetFetchResponseGroupTopic()
		out.Topic, out.TopicID = topic.Topic, topic.TopicID
		for _, p := range topic.Partitions {
			out.Partitions = append(out.Partitions, have.fetch(topic.Topic, p, topic.TopicID))
		}
		resp.Topics = append(resp.Topics, out)
	}
	t.reply(t.token, &resp)
}

// fetch is the answer for one partition. An offset of another topic of the same name
// (both ids known, and different) does not count.
func (o *offsets) fetch(topic string, partition int32, id [16]byte) kmsg.OffsetFetchResponseGroupTopicPartition {
	out := kmsg.NewOffsetFetchResponseGroupTopicPartition()
	c, ok := o.get(topic, partition)
	var zero [16]byte
	if !ok || c.topicID != zero && id != zero && c.topicID != id {
		c = committed{offset: -1, leaderEpoch: -1}
	}
	out.Partition, out.Offset, out.LeaderEpoch, out.Metadata = partition, c.offset, c.leaderEpoch, &c.metadata
	return out
}
