package api_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/leattest"
)

// metadataRequest asks for topics by name.
func metadataRequest(names ...string) *kmsg.MetadataRequest {
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{}
	for _, n := range names {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = &n
		req.Topics = append(req.Topics, t)
	}
	return req
}

// topics lists the names of all topics.
func (p *peer) topics() []string {
	p.t.Helper()
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = nil
	var names []string
	for _, t := range ask[*kmsg.MetadataResponse](p, 12, req).Topics {
		names = append(names, *t.Topic)
	}
	slices.Sort(names)
	return names
}

// TestAutoCreation: a topic is created by its first mention when the client and the
// broker both allow it, and serves when that is answered.
func TestAutoCreation(t *testing.T) {
	for _, enabled := range []bool{true, false} {
		node := leattest.Start(t, leattest.Set("auto.create.topics.enable", fmt.Sprint(enabled)), leattest.Set("num.partitions", "3"))
		p := dial(t, node)
		for _, c := range []struct {
			version int16
			allow   bool
			created bool
		}{
			{0, false, true}, {3, false, true}, // before there was a flag it was implied
			{4, false, false}, {4, true, true}, {13, false, false}, {13, true, true},
		} {
			name := fmt.Sprintf("auto-%d-%v", c.version, c.allow)
			req := metadataRequest(name)
			req.AllowAutoTopicCreation = c.allow
			got := ask[*kmsg.MetadataResponse](p, c.version, req).Topics[0]
			if !c.created || !enabled {
				want(t, name, got.ErrorCode, kerr.UnknownTopicOrPartition)
				if slices.Contains(p.topics(), name) {
					t.Fatalf("%s exists all the same", name)
				}
				continue
			}
			want(t, name, got.ErrorCode, nil)
			if len(got.Partitions) != 3 || got.Partitions[2].Leader < 0 {
				t.Fatalf("%s: %+v", name, got.Partitions)
			}
			out := produced(ask[*kmsg.ProduceResponse](p, 12, produceRequest(topic{name: name}, 2, -1, values("first").bytes(t))))
			want(t, "first produce", out.ErrorCode, nil)
		}
	}
}

// TestAutoCreationOfWhatMayNotBe: bad names are refused and create nothing, internal
// topics come with their own settings.
func TestAutoCreationOfWhatMayNotBe(t *testing.T) {
	node := leattest.Start(t, leattest.Set("offsets.topic.num.partitions", "4"))
	p := dial(t, node)
	for _, name := range []string{"", ".", "..", "a/b", "a b", "größe", strings.Repeat("a", 250)} {
		req := metadataRequest(name, "good")
		req.AllowAutoTopicCreation = true
		got := ask[*kmsg.MetadataResponse](p, 12, req).Topics
		want(t, fmt.Sprintf("topic %q", name), got[0].ErrorCode, kerr.InvalidTopicException)
		want(t, "the good topic beside it", got[1].ErrorCode, nil)
	}
	req := metadataRequest("a.collision", "a_collision")
	req.AllowAutoTopicCreation = true
	got := ask[*kmsg.MetadataResponse](p, 12, req).Topics
	want(t, "the first of two names that collide", got[0].ErrorCode, nil)
	want(t, "the second", got[1].ErrorCode, kerr.InvalidTopicException)

	req = metadataRequest("__consumer_offsets")
	req.AllowAutoTopicCreation = true
	internal := ask[*kmsg.MetadataResponse](p, 12, req).Topics[0]
	want(t, "__consumer_offsets", internal.ErrorCode, nil)
	if !internal.IsInternal || len(internal.Partitions) != 4 {
		t.Errorf("internal %v, %d partitions", internal.IsInternal, len(internal.Partitions))
	}
	if all := p.topics(); !slices.Equal(all, []string{"__consumer_offsets", "a.collision", "good"}) {
		t.Errorf("topics %q", all)
	}
}

