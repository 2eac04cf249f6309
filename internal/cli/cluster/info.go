package cluster

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kmsg"

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
	Moving     int      `json:"partitions_moving"`
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
			return ask(e, cmd, func(ctx context.Context, a *asking) error {
				i, err := a.info(ctx)
				if err != nil {
					return err
				}
				return e.Emit(i, i.tables()...)
			})
		},
	}
}

// info asks one node for the cluster, and every broker that is up for its disks. A broker
// that does not tell is listed without a size.
func (a *asking) info(ctx context.Context) (info, error) {
	h, err := a.home(ctx)
	if err != nil {
		return info{}, err
	}
	i := info{Cluster: text(h.meta.ClusterID), Controller: h.meta.ControllerID, Topics: len(h.meta.Topics), Brokers: []broker{}}
	leads, replicas := map[int32]int{}, map[int32]int{}
	for t := range h.meta.Topics {
		for _, p := range h.meta.Topics[t].Partitions {
			i.Partitions++
			if p.Leader < 0 {
				i.Leaderless++
			}
			leads[p.Leader]++
			for _, r := range p.Replicas {
				replicas[r]++
			}
		}
	}
	up := slices.SortedFunc(slices.Values(h.meta.Brokers), func(a, b kmsg.MetadataResponseBroker) int { return int(a.NodeID) - int(b.NodeID) })
	// Metadata names any broker for the controller, one that may be asked.
	var wg sync.WaitGroup
	wg.Go(func() {
		if q := a.quorum(ctx, h); q.err == nil && q.quorum.LeaderID >= 0 {
			i.Controller = q.quorum.LeaderID
		}
	})
	wg.Go(func() {
		moves := a.moves(ctx, h)
		i.Moving, i.Under = moves.moving, moves.under
	})
	answers := each(up, func(b kmsg.MetadataResponseBroker) nodeAnswer {
		return a.node(ctx, net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port))))
	})
	wg.Wait()
	for at, b := range up {
		row := broker{ID: b.NodeID, Host: b.Host, Port: b.Port, Rack: text(b.Rack), Controller: b.NodeID == i.Controller,
			Leads: leads[b.NodeID], Replicas: replicas[b.NodeID], Bytes: -1}
		if v := answers[at].versions; v != nil && i.Protocol == "" {
			i.Protocol = "Kafka " + resembles(v)
		}
		if answers[at].dirs != nil {
			var disks statusNode
			disks.Bytes = -1
			disks.disks(answers[at].dirs)
			row.Bytes = disks.Bytes
		}
		i.Brokers = append(i.Brokers, row)
	}
	return i, nil
}

func (i info) tables() []out.Table {
	head := out.Table{Rows: [][]string{
		{"cluster", i.Cluster}, {"protocol", i.Protocol}, {"controller", fmt.Sprint(i.Controller)},
		{"topics", fmt.Sprint(i.Topics)}, {"partitions", fmt.Sprint(i.Partitions)},
		{"without leader", fmt.Sprint(i.Leaderless)}, {"under-replicated", fmt.Sprint(i.Under)}, {"moving", fmt.Sprint(i.Moving)}}}
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
