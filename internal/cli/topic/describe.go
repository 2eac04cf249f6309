package topic

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/cli/conn"
	"github.com/leat-stream/leat/internal/cli/out"
)

type described struct {
	Topic      string            `json:"topic"`
	ID         string            `json:"id,omitempty"`
	Internal   bool              `json:"internal,omitempty"`
	Partitions []partition       `json:"partitions"`
	Configs    map[string]string `json:"configs"`
}

type partition struct {
	Partition int32   `json:"partition"`
	Leader    int32   `json:"leader"`
	Epoch     int32   `json:"leader_epoch"`
	Replicas  []int32 `json:"replicas"`
	ISR       []int32 `json:"isr"`
	Start     int64   `json:"start_offset"`
	End       int64   `json:"end_offset"`
	Error     string  `json:"error,omitempty"`
}

func describeCommand(e *conn.Env) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "describe TOPIC...",
		Short: "Show partitions, offsets and settings of topics",
		Example: `  leat topic describe orders
  leat topic describe orders --all-configs --format json`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: e.Topics(0),
		RunE: func(cmd *cobra.Command, names []string) error {
			return e.WithAdmin(cmd, func(ctx context.Context, adm *kadm.Client) error {
				return describe(ctx, e, adm, names, all)
			})
		},
	}
	cmd.Flags().BoolVarP(&all, "all-configs", "a", false, "show settings that have their default, too")
	return cmd
}

func describe(ctx context.Context, e *conn.Env, adm *kadm.Client, names []string, all bool) error {
	topics, err := adm.ListTopicsWithInternal(ctx, names...)
	if err != nil {
		return err
	}
	failures := e.Failures()
	results := []described{}
	var tables []out.Table
	for _, name := range names {
		d, ok := topics[name]
		if !ok || d.Err != nil {
			failures.Add("topic "+name, d.Err)
			continue
		}
		r := described{Topic: name, Internal: d.IsInternal, Configs: map[string]string{}, Partitions: []partition{}}
		r.ID = conn.TopicID(d.ID)
		configs, err := describeConfigs(ctx, adm, name, all, r.Configs)
		if err != nil {
			return err
		}
		describePartitions(ctx, adm, d, &r)
		results = append(results, r)
		tables = append(tables, partitionTable(r), configs)
	}
	if len(results) > 0 || e.JSON() {
		if err := e.Emit(results, tables...); err != nil {
			return err
		}
	}
	return failures.Err()
}

func describeConfigs(ctx context.Context, adm *kadm.Client, name string, all bool, into map[string]string) (out.Table, error) {
	t := out.Table{Header: []string{"setting", "value", "from"}}
	rs, err := adm.DescribeTopicConfigs(ctx, name)
	if err != nil {
		return t, err
	}
	for _, r := range rs {
		if r.Err != nil {
			return t, conn.WithMessage(r.Err, r.ErrMessage)
		}
		for _, c := range r.Configs {
			if c.Source == kmsg.ConfigSourceDefaultConfig && !all {
				continue
			}
			into[c.Key] = c.MaybeValue()
			t.Rows = append(t.Rows, []string{c.Key, c.MaybeValue(), conn.SourceName(c.Source)})
		}
	}
	if len(t.Rows) == 0 {
		t.Header, t.Rows = nil, [][]string{{"every setting has its default"}}
	}
	return t, nil
}

// offsetsTimeout bounds the look-up of offsets: partitions without a leader, or with one that
// is silent, do not keep the rest from being shown.
const offsetsTimeout = 5 * time.Second

func describePartitions(ctx context.Context, adm *kadm.Client, d kadm.TopicDetail, r *described) {
	patience := offsetsTimeout
	if end, bounded := ctx.Deadline(); bounded {
		patience = min(patience, time.Until(end)*2/3) // the rest is shown within --timeout, too
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var (
		starts, ends     kadm.ListedOffsets
		errStart, errEnd error
		wg               sync.WaitGroup
	)
	wg.Go(func() { starts, errStart = adm.ListStartOffsets(ctx, d.Topic) })
	wg.Go(func() { ends, errEnd = adm.ListEndOffsets(ctx, d.Topic) })
	wg.Wait()
	for _, p := range d.Partitions.Sorted() {
		row := partition{Partition: p.Partition, Leader: p.Leader, Epoch: p.LeaderEpoch, Replicas: p.Replicas, ISR: p.ISR, Start: -1, End: -1}
		start, okStart := starts.Lookup(d.Topic, p.Partition)
		end, okEnd := ends.Lookup(d.Topic, p.Partition)
		switch {
		case p.Err != nil:
			row.Error = p.Err.Error()
		case errStart != nil && !okStart:
			row.Error = whyNoOffset(errStart)
		case errEnd != nil && !okEnd:
			row.Error = whyNoOffset(errEnd)
		case start.Err != nil:
			row.Error = whyNoOffset(start.Err)
		case end.Err != nil:
			row.Error = whyNoOffset(end.Err)
		default:
			row.Start, row.End = start.Offset, end.Offset
		}
		r.Partitions = append(r.Partitions, row)
	}
}

// whyNoOffset is an error of the cluster as it stands, and that a leader is silent in a word.
func whyNoOffset(err error) string {
	var (
		kafka *kerr.Error
		shard *kadm.ShardErrors
	)
	if errors.As(err, &kafka) {
		return err.Error()
	}
	if errors.As(err, &shard) && len(shard.Errs) > 0 {
		err = shard.Errs[0].Err
	}
	return conn.Reason(err)
}

func partitionTable(r described) out.Table {
	t := out.Table{Title: "topic " + r.Topic,
		Header: []string{"partition", "leader", "epoch", "replicas", "isr", "start", "end", "records"}, Right: []int{0, 1, 2, 5, 6, 7}}
	failed := false
	for _, p := range r.Partitions {
		row := []string{fmt.Sprint(p.Partition), fmt.Sprint(p.Leader), fmt.Sprint(p.Epoch), ids(p.Replicas), ids(p.ISR),
			fmt.Sprint(p.Start), fmt.Sprint(p.End), fmt.Sprint(p.End - p.Start)}
		if p.Error != "" {
			failed = true
			row[5], row[6], row[7] = "-", "-", "-"
		}
		t.Rows = append(t.Rows, append(row, p.Error))
	}
	if failed {
		t.Header = append(t.Header, "error")
	} else {
		for i := range t.Rows {
			t.Rows[i] = t.Rows[i][:8]
		}
	}
	return t
}
