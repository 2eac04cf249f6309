package sim

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// admin creates the topics, and changes what an operator changes.
type admin struct {
	*Client
	settings Settings
	made     int
	behind   string   // what inSync found
	also     []string // topics that have to be in sync beside those of the settings
}

func newAdmin(c *Client) *admin { return &admin{Client: c} }

func topicConfig(name string, value any) kmsg.CreateTopicsRequestTopicConfig {
	c := kmsg.NewCreateTopicsRequestTopicConfig()
	c.Name, c.Value = name, kmsg.StringPtr(fmt.Sprint(value))
	return c
}

// create makes a topic, however often it has to ask.
func (a *admin) create(t TopicSettings, done func()) {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 5000
	rt := kmsg.NewCreateTopicsRequestTopic()
	rt.Topic, rt.NumPartitions, rt.ReplicationFactor = t.Name, int32(t.Partitions), int16(t.RF)
	rt.Configs = append(rt.Configs, topicConfig("min.insync.replicas", t.MinISR), topicConfig("internal.segment.bytes", t.SegmentBytes))
	if t.Relaxed {
		rt.Configs = append(rt.Configs, topicConfig("leat.durability", "relaxed"))
	}
	req.Topics = append(req.Topics, rt)
	a.callHost(a.any(), req, 2*requestTimeout, func(r kmsg.Response) {
		resp, ok := r.(*kmsg.CreateTopicsResponse)
		if ok && len(resp.Topics) == 1 {
			err := a.noted("CreateTopics", resp.Topics[0].ErrorCode)
			if err == nil || errors.Is(err, kerr.TopicAlreadyExists) {
				done()
				return
			}
			if errors.Is(err, kerr.UnknownServerError) {
				a.w.Failf("creating %s: %w", t.Name, err)
			}
		}
		a.after(a.backoff(), func() { a.create(t, done) })
	})
}

// start changes something now and then.
func (a *admin) start(s Settings) {
	a.settings = s
	a.refresh(nil, func(bool) { a.work() })
}

func (a *admin) work() {
	if a.stopped {
		return
	}
	again := func() { a.after(500*time.Millisecond+a.upTo(4*time.Second), a.work) }
	switch a.rng.IntN(7) {
	case 0, 1, 6:
		a.reassign(again)
	case 2:
		a.elect(again)
	case 3:
		a.configure(again)
	case 4:
		a.noise(again)
	case 5:
		a.refresh(nil, func(bool) { again() })
	}
}

// reassign moves a partition to other brokers, and cancels the move now and then.
func (a *admin) reassign(done func()) {
	all := a.settings.partitions()
	t := all[a.rng.IntN(len(all))]
	var to []int32
	for _, i := range a.rng.Perm(a.settings.Nodes)[:a.settings.OffsetsRF] {
		to = append(to, int32(i+1))
	}
	if a.rng.IntN(2) == 0 { // the move is hardly begun
		a.after(1+a.upTo(200*time.Millisecond), func() { a.assign(t, nil, func() {}) })
	}
	a.assign(t, to, done)
}

// assign asks for a partition to be moved; to nobody: for its move to be cancelled.
func (a *admin) assign(t tp, to []int32, done func()) { a.ask(assignment(t, to), done) }

// assignment is a request to move a partition, or with no replicas to cancel its move.
func assignment(t tp, to []int32) *kmsg.AlterPartitionAssignmentsRequest {
	req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
	req.TimeoutMillis = 5000
	rt, rp := kmsg.NewAlterPartitionAssignmentsRequestTopic(), kmsg.NewAlterPartitionAssignmentsRequestTopicPartition()
	rt.Topic, rp.Partition, rp.Replicas = t.topic, t.part, to
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	return req
}

// elect asks for the preferred leaders.
func (a *admin) elect(done func()) {
	req := kmsg.NewPtrElectLeadersRequest()
	req.TimeoutMillis = 5000
	a.ask(req, done)
}

// configure changes a setting of a topic.
func (a *admin) configure(done func()) {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, a.settings.Topics[a.rng.IntN(len(a.settings.Topics))].Name
	c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	c.Name, c.Value = "segment.ms", kmsg.StringPtr(fmt.Sprint(1000+a.rng.IntN(1_000_000)))
	r.Configs = append(r.Configs, c)
	req.Resources = append(req.Resources, r)
	a.ask(req, done)
}

// noise makes a topic that nobody uses and deletes it again.
func (a *admin) noise(done func()) {
	a.made++
	name := fmt.Sprint("noise", a.made/2)
	if a.made%2 == 0 {
		req := kmsg.NewPtrCreateTopicsRequest()
		req.TimeoutMillis = 5000
		rt := kmsg.NewCreateTopicsRequestTopic()
		rt.Topic, rt.NumPartitions, rt.ReplicationFactor = name, 2, int16(a.settings.OffsetsRF)
		req.Topics = append(req.Topics, rt)
		a.ask(req, done)
		return
	}
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TimeoutMillis = 5000
	rt := kmsg.NewDeleteTopicsRequestTopic()
	rt.Topic = kmsg.StringPtr(name)
	req.Topics = append(req.Topics, rt)
	a.ask(req, done)
}

// ask sends a request whose outcome is only counted.
func (a *admin) ask(req kmsg.Request, done func()) {
	a.callHost(a.any(), req, 2*requestTimeout, func(kmsg.Response) { done() })
}

// inSync asks whether every partition has a leader and all its replicas in sync.
func (a *admin) inSync(s Settings, done func(bool)) {
	req := kmsg.NewPtrMetadataRequest()
	names := slices.Clone(a.also)
	for _, t := range s.Topics {
		names = append(names, t.Name)
	}
	for _, name := range names {
		rt := kmsg.NewMetadataRequestTopic()
		rt.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, rt)
	}
	a.callHost(a.any(), req, requestTimeout, func(r kmsg.Response) {
		resp, ok := r.(*kmsg.MetadataResponse)
		if !ok {
			a.behind = "no answer"
			done(false)
			return
		}
		a.learn(resp)
		for _, rt := range resp.Topics {
			for _, p := range rt.Partitions {
				if p.Leader < 0 || len(p.ISR) < s.OffsetsRF || len(p.ISR) < len(p.Replicas) {
					a.behind = fmt.Sprintf("%s-%d: leader %d, replicas %v, in sync %v, offline %v, error %d",
						*rt.Topic, p.Partition, p.Leader, p.Replicas, p.ISR, p.OfflineReplicas, p.ErrorCode)
					done(false)
					return
				}
			}
		}
		done(len(resp.Topics) == len(names))
	})
}
