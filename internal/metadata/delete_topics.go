package metadata

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/schema"
)

// deleteTopics answers DeleteTopics (versions 1 to 6): by name, and from version
// 6 also by id (KIP-516). A topic that is named twice, in whatever way, is not deleted.
func (c *Controller) deleteTopics(req *kmsg.DeleteTopicsRequest) outcome {
	resp := req.ResponseKind().(*kmsg.DeleteTopicsResponse)
	asks := deletions(req)
	if !c.settings().Bool(config.DeleteTopicEnable) {
		kind := kerr.TopicDeletionDisabled
		if req.Version < 3 {
			kind = kerr.InvalidRequest
		}
		for _, a := range asks {
			resp.Topics = append(resp.Topics, a.response(refuse(kind, "Topic deletion is disabled.")))
		}
		return outcome{body: resp}
	}
	count := map[deletion]int{}     // of the same name or id
	topics := map[[16]byte]int{}    // of the same topic by name and by id
	answered := map[deletion]bool{} // duplicates are answered once
	for _, a := range asks {
		if count[a]++; count[a] > 1 {
			continue
		}
		if t, err := c.deletable(a); err == nil {
			topics[t.ID]++
		}
	}
	var recs []schema.Record
	for _, a := range asks {
		if answered[a] && !a.malformed() {
			continue
		}
		answered[a] = true
		t, err := c.deletable(a)
		switch {
		case a.malformed():
		case count[a] > 1 && a.named:
			err = refuse(kerr.InvalidRequest, "Duplicate topic name.")
		case count[a] > 1:
			err = refuse(kerr.InvalidRequest, "Duplicate topic id.")
		case err == nil && topics[t.ID] > 1:
			err = refuse(kerr.InvalidRequest, "The provided topic name maps to an ID that was already supplied.")
		}
		if err == nil {
			a = deletion{name: t.Name, id: t.ID, named: true}
			recs = append(recs, &schema.RemoveTopic{TopicID: t.ID})
		}
		resp.Topics = append(resp.Topics, a.response(err))
	}
	return outcome{body: resp, recs: recs}
}

// deletion is one topic of the request.
type deletion struct {
	name  string
	named bool // has a name
	id    [16]byte
}

// deletions lists a request's topics in its order.
func deletions(req *kmsg.DeleteTopicsRequest) []deletion {
	var asks []deletion
	for _, name := range req.TopicNames {
		asks = append(asks, deletion{name: name, named: true})
	}
	for i := range req.Topics {
		a := deletion{id: req.Topics[i].TopicID}
		if n := req.Topics[i].Topic; n != nil {
			a.name, a.named = *n, true
		}
		asks = append(asks, a)
	}
	return asks
}

// malformed tells whether it names no topic, or one in two ways.
func (a deletion) malformed() bool { return a.named == (a.id != [16]byte{}) }

// deletable is the topic that is meant.
func (c *Controller) deletable(a deletion) (*Topic, error) {
	switch {
	case a.malformed() && a.named:
		return nil, refuse(kerr.InvalidRequest, "You may not specify both topic name and topic id.")
	case a.malformed():
		return nil, refuse(kerr.InvalidRequest, "Neither topic name nor id were specified.")
	case a.named:
		if t := c.View().Topic(a.name); t != nil {
			return t, nil
		}
		return nil, refuse(kerr.UnknownTopicOrPartition, "")
	}
	if t := c.View().TopicByID(a.id); t != nil {
		return t, nil
	}
	return nil, refuse(kerr.UnknownTopicID, "")
}

func (a deletion) response(err error) kmsg.DeleteTopicsResponseTopic {
	t := kmsg.NewDeleteTopicsResponseTopic()
	if a.named {
		t.Topic = &a.name
	}
	t.TopicID = a.id
	t.ErrorCode, t.ErrorMessage = code(err)
	return t
}
