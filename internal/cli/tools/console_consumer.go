package tools

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

var consumerFlags = slices.Concat(common,
	flags(none, "from-beginning", "skip-message-on-error", "enable-systest-events", "new-consumer", "delete-consumer-offsets"),
	flags(required, "topic", "include", "whitelist", "group", "partition", "offset", "max-messages", "timeout-ms", "property",
		"formatter-property", "consumer-property", "command-property", "consumer.config", "formatter-config", "formatter",
		"key-deserializer", "value-deserializer", "isolation-level", "blacklist"))

// reading is what kafka-console-consumer.sh was asked to read.
type reading struct {
	opts    []kgo.Opt
	direct  bool // one partition, without a group
	group   string
	commit  bool
	most    int           // records; below 0 is no limit
	timeout time.Duration // of waiting for the next record; 0 waits for ever
	format  func(io.Writer, *kgo.Record) error
}

// consoleConsumer is kafka-console-consumer.sh.
func consoleConsumer(ctx context.Context, x *script) error {
	r, err := x.reading()
	if err != nil {
		return x.usage(err.Error())
	}
	var cl *kgo.Client
	if err := x.withPatience(ctx, func(ctx context.Context) (err error) {
		cl, err = x.e.Client(ctx, r.opts...)
		return err
	}); err != nil {
		return err
	}
	n, err := x.consume(ctx, cl, r)
	fmt.Fprintf(x.e.Err, "Processed a total of %d messages\n", n)
	return err
}

// reading reads the flags.
func (x *script) reading() (*reading, error) {
	topic, include := x.opts.value("topic"), x.opts.value("include")+x.opts.value("whitelist")
	if (topic == "") == (include == "") {
		return nil, kafkaSays("Exactly one of --include/--topic is required. ")
	}
	props, err := x.opts.file("consumer.config", "command-config")
	if err != nil {
		return nil, err
	}
	given, err := x.opts.properties("consumer-property", "command-property")
	if err != nil {
		return nil, err
	}
	for k, v := range given {
		props[k] = v
	}
	r := &reading{most: -1, opts: []kgo.Opt{kgo.AllowAutoTopicCreation()}}
	if x.opts.value("isolation-level")+props["isolation.level"] == "read_committed" {
		r.opts = append(r.opts, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	}
	if s := x.opts.value("max-messages"); s != "" {
		if r.most, err = strconv.Atoi(s); err != nil {
			return nil, kafkaSays("Cannot parse argument '%s' of option max-messages", s)
		}
	}
	if s := x.opts.value("timeout-ms"); s != "" {
		ms, err := strconv.ParseInt(s, 10, 32)
		if err != nil {
			return nil, kafkaSays("Cannot parse argument '%s' of option timeout-ms", s)
		}
		r.timeout = max(0, time.Duration(ms)*time.Millisecond)
	}
	if r.format, err = x.formatter(); err != nil {
		return nil, err
	}
	if x.opts.has("partition") {
		return r, x.onePartition(r, topic)
	}
	return r, x.asGroup(r, topic, include, props)
}

// onePartition reads --partition from --offset.
func (x *script) onePartition(r *reading, topic string) error {
	p, err := strconv.ParseInt(x.opts.value("partition"), 10, 32)
	if err != nil || topic == "" {
		return kafkaSays("The topic is required when partition is specified.")
	}
	at := kgo.NewOffset().AtEnd()
	switch o := strings.ToLower(x.opts.value("offset")); {
	case o == "earliest" || o == "" && x.opts.has("from-beginning"):
		at = kgo.NewOffset().AtStart()
	case o == "latest" || o == "":
	default:
		n, err := strconv.ParseInt(o, 10, 64)
		if err != nil || n < 0 {
			return kafkaSays("The provided offset value '%s' is incorrect. Valid values are 'earliest', 'latest', or a non-negative long", o)
		}
		at = kgo.NewOffset().At(n)
	}
	r.direct = true
	r.opts = append(r.opts, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {int32(p): at}}))
	return nil
}

