package tools

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/cli/conn"
	"github.com/leat-stream/leat/internal/cli/out"
)

var topicsFlags = slices.Concat(common,
	flags(none, "create", "alter", "delete", "list", "describe", "if-exists", "if-not-exists", "under-replicated-partitions",
		"unavailable-partitions", "under-min-isr-partitions", "at-min-isr-partitions", "topics-with-overrides", "exclude-internal",
		"disable-rack-aware", "force"),
	flags(required, "topic", "partitions", "replication-factor", "config", "delete-config", "topic-id", "topic-id-type",
		"replica-assignment", "partition-size-limit-per-response"))

// topics is kafka-topics.sh.
func topics(ctx context.Context, x *script) error {
	var actions []string
	for _, a := range []string{"create", "list", "alter", "describe", "delete"} {
		if x.opts.has(a) {
			actions = append(actions, a)
		}
	}
	if len(actions) != 1 {
		return x.usage("Command must include exactly one action: --list, --describe, --create, --alter or --delete")
	}
	if x.opts.value("topic") == "" && actions[0] != "list" && actions[0] != "describe" {
		return x.usage(`Missing required argument "[topic]"`)
	}
	err := x.withCluster(ctx, func(ctx context.Context, cl *kgo.Client, adm *kadm.Client) error {
		switch actions[0] {
		case "create":
			return x.createTopic(ctx, cl)
		case "list":
			names, err := x.topicNames(ctx, adm)
			if err != nil {
				return err
			}
			return write(x.e.W, strings.Join(names, "\n")+"\n")
		case "alter":
			return x.alterTopics(ctx, adm)
		case "delete":
			return x.deleteTopics(ctx, adm)
		}
		return x.describeTopics(ctx, cl, adm)
	})
	if err != nil && !errors.Is(err, out.ErrSilent) {
		fmt.Fprintln(x.e.W, "Error while executing topic command : "+plain(err))
		return out.ErrSilent
	}
	return err
}

// withCluster runs fn with a client of the cluster, once a broker is there.
func (x *script) withCluster(ctx context.Context, fn func(context.Context, *kgo.Client, *kadm.Client) error, opts ...kgo.Opt) error {
	var cl *kgo.Client
	err := x.withPatience(ctx, func(ctx context.Context) (err error) {
		cl, err = x.e.Client(ctx, opts...)
		return err
	})
	if err != nil {
		return err
	}
	defer cl.Close()
	return fn(ctx, cl, kadm.NewClient(cl))
}

// plain is the broker's own message of an error, else what the error's code means.
func plain(err error) string {
	var kafka *kerr.Error
	text := err.Error()
	if errors.As(err, &kafka) {
		text = strings.TrimPrefix(text, kafka.Message+": ")
	}
	return text
}

func (x *script) createTopic(ctx context.Context, cl *kgo.Client) error {
	name := x.opts.value("topic")
	if strings.ContainsAny(name, "._") {
		fmt.Fprintln(x.e.W, "WARNING: Due to limitations in metric names, topics with a period ('.') or underscore ('_') could collide. "+
			"To avoid issues it is best to use either, but not both.")
	}
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, -1, -1
	if err := x.sizeTopic(&t); err != nil {
		return err
	}
	for _, c := range x.opts.given["config"] {
		k, v, ok := strings.Cut(c, "=")
		if !ok {
			return kafkaSays(`requirement failed: Invalid topic config: all configs to be added must be in the format "key=val".`)
		}
		config := kmsg.NewCreateTopicsRequestTopicConfig()
		k, v = strings.TrimSpace(k), strings.TrimSpace(v)
		config.Name, config.Value = k, &v
		t.Configs = append(t.Configs, config)
	}
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Topics = append(req.Topics, t)
	req.TimeoutMillis = int32(x.e.Timeout().Milliseconds())
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return err
	}
	for _, r := range resp.Topics {
		err := conn.KafkaError(r.ErrorCode, r.ErrorMessage)
		switch {
		case errors.Is(err, kerr.TopicAlreadyExists) && x.opts.has("if-not-exists"):
			return nil
		case err != nil:
			return err
		}
		fmt.Fprintf(x.e.W, "Created topic %s.\n", r.Topic)
	}
	return nil
}

