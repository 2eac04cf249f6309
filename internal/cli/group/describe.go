package group

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/leat-stream/leat/internal/cli/conn"
	"github.com/leat-stream/leat/internal/cli/out"
)

type described struct {
	Group       string      `json:"group"`
	State       string      `json:"state"`
	Assignor    string      `json:"assignor"`
	Coordinator int32       `json:"coordinator"`
	Members     []member    `json:"members"`
	Partitions  []partition `json:"partitions"`
	Lag         int64       `json:"lag"`
}

type member struct {
	ID         string `json:"id"`
	InstanceID string `json:"instance_id,omitempty"`
	Client     string `json:"client"`
	Host       string `json:"host"`
	Partitions int    `json:"partitions"`
}

type partition struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Committed int64  `json:"committed"` // -1: nothing is committed
	End       int64  `json:"end"`
	Lag       int64  `json:"lag"`
	Member    string `json:"member,omitempty"`
	Client    string `json:"client,omitempty"`
	Host      string `json:"host,omitempty"`
	Error     string `json:"error,omitempty"`
}

func describeCommand(e *conn.Env) *cobra.Command {
	return &cobra.Command{
		Use:   "describe GROUP...",
		Short: "Show the members of groups, their offsets and how far behind they are",
		Example: `  leat group describe billing
  leat group describe billing audit --format json`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: e.Groups(0),
		RunE: func(cmd *cobra.Command, names []string) error {
			return e.WithAdmin(cmd, func(ctx context.Context, adm *kadm.Client) error {
				lags, err := adm.Lag(ctx, names...)
				if err != nil {
					return err
				}
				failures := e.Failures()
				all := []described{}
				var tables []out.Table
				for _, name := range names {
					g, ok := lags[name]
					switch {
					case !ok:
						failures.Add("group "+name, kerr.GroupIDNotFound)
						continue
					case g.Error() != nil:
						failures.Add("group "+name, g.Error())
						continue
					case g.State == "Dead" && len(g.Lag) == 0:
						failures.Add("group "+name, kerr.GroupIDNotFound)
						continue
					}
					d := summary(g)
					all = append(all, d)
					tables = append(tables, d.tables()...)
				}
				if len(all) > 0 || e.JSON() {
					if err := e.Emit(all, tables...); err != nil {
						return err
					}
				}
				return failures.Err()
			})
		},
	}
}

func summary(g kadm.DescribedGroupLag) described {
	d := described{Group: g.Group, State: g.State, Assignor: g.Protocol, Coordinator: g.Coordinator.NodeID,
		Members: []member{}, Partitions: []partition{}, Lag: g.Lag.Total()}
	for _, m := range g.Members {
		row := member{ID: m.MemberID, Client: m.ClientID, Host: m.ClientHost}
		if m.InstanceID != nil {
			row.InstanceID = *m.InstanceID
		}
		if a, ok := m.Assigned.AsConsumer(); ok {
			for _, t := range a.Topics {
				row.Partitions += len(t.Partitions)
			}
		}
		d.Members = append(d.Members, row)
	}
	for _, l := range g.Lag.Sorted() {
		row := partition{Topic: l.Topic, Partition: l.Partition, Committed: l.Commit.At, End: l.End.Offset, Lag: l.Lag}
		if l.Member != nil {
			row.Member, row.Client, row.Host = l.Member.MemberID, l.Member.ClientID, l.Member.ClientHost
		}
		if l.Err != nil {
			row.Error = l.Err.Error()
		}
		d.Partitions = append(d.Partitions, row)
	}
	return d
}

func (d described) tables() []out.Table {
	head := out.Table{Title: "group " + d.Group, Rows: [][]string{
		{"state", d.State}, {"assignor", d.Assignor}, {"coordinator", fmt.Sprint(d.Coordinator)},
		{"members", fmt.Sprint(len(d.Members))}, {"lag", fmt.Sprint(d.Lag)}}}
	t := out.Table{Header: []string{"topic", "partition", "committed", "end", "lag", "member", "client", "host"}, Right: []int{1, 2, 3, 4},
		Empty: "nothing is committed and nothing is assigned"}
	for _, p := range d.Partitions {
		committed, lag := fmt.Sprint(p.Committed), fmt.Sprint(p.Lag)
		if p.Committed < 0 {
			committed = "-"
		}
		if p.Error != "" {
			lag = p.Error
		}
		t.Rows = append(t.Rows, []string{p.Topic, fmt.Sprint(p.Partition), committed, fmt.Sprint(p.End), lag, p.Member, p.Client, p.Host})
	}
	return []out.Table{head, t}
}
