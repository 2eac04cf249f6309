package tools

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/cli/cluster"
	"github.com/leat-stream/leat/internal/cli/conn"
)

// describeTopics is kafka-topics.sh --describe.
func (x *script) describeTopics(ctx context.Context, cl *kgo.Client, adm *kadm.Client) error {
	moves, err := cluster.Reassignments(ctx, cl) // before the topics: those that are over by then are seen to be
	var kafka *kerr.Error
	if errors.As(err, &kafka) && kafka != kerr.ClusterAuthorizationFailed && kafka != kerr.UnsupportedVersion {
		return err
	}
	names, err := x.mustName(ctx, adm)
	if err != nil || len(names) == 0 {
		return err
	}
	details, err := adm.ListTopicsWithInternal(ctx, names...)
	if err != nil {
		return err
	}
	brokers, err := adm.ListBrokers(ctx)
	if err != nil {
		return err
	}
	elr := eligible(ctx, cl, names)
	configs, err := adm.DescribeTopicConfigs(ctx, names...)
	if err != nil {
		return err
	}
	for _, d := range details.Sorted() {
		c, err := configs.On(d.Topic, nil)
		if err = firstError(d.Err, err, conn.WithMessage(c.Err, c.ErrMessage)); err != nil {
			return err
		}
		if err := x.describeTopic(d, c.Configs, brokers.NodeIDs(), elr[d.Topic], moves[d.Topic]); err != nil {
			return err
		}
	}
	return nil
}

// eligible asks for the replicas outside the in-sync set that may lead (KIP-966),
// by topic and partition. Brokers that do not know them answer nothing.
func eligible(ctx context.Context, cl *kgo.Client, names []string) map[string]map[int32]kmsg.DescribeTopicPartitionsResponseTopicPartition {
	all := map[string]map[int32]kmsg.DescribeTopicPartitionsResponseTopicPartition{}
	for _, name := range names {
		req := kmsg.NewPtrDescribeTopicPartitionsRequest()
		t := kmsg.NewDescribeTopicPartitionsRequestTopic()
		t.Topic = name
		req.Topics = append(req.Topics, t)
		req.ResponsePartitionLimit = 2000
		resp, err := req.RequestWith(ctx, cl)
		if err != nil {
			return all
		}
		for _, t := range resp.Topics {
			all[name] = map[int32]kmsg.DescribeTopicPartitionsResponseTopicPartition{}
			for _, p := range t.Partitions {
				all[name][p.Partition] = p
			}
		}
	}
	return all
}

func (x *script) describeTopic(d kadm.TopicDetail, configs []kadm.Config, live []int32,
	elr map[int32]kmsg.DescribeTopicPartitionsResponseTopicPartition, moves map[int32]kadm.ListPartitionReassignmentsResponse) error {
	some := false // only partitions in some bad state
	for _, f := range []string{"under-replicated-partitions", "unavailable-partitions", "under-min-isr-partitions", "at-min-isr-partitions"} {
		some = some || x.opts.has(f)
	}
	var overrides []string
	minISR := 1
	for _, c := range configs {
		if c.Source != kmsg.ConfigSourceDefaultConfig {
			overrides = append(overrides, c.Key+"="+c.MaybeValue())
		}
		if n, err := strconv.Atoi(c.MaybeValue()); err == nil && c.Key == "min.insync.replicas" {
			minISR = n
		}
	}
	var b strings.Builder
	parts := d.Partitions.Sorted()
	if !some && (!x.opts.has("topics-with-overrides") || len(overrides) > 0) {
		fmt.Fprintf(&b, "Topic: %s", d.Topic)
		if id := conn.TopicID(d.ID); id != "" {
			fmt.Fprintf(&b, "\tTopicId: %s", id)
		}
		factor := 0
		if len(parts) > 0 {
			factor = cluster.ReplicationFactor(parts[0].Replicas, moves[parts[0].Partition])
		}
		fmt.Fprintf(&b, "\tPartitionCount: %d\tReplicationFactor: %d\tConfigs: %s\n", len(parts), factor, strings.Join(overrides, ","))
	}
	for _, p := range parts {
		move, moving := moves[p.Partition]
		if x.opts.has("topics-with-overrides") || some && !x.wanted(p, cluster.ReplicationFactor(p.Replicas, move), minISR, live) {
			continue
		}
		leader := "none"
		if p.Leader >= 0 {
			leader = strconv.Itoa(int(p.Leader))
		}
		fmt.Fprintf(&b, "\tTopic: %s\tPartition: %d\tLeader: %s\tReplicas: %s\tIsr: %s", d.Topic, p.Partition, leader, join(p.Replicas), join(p.ISR))
		if moving {
			fmt.Fprintf(&b, "\tAdding Replicas: %s\tRemoving Replicas: %s", join(move.AddingReplicas), join(move.RemovingReplicas))
		}
		if e, ok := elr[p.Partition]; ok {
			fmt.Fprintf(&b, "\tElr: %s\tLastKnownElr: %s\n", join(e.EligibleLeaderReplicas), join(e.LastKnownELR))
		} else {
			b.WriteString("\tElr: N/A\tLastKnownElr: N/A\n")
		}
	}
	return write(x.e.W, b.String())
}

// wanted tells whether a partition is in one of the bad states that were asked for.
func (x *script) wanted(p kadm.PartitionDetail, factor, minISR int, live []int32) bool {
	return x.opts.has("under-replicated-partitions") && len(p.ISR) < factor ||
		x.opts.has("unavailable-partitions") && (p.Leader < 0 || !slices.Contains(live, p.Leader)) ||
		x.opts.has("under-min-isr-partitions") && (p.Leader < 0 || len(p.ISR) < minISR) ||
		x.opts.has("at-min-isr-partitions") && len(p.ISR) == minISR
}

func join(ids []int32) string {
	parts := make([]string, len(ids))
	for i, id := range ids {
		parts[i] = strconv.Itoa(int(id))
	}
	return strings.Join(parts, ",")
}
