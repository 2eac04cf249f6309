package topic

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/cli/conn"
	"github.com/leat-stream/leat/internal/cli/out"
	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/nodewire"
)

type created struct {
	Topic      string `json:"topic"`
	ID         string `json:"id,omitempty"`
	Partitions int32  `json:"partitions,omitempty"` // left out for topics that existed
	Replicas   int16  `json:"replicas,omitempty"`
	Existed    bool   `json:"existed,omitempty"`
}

func createCommand(e *conn.Env) *cobra.Command {
	var (
		partitions  int32
		replicas    int16
		pairs       []string
		ifNotExists bool
		dryRun      bool
	)
	cmd := &cobra.Command{
		Use:   "create TOPIC...",
		Short: "Create topics",
		Example: `  leat topic create orders
  leat topic create orders payments --partitions 12 --config retention.ms=86400000
  leat topic create prices --config cleanup.policy=compact --if-not-exists`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, topics []string) error {
			configs, err := settings(pairs)
			if err != nil {
				return err
			}
			req := creation(partitions, replicas, configs, topics)
			req.ValidateOnly = dryRun
			return e.WithClient(cmd, func(ctx context.Context, cl *kgo.Client, _ *kadm.Client) error {
				req.TimeoutMillis = int32(min(e.Timeout().Milliseconds(), 1<<30))
				resp, err := req.RequestWith(ctx, cl)
				if err != nil {
					return err
				}
				return showCreated(e, resp, topics, ifNotExists, dryRun)
			})
		},
	}
	f := cmd.Flags()
	f.Int32VarP(&partitions, "partitions", "p", -1, "number of partitions (-1 is the broker's num.partitions)")
	f.Int16VarP(&replicas, "replication-factor", "r", -1, "number of replicas (-1 is the broker's default.replication.factor)")
	f.StringArrayVarP(&pairs, "config", "c", nil, "a setting of the topic, NAME=VALUE (repeatable)")
	f.BoolVar(&ifNotExists, "if-not-exists", false, "do not fail for topics that exist")
	f.BoolVar(&dryRun, "dry-run", false, "only check whether the topics could be created")
	conn.CompleteBy(cmd, "config", conn.Settings(config.ScopeTopic, "=", nil))
	return cmd
}

// creation is the request. It has what tells it from others: the client sends it again when the connection
// breaks, and the cluster knows then that it has done it.
func creation(partitions int32, replicas int16, configs map[string]*string, topics []string) *kmsg.CreateTopicsRequest {
	req := kmsg.NewPtrCreateTopicsRequest()
	for _, name := range topics {
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, replicas
		for _, key := range slices.Sorted(maps.Keys(configs)) {
			c := kmsg.NewCreateTopicsRequestTopicConfig()
			c.Name, c.Value = key, configs[key]
			t.Configs = append(t.Configs, c)
		}
		req.Topics = append(req.Topics, t)
	}
	unique := make([]byte, 16)
	_, _ = rand.Read(unique) // it never fails
	nodewire.SetCreation(req, unique)
	return req
}

func showCreated(e *conn.Env, resp *kmsg.CreateTopicsResponse, topics []string, ifNotExists, dryRun bool) error {
	done := []created{}
	t := out.Table{Header: []string{"topic", "partitions", "replicas", "status"}, Right: []int{1, 2}}
	failures := e.Failures()
	for _, name := range topics {
		at := slices.IndexFunc(resp.Topics, func(t kmsg.CreateTopicsResponseTopic) bool { return t.Topic == name })
		if at < 0 {
			failures.Add("topic "+name, errors.New("the broker did not answer for it"))
			continue
		}
		r := &resp.Topics[at]
		err := conn.KafkaError(r.ErrorCode, r.ErrorMessage)
		existed := ifNotExists && errors.Is(err, kerr.TopicAlreadyExists)
		if err != nil && !existed {
			failures.Add("topic "+name, err)
			continue
		}
		c := created{Topic: name, Partitions: r.NumPartitions, Replicas: r.ReplicationFactor, Existed: existed}
		c.ID = conn.TopicID(kadm.TopicID(r.TopicID))
		row := []string{name, fmt.Sprint(c.Partitions), fmt.Sprint(c.Replicas), "created"}
		switch {
		case existed:
			c.Partitions, c.Replicas = 0, 0
			row = []string{name, "-", "-", "exists"}
		case dryRun:
			row[3] = "could be created"
		}
		done = append(done, c)
		t.Rows = append(t.Rows, row)
	}
	if len(done) > 0 || e.JSON() {
		if err := e.Emit(done, t); err != nil {
			return err
		}
	}
	return failures.Err()
}
