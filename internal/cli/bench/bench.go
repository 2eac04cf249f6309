// Package bench holds "leat bench": load for a cluster and what it measured. It
// works against any Kafka.
//
// Latencies are safe from coordinated omission: at a fixed rate every record has a
// time at which it is meant to be sent, and its latency counts from there, however
// late the client gets to it. Without a rate the system is saturated, latencies
// count from the moment a record is handed to the client, and the result says so.
package bench

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/leat-stream/leat/internal/cli/conn"
	"github.com/leat-stream/leat/internal/cli/out"
	"github.com/leat-stream/leat/internal/config"
)

// Command is "leat bench".
func Command(e *conn.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure throughput and latency of a cluster",
		Example: `  leat bench produce --partitions 12 --record-size 1024 --duration 30s
  leat bench consume --topic leat-bench
  leat bench e2e --rate 10000 --acks all`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(produceCommand(e), consumeCommand(e), e2eCommand(e))
	return cmd
}

// topicFlags say which topic is used, and how it is made when it does not exist.
type topicFlags struct {
	name       string
	partitions int32
	replicas   int16
	configs    []string
	recreate   bool
}

const defaultTopic = "leat-bench"

func (t *topicFlags) add(f *pflag.FlagSet) {
	f.StringVarP(&t.name, "topic", "t", defaultTopic, "the topic, which is created when it does not exist")
	f.Int32VarP(&t.partitions, "partitions", "p", 1, "partitions of a topic that is created")
	f.Int16Var(&t.replicas, "replication-factor", -1, "replicas of a topic that is created (-1 is the broker's default)")
	f.StringArrayVar(&t.configs, "topic-config", nil, "a setting of a topic that is created, NAME=VALUE (repeatable)")
	f.BoolVar(&t.recreate, "recreate", false, "delete the topic first, with all its records")
}

// complete completes the flags of topic and load.
func complete(cmd *cobra.Command, e *conn.Env) {
	conn.CompleteBy(cmd, "topic", e.Topics(0))
	conn.CompleteBy(cmd, "topic-config", conn.Settings(config.ScopeTopic, "=", nil))
	conn.Complete(cmd, "acks", "all", "leader", "none")
	conn.Complete(cmd, "compression", "none", "gzip", "snappy", "lz4", "zstd")
	conn.Complete(cmd, "payload", "random", "text", "zeros")
}

// ensure makes the topic and gives its number of partitions.
func (t *topicFlags) ensure(ctx context.Context, e *conn.Env) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, e.Timeout())
	defer cancel()
	configs := map[string]*string{}
	for _, c := range t.configs {
		name, value, ok := strings.Cut(c, "=")
		if !ok {
			return 0, out.Usagef("--topic-config=%s: this is no setting; use NAME=VALUE", c)
		}
		configs[name] = &value
	}
	adm, err := e.Admin(ctx)
	if err != nil {
		return 0, err
	}
	defer adm.Close()
	if t.recreate {
		if err := remove(ctx, adm, t.name); err != nil {
			return 0, e.Explain(err)
		}
	}
	r, err := adm.CreateTopic(ctx, t.partitions, t.replicas, configs, t.name)
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return 0, fmt.Errorf("topic %s: %w", t.name, e.Explain(conn.WithMessage(err, r.ErrMessage)))
	}
	return t.ready(ctx, e, adm)
}

// pollInterval is how often a topic is looked at until it is as it should be.
const pollInterval = 50 * time.Millisecond

// remove deletes a topic and waits until it is gone.
func remove(ctx context.Context, adm *kadm.Client, name string) error {
	if _, err := adm.DeleteTopic(ctx, name); err != nil && !errors.Is(err, kerr.UnknownTopicOrPartition) {
		return err
	}
	for {
		topics, err := adm.ListTopics(ctx, name)
		if err != nil {
			return err
		}
		if d, ok := topics[name]; !ok || errors.Is(d.Err, kerr.UnknownTopicOrPartition) {
			return nil
		}
		if err := sleep(ctx, pollInterval); err != nil {
			return err
		}
	}
}

// ready waits until every partition has a leader.
func (t *topicFlags) ready(ctx context.Context, e *conn.Env, adm *kadm.Client) (int, error) {
	for {
		topics, err := adm.ListTopics(ctx, t.name)
		if err != nil {
			return 0, e.Explain(err)
		}
		d := topics[t.name]
		all := slices.Collect(maps.Values(d.Partitions))
		if d.Err == nil && len(all) > 0 && !slices.ContainsFunc(all, func(p kadm.PartitionDetail) bool { return p.Leader < 0 || p.Err != nil }) {
			return len(all), nil
		}
		if err := sleep(ctx, pollInterval); err != nil {
			return 0, fmt.Errorf("topic %s has partitions without a leader: %w", t.name, e.Explain(err))
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// bounds say when a measurement ends.
type bounds struct {
	duration, warmup time.Duration
	records          int64
}

func (b *bounds) add(f *pflag.FlagSet) {
	f.DurationVarP(&b.duration, "duration", "d", 10*time.Second, "how long to measure, after the warm-up")
	f.DurationVar(&b.warmup, "warmup", time.Second, "how long to run before anything is counted")
	f.Int64VarP(&b.records, "records", "n", 0, "stop after so many measured records, if that is sooner")
}

func (b *bounds) check() error {
	if b.duration <= 0 || b.warmup < 0 || b.records < 0 {
		return out.Usagef("--duration must be above 0, --warmup and --records not below")
	}
	return nil
}