// TestMetadataByID: an id stands for one life of a topic.
func TestMetadataByID(t *testing.T) {
	p := dial(t, leattest.Start(t))
	old := p.create("reborn", 1)
	byID := func(id [16]byte) kmsg.MetadataResponseTopic {
		req := metadataRequest()
		req.Topics = []kmsg.MetadataRequestTopic{{TopicID: id}, {TopicID: id}}
		all := ask[*kmsg.MetadataResponse](p, 12, req).Topics
		if len(all) != 1 {
			t.Fatalf("%d answers for one topic", len(all))
		}
		return all[0]
	}
	if got := byID(old.id); got.ErrorCode != 0 || *got.Topic != "reborn" {
		t.Fatalf("%+v", got)
	}
	del := kmsg.NewPtrDeleteTopicsRequest()
	del.TopicNames = []string{"reborn"}
	want(t, "delete", ask[*kmsg.DeleteTopicsResponse](p, 5, del).Topics[0].ErrorCode, nil)
	born := p.create("reborn", 1)
	want(t, "the id of the deleted topic", byID(old.id).ErrorCode, kerr.UnknownTopicID)
	want(t, "the new id", byID(born.id).ErrorCode, nil)
	want(t, "fetch by the old id", p.fetch(old, 0, 0).ErrorCode, kerr.UnknownTopicID)
	out := produced(ask[*kmsg.ProduceResponse](p, produceByID, produceRequest(old, 0, -1, values("x").bytes(t))))
	want(t, "produce by the old id", out.ErrorCode, kerr.UnknownTopicID)
}

// TestDescribeTopicPartitionsPages: the pages together are the whole.
func TestDescribeTopicPartitionsPages(t *testing.T) {
	p := dial(t, leattest.Start(t))
	for i, name := range []string{"b", "a", "c"} {
		p.create(name, int32(i)+2)
	}
	for limit := int32(0); limit < 12; limit++ {
		var got []string
		req := kmsg.NewPtrDescribeTopicPartitionsRequest()
		req.ResponsePartitionLimit = limit
		for pages := 0; ; pages++ {
			if pages > 12 {
				t.Fatalf("limit %d: no end", limit)
			}
			resp := ask[*kmsg.DescribeTopicPartitionsResponse](p, 0, req)
			n := int32(0)
			for _, topic := range resp.Topics {
				for _, part := range topic.Partitions {
					got = append(got, fmt.Sprint(*topic.Topic, part.Partition))
					n++
				}
			}
			if n > max(limit, 1) {
				t.Fatalf("limit %d: a page of %d", limit, n)
			}
			if resp.NextCursor == nil {
				break
			}
			req.Cursor = &kmsg.DescribeTopicPartitionsRequestCursor{Topic: resp.NextCursor.Topic, Partition: resp.NextCursor.Partition}
		}
		if all := strings.Join(got, " "); all != "a0 a1 a2 b0 b1 c0 c1 c2 c3" {
			t.Errorf("limit %d: %s", limit, all)
		}
	}
}

// TestTopicDeletionDisabled: nobody deletes then.
func TestTopicDeletionDisabled(t *testing.T) {
	p := dial(t, leattest.Start(t, leattest.Set("delete.topic.enable", "false")))
	p.create("kept", 1)
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TopicNames = []string{"kept"}
	want(t, "version 2", ask[*kmsg.DeleteTopicsResponse](p, 2, req).Topics[0].ErrorCode, kerr.InvalidRequest)
	want(t, "version 5", ask[*kmsg.DeleteTopicsResponse](p, 5, req).Topics[0].ErrorCode, kerr.TopicDeletionDisabled)
	if !slices.Contains(p.topics(), "kept") {
		t.Error("it is gone")
	}
}

// TestBrokerLoggers: they come later, and whoever asks is told so, and what there is.
func TestBrokerLoggers(t *testing.T) {
	p := dial(t, leattest.Start(t))
	check := func(api string, code int16, message *string) {
		t.Helper()
		want(t, api, code, kerr.InvalidRequest)
		if message == nil || !strings.Contains(*message, "loggers") || !strings.Contains(*message, "leat.log.level") {
			t.Errorf("%s says %q", api, *message)
		}
	}
	describe := kmsg.NewPtrDescribeConfigsRequest()
	describe.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeBrokerLogger, ResourceName: "1"}}
	described := ask[*kmsg.DescribeConfigsResponse](p, 4, describe).Resources[0]
	check("DescribeConfigs", described.ErrorCode, described.ErrorMessage)
	level := "DEBUG"
	change := kmsg.NewPtrIncrementalAlterConfigsRequest()
	change.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeBrokerLogger, ResourceName: "1",
		Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "root", Value: &level}}}}
	changed := ask[*kmsg.IncrementalAlterConfigsResponse](p, 1, change).Resources[0]
	check("IncrementalAlterConfigs", changed.ErrorCode, changed.ErrorMessage)
	replace := kmsg.NewPtrAlterConfigsRequest()
	replace.Resources = []kmsg.AlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeBrokerLogger, ResourceName: "1",
		Configs: []kmsg.AlterConfigsRequestResourceConfig{{Name: "root", Value: &level}}}}
	replaced := ask[*kmsg.AlterConfigsResponse](p, 2, replace).Resources[0]
	check("AlterConfigs", replaced.ErrorCode, replaced.ErrorMessage)
}