// sizeTopic sets partitions and replicas of a new topic.
func (x *script) sizeTopic(t *kmsg.CreateTopicsRequestTopic) error {
	if s := x.opts.value("partitions"); s != "" {
		n, err := strconv.ParseInt(s, 10, 32)
		if err != nil || n < 1 {
			return kafkaSays("The partitions must be greater than 0")
		}
		t.NumPartitions = int32(n)
	}
	if s := x.opts.value("replication-factor"); s != "" {
		n, err := strconv.ParseInt(s, 10, 16)
		if err != nil || n < 1 {
			return kafkaSays("The replication factor must be between 1 and 32767 inclusive")
		}
		t.ReplicationFactor = int16(n)
	}
	if s := x.opts.value("replica-assignment"); s != "" {
		for i, part := range strings.Split(s, ",") {
			a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
			a.Partition = int32(i)
			for _, id := range strings.Split(part, ":") {
				n, err := strconv.ParseInt(strings.TrimSpace(id), 10, 32)
				if err != nil {
					return fmt.Errorf("%q is no broker id", id)
				}
				a.Replicas = append(a.Replicas, int32(n))
			}
			t.ReplicaAssignment = append(t.ReplicaAssignment, a)
		}
	}
	return nil
}

// topicNames are the topics that --topic names; it is a regular expression.
func (x *script) topicNames(ctx context.Context, adm *kadm.Client) ([]string, error) {
	details, err := adm.ListTopicsWithInternal(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	want := strings.TrimSpace(strings.ReplaceAll(x.opts.value("topic"), ",", "|"))
	re, err := regexp.Compile("^(?:" + want + ")$")
	if err != nil {
		return nil, fmt.Errorf("%s is an invalid regex", want)
	}
	for _, d := range details.Sorted() {
		if (want == "" || re.MatchString(d.Topic)) && (!d.IsInternal || !x.opts.has("exclude-internal")) {
			names = append(names, d.Topic)
		}
	}
	return names, nil
}

// mustName are the topics that --topic names, of which there must be one.
func (x *script) mustName(ctx context.Context, adm *kadm.Client) ([]string, error) {
	names, err := x.topicNames(ctx, adm)
	if err == nil && len(names) == 0 && x.opts.value("topic") != "" && !x.opts.has("if-exists") {
		err = kafkaSays("Topic '%s' does not exist as expected", x.opts.value("topic"))
	}
	return names, err
}

func (x *script) alterTopics(ctx context.Context, adm *kadm.Client) error {
	names, err := x.mustName(ctx, adm)
	if err != nil || len(names) == 0 {
		return err
	}
	var ops []kadm.AlterConfig
	for _, c := range x.opts.given["config"] {
		k, v, _ := strings.Cut(c, "=")
		ops = append(ops, kadm.AlterConfig{Op: kadm.SetConfig, Name: strings.TrimSpace(k), Value: &v})
	}
	for _, c := range x.opts.given["delete-config"] {
		ops = append(ops, kadm.AlterConfig{Op: kadm.DeleteConfig, Name: c})
	}
	if len(ops) > 0 {
		rs, err := adm.AlterTopicConfigs(ctx, ops, names...)
		if err != nil {
			return err
		}
		for _, r := range rs {
			if r.Err != nil {
				return conn.WithMessage(r.Err, r.ErrMessage)
			}
			fmt.Fprintf(x.e.W, "Updated config for topic %s.\n", r.Name)
		}
	}
	s := x.opts.value("partitions")
	if s == "" {
		return nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return kafkaSays("The partitions must be greater than 0")
	}
	rs, err := adm.UpdatePartitions(ctx, n, names...)
	if err != nil {
		return err
	}
	for _, r := range rs.Sorted() {
		if r.Err != nil {
			return conn.WithMessage(r.Err, r.ErrMessage)
		}
	}
	return nil
}

func (x *script) deleteTopics(ctx context.Context, adm *kadm.Client) error {
	names, err := x.mustName(ctx, adm)
	if err != nil || len(names) == 0 {
		return err
	}
	rs, err := adm.DeleteTopics(ctx, names...)
	if err != nil {
		return err
	}
	for _, r := range rs.Sorted() {
		if r.Err != nil {
			return conn.WithMessage(r.Err, r.ErrMessage)
		}
	}
	return nil
}
