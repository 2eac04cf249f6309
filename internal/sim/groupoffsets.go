package sim

import "github.com/twmb/franz-go/pkg/kmsg"

// offsetRequest asks for a group's offsets in the form of the client's version: earlier
// ones know one group.
func (c *Client) offsetRequest(g kmsg.OffsetFetchRequestGroup) *kmsg.OffsetFetchRequest {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.RequireStable = true
	req.Groups = append(req.Groups, g)
	req.Group = g.Group
	for _, t := range g.Topics {
		rt := kmsg.NewOffsetFetchRequestTopic()
		rt.Topic, rt.Partitions = t.Topic, t.Partitions
		req.Topics = append(req.Topics, rt)
	}
	if c.version(req.Key()) >= offsetsByGroup {
		req.Group, req.Topics = "", nil
	} else {
		req.Groups = nil
	}
	return req
}

// offsetsOf is the answer for the one group that was asked for, in the newest form.
func (c *Client) offsetsOf(resp *kmsg.OffsetFetchResponse) (g kmsg.OffsetFetchResponseGroup, ok bool) {
	if resp.Version >= offsetsByGroup {
		if len(resp.Groups) == 0 {
			return g, false
		}
		return resp.Groups[0], true
	}
	g.ErrorCode = resp.ErrorCode
	for _, t := range resp.Topics {
		gt := kmsg.NewOffsetFetchResponseGroupTopic()
		gt.Topic = t.Topic
		for _, p := range t.Partitions {
			gp := kmsg.NewOffsetFetchResponseGroupTopicPartition()
			gp.Partition, gp.Offset, gp.Metadata, gp.ErrorCode = p.Partition, p.Offset, p.Metadata, p.ErrorCode
			gt.Partitions = append(gt.Partitions, gp)
		}
		g.Topics = append(g.Topics, gt)
	}
	return g, true
}