// asGroup reads as a member of a group: the given one, or one of its own.
func (x *script) asGroup(r *reading, topic, include string, props map[string]string) error {
	if x.opts.has("offset") {
		return kafkaSays("The partition is required when offset is specified.")
	}
	r.group = x.opts.value("group")
	if r.group == "" {
		r.group = props["group.id"]
	}
	r.commit = r.group != "" && props["enable.auto.commit"] != "false"
	if r.group == "" {
		r.group = fmt.Sprintf("console-consumer-%d", rand.IntN(100000))
	}
	at := kgo.NewOffset().AtEnd()
	if x.opts.has("from-beginning") || props["auto.offset.reset"] == "earliest" {
		at = kgo.NewOffset().AtStart()
	}
	r.opts = append(r.opts, kgo.ConsumerGroup(r.group), kgo.ConsumeResetOffset(at), kgo.ClientID("console-consumer"), kgo.BlockRebalanceOnPoll())
	if r.commit {
		r.opts = append(r.opts, kgo.AutoCommitMarks())
	} else {
		r.opts = append(r.opts, kgo.DisableAutoCommit())
	}
	if include != "" {
		r.opts = append(r.opts, kgo.ConsumeRegex(), kgo.ConsumeTopics("^(?:"+strings.ReplaceAll(include, ",", "|")+")$"))
	} else {
		r.opts = append(r.opts, kgo.ConsumeTopics(topic))
	}
	return nil
}

// leaveTimeout bounds the last commit and the good-bye to the group.
const leaveTimeout = 5 * time.Second

func (x *script) consume(ctx context.Context, cl *kgo.Client, r *reading) (n int, err error) {
	defer func() {
		bye, cancel := context.WithTimeout(context.Background(), leaveTimeout)
		defer cancel()
		if r.commit {
			// A failed commit only means that these records are read again.
			_ = cl.CommitMarkedOffsets(bye)
		}
		cl.AllowRebalance()
		cl.Close()
		x.forget(bye, r)
	}()
	buf := bufio.NewWriter(x.e.W)
	for r.most < 0 || n < r.most {
		poll, cancel := ctx, context.CancelFunc(func() {})
		if r.timeout > 0 {
			poll, cancel = context.WithTimeout(ctx, r.timeout)
		}
		fetches := cl.PollFetches(poll)
		timedOut := poll.Err() != nil && ctx.Err() == nil && fetches.NumRecords() == 0
		cancel()
		if ctx.Err() != nil {
			return n, buf.Flush()
		}
		if timedOut {
			fmt.Fprintln(x.e.Err, "ERROR Error processing message, terminating consumer process:  (timeout)")
			return n, buf.Flush()
		}
		fetches.EachError(func(topic string, _ int32, err error) {
			if !errors.Is(err, context.DeadlineExceeded) {
				fmt.Fprintf(x.e.Err, "WARN %s: %v\n", topic, err)
			}
		})
		for it := fetches.RecordIter(); !it.Done() && (r.most < 0 || n < r.most); n++ {
			rec := it.Next()
			if err := r.format(buf, rec); err != nil {
				return n, err
			}
			if r.commit {
				cl.MarkCommitRecords(rec)
			}
		}
		if err := buf.Flush(); err != nil {
			fmt.Fprintln(x.e.Err, "Unable to write to standard out, closing consumer.")
			return n, nil
		}
		cl.AllowRebalance()
	}
	return n, nil
}

// forget deletes a group of one's own, which nobody will use again.
func (x *script) forget(ctx context.Context, r *reading) {
	if r.direct || r.commit || !strings.HasPrefix(r.group, "console-consumer-") {
		return
	}
	adm, err := x.e.Admin(ctx)
	if err != nil {
		return // the broker drops empty groups without offsets by itself
	}
	defer adm.Close()
	_, _ = adm.DeleteGroup(ctx, r.group) // likewise
}
