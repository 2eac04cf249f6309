package api_test

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/leattest"
)

// Small requests that ask for the same large thing again and again get no answer, and
// harm nobody else.
func TestAnswersLargerThanMemoryAllows(t *testing.T) {
	node := leattest.Start(t, leattest.Set("queued.max.request.bytes", fmt.Sprint(1<<20)))
	victim := dial(t, node)
	to := victim.create("victim", 1)
	victim.produce(to, 0, values("kept"))
	const repeats = 20_000
	for name, c := range map[string]struct {
		version int16
		request func() kmsg.Request
	}{
		"configs": {4, func() kmsg.Request {
			req := kmsg.NewPtrDescribeConfigsRequest()
			for range repeats / 10 {
				res := kmsg.NewDescribeConfigsRequestResource()
				res.ResourceType, res.ResourceName = kmsg.ConfigResourceTypeTopic, "victim"
				req.Resources = append(req.Resources, res)
			}
			return req
		}},
		"new topics": {7, func() kmsg.Request {
			req := kmsg.NewPtrCreateTopicsRequest()
			for i := range repeats / 10 {
				topic := kmsg.NewCreateTopicsRequestTopic()
				topic.Topic = fmt.Sprint(i)
				req.Topics = append(req.Topics, topic)
			}
			return req
		}},
		"topics by first use": {12, func() kmsg.Request {
			req := kmsg.NewPtrMetadataRequest()
			req.AllowAutoTopicCreation = true
			for i := range repeats / 10 {
				topic := kmsg.NewMetadataRequestTopic()
				topic.Topic = kmsg.StringPtr(fmt.Sprint(i))
				req.Topics = append(req.Topics, topic)
			}
			return req
		}},
		"groups": {5, func() kmsg.Request {
			req := kmsg.NewPtrDescribeGroupsRequest()
			for range repeats {
				req.Groups = append(req.Groups, "g")
			}
			return req
		}},
		"offsets": {8, func() kmsg.Request {
			req := kmsg.NewPtrOffsetFetchRequest()
			for range repeats {
				g := kmsg.NewOffsetFetchRequestGroup()
				g.Group = "g"
				req.Groups = append(req.Groups, g)
			}
			return req
		}},
		"producers": {0, func() kmsg.Request {
			req := kmsg.NewPtrDescribeProducersRequest()
			topic := kmsg.NewDescribeProducersRequestTopic()
			topic.Topic, topic.Partitions = "victim", make([]int32, repeats)
			req.Topics = append(req.Topics, topic)
			return req
		}},
		"produce": {9, func() kmsg.Request {
			req := kmsg.NewPtrProduceRequest()
			req.Acks = 1
			topic := kmsg.NewProduceRequestTopic()
			topic.Topic = "nobody"
			topic.Partitions = make([]kmsg.ProduceRequestTopicPartition, repeats)
			req.Topics = append(req.Topics, topic)
			return req
		}},
	} {
		t.Run(name, func(t *testing.T) {
			p := dial(t, node)
			p.post(c.version, c.request())
			p.wantClosed(name)
			if got := fetched(ask[*kmsg.FetchResponse](victim, 12, fetchRequest(to, 0, 0))); len(got.RecordBatches) == 0 {
				t.Fatal("another client reads nothing")
			}
		})
	}
}
