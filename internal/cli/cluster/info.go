package cluster

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/leat-stream/leat/internal/cli/conn"
	"github.com/leat-stream/leat/internal/cli/out"
)

type info struct {
	Cluster    string   `json:"cluster_id"`
	Controller int32    `json:"controller"`
	Protocol   string   `json:"protocol"`
	Topics     int      `json:"topics"`
	Partitions int      `json:"partitions"`
	Leaderless int      `json:"partitions_without_leader"`
	Under      int      `json:"partitions_under_replicated"`
	Brokers    []broker `json:"brokers"`
}

type broker struct {
	ID         int32  `json:"id"`
	Host       string `json:"host"`
	Port       int32  `json:"port"`
	Rack       string `json:"rack,omitempty"`
	Controller bool   `json:"controller"`
	Leads      int    `json:"leads"`
	Replicas   int    `json:"replicas"`
	Bytes      int64  `json:"bytes"` // of all replicas; -1 when the broker does not tell
}

func infoCommand(e *conn.Env) *cobra.Command {
	return &cobra.Command{
		Use:   "info",
		Short: "Show brokers, controller and how many topics and partitions there are",
		Example: `  leat cluster info
  leat cluster info --bootstrap-server kafka-1:9092 --format json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return e.WithAdmin(cmd, func(ctx context.Context, adm *kadm.Client) error {
				i, err := gather(ctx, adm)
				if err != nil {
					return err
				}
				return e.Emit(i, i.tables()...)
			})
		},
	}
}

func gather(ctx context.Context, adm *kadm.Client) (info, error) {
	m, err := adm.Metadata(ctx)
	if err != nil {
		return info{}, err
	}
	i := info{Cluster: m.Cluster, Controller: m.Controller, Topics: len(m.Topics), Brokers: []broker{}}
	leads, replicas := map[int32]int{}, map[int32]int{}
	m.Topics.EachPartition(func(p kadm.PartitionDetail) {
		i.Partitions++
		if p.Leader < 0 {
			i.Leaderless++
		}
		if len(p.ISR) < len(p.Replicas) {
			i.Under++
		}
		leads[p.Leader]++
		for _, r := range p.Replicas {
			replicas[r]++
		}
	})
	i.Protocol = protocol(ctx, adm)
	sizes := brokerSizes(ctx, adm)
	for _, b := range m.Brokers {
		row := broker{ID: b.NodeID, Host: b.Host, Port: b.Port, Controller: b.NodeID == m.Controller,
			Leads: leads[b.NodeID], Replicas: replicas[b.NodeID], Bytes: -1}
		if b.Rack != nil {
			row.Rack = *b.Rack
		}
		if size, ok := sizes[b.NodeID]; ok {
			row.Bytes = size
		}
		i.Brokers = append(i.Brokers, row)
	}
	return i, nil
}

// protocol is the release of Kafka whose requests the brokers understand, as far as
// they serve them at all; "" when they do not tell.
func protocol(ctx context.Context, adm *kadm.Client) string {
	versions, err := adm.ApiVersions(ctx)
	if err != nil {
		return ""
	}
	for _, v := range versions.Sorted() {
		if v.Err != nil {
			continue
		}
		var missing []int16
		kversion.Stable().EachMaxKeyVersion(func(key, _ int16) {
			if _, ok := v.KeyMaxVersion(key); !ok {
				missing = append(missing, key)
			}
		})
		return "Kafka " + v.VersionGuess(kversion.SkipKeys(missing...))
	}
	return ""
}

// brokerSizes is what the partitions of each broker take on its disks. A broker
// that does not tell is left out.
func brokerSizes(ctx context.Context, adm *kadm.Client) map[int32]int64 {
	sizes := map[int32]int64{}
	dirs, err := adm.DescribeAllLogDirs(ctx, nil)
	if err != nil && len(dirs) == 0 {
		return sizes
	}
	for id, of := range dirs {
		for _, d := range of {
			if d.Err == nil {
				sizes[id] += d.Size()
			}
		}
	}
	return sizes
}

func (i info) tables() []out.Table {
	head := out.Table{Rows: [][]string{
		{"cluster", i.Cluster}, {"protocol", i.Protocol}, {"controller", fmt.Sprint(i.Controller)},
		{"topics", fmt.Sprint(i.Topics)}, {"partitions", fmt.Sprint(i.Partitions)},
		{"without leader", fmt.Sprint(i.Leaderless)}, {"under-replicated", fmt.Sprint(i.Under)}}}
	t := out.Table{Header: []string{"broker", "host", "port", "rack", "leads", "replicas", "size"}, Right: []int{0, 2, 4, 5, 6}}
	for _, b := range i.Brokers {
		id := fmt.Sprint(b.ID)
		if b.Controller {
			id += "*"
		}
		size := "-"
		if b.Bytes >= 0 {
			size = out.Bytes(b.Bytes)
		}
		t.Rows = append(t.Rows, []string{id, b.Host, fmt.Sprint(b.Port), b.Rack, fmt.Sprint(b.Leads), fmt.Sprint(b.Replicas), size})
	}
	return []out.Table{head, t}
}
