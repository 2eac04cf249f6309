package cluster

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/leat-stream/leat/internal/cli/conn"
	"github.com/leat-stream/leat/internal/cli/out"
)

// status is the health of a cluster on one screen.
type status struct {
	Cluster    string       `json:"cluster_id"`
	Healthy    bool         `json:"healthy"`
	Topics     int          `json:"topics"`
	Partitions int          `json:"partitions"`
	Offline    int          `json:"partitions_offline"`
	Under      int          `json:"partitions_under_replicated"`
	UnderMin   int          `json:"partitions_under_min_isr"`
	Moving     int          `json:"partitions_moving"`
	Silent     int          `json:"voters_behind"`
	Brokers    []statusNode `json:"brokers"`
	Quorum     statusQuorum `json:"quorum"`
	Missing    []string     `json:"not_told,omitempty"` // what could not be asked, and why
}

type statusNode struct {
	ID       int32  `json:"id"`
	Address  string `json:"address"`
	Rack     string `json:"rack,omitempty"`
	Fenced   bool   `json:"fenced"`
	Protocol string `json:"protocol,omitempty"`
	Leads    int    `json:"leads"`
	Replicas int    `json:"replicas"`
	Bytes    int64  `json:"bytes"`      // of its replicas; -1 when it does not tell, and so below
	Free     int64  `json:"bytes_free"` // on its disks
	Total    int64  `json:"bytes_total"`
	DiskDown bool   `json:"disk_offline"`
}

type statusQuorum struct {
	Leader  int32          `json:"leader"`
	Epoch   int32          `json:"epoch"`
	End     int64          `json:"committed"` // entries
	Members []statusMember `json:"members"`
}

type statusMember struct {
	ID    int32 `json:"id"`
	Voter bool  `json:"voter"`
	Lag   int64 `json:"lag"` // entries behind the leader's log; -1 unknown
	// Behind is for how long it has not had everything; -1 when unknown.
	Behind int64 `json:"behind_ms"`
}

// silentFor is how long a voter may lack something before the cluster is not healthy.
const silentFor = 10 * time.Second

func statusCommand(e *conn.Env) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show the health of the cluster on one screen",
		Long: "Show the health of the cluster: nodes with their racks, leaders, replicas and disks; partitions that are offline, " +
			"under-replicated or below min.insync.replicas; the metadata quorum with its lags. Not healthy is a cluster in which any of that is " +
			"wrong, a voter has been behind for ten seconds, or something cannot be told.",
		Example: "  leat cluster status\n  leat cluster status --format json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return e.WithClient(cmd, func(ctx context.Context, cl *kgo.Client, adm *kadm.Client) error {
				s, err := gatherStatus(ctx, cl, adm)
				if err != nil {
					return err
				}
				return e.Emit(s, s.tables()...)
			})
		},
	}
}

func gatherStatus(ctx context.Context, cl *kgo.Client, adm *kadm.Client) (*status, error) {
	meta, err := adm.Metadata(ctx)
	if err != nil {
		return nil, err
	}
	s := &status{Cluster: meta.Cluster, Topics: len(meta.Topics), Brokers: []statusNode{}, Quorum: statusQuorum{Leader: -1, Members: []statusMember{}}}
	brokers, err := describeBrokers(ctx, cl)
	if err != nil {
		return nil, err
	}
	s.nodes(brokers, meta, versionsOf(ctx, adm))
	s.disks(ctx, adm)
	s.partitions(ctx, adm, meta)
	if moving, err := reassignments(ctx, cl); err != nil {
		s.missing("reassignments", err)
	} else {
		s.Moving = len(moving.Sorted())
	}
	if q, err := DescribeQuorum(ctx, cl); err != nil {
		s.missing("quorum", err)
	} else {
		s.quorum(q)
	}
	// What is not told may be anything: without a quorum, a node answers by what it last knew.
	s.Healthy = len(s.Missing) == 0 && s.Offline == 0 && s.Under == 0 && s.UnderMin == 0 && s.Silent == 0 &&
		!slices.ContainsFunc(s.Brokers, func(b statusNode) bool { return b.Fenced || b.DiskDown })
	return s, nil
}

func (s *status) missing(what string, err error) {
	s.Missing = append(s.Missing, fmt.Sprintf("%s: %v", what, err))
}

// nodes fills in the brokers.
func (s *status) nodes(brokers []kmsg.DescribeClusterResponseBroker, meta kadm.Metadata, versions map[int32]string) {
	leads, replicas := map[int32]int{}, map[int32]int{}
	meta.Topics.EachPartition(func(p kadm.PartitionDetail) {
		leads[p.Leader]++
		for _, id := range p.Replicas {
			replicas[id]++
		}
	})
	for _, b := range brokers {
		n := statusNode{ID: b.NodeID, Address: fmt.Sprintf("%s:%d", b.Host, b.Port), Fenced: b.IsFenced, Protocol: versions[b.NodeID],
			Leads: leads[b.NodeID], Replicas: replicas[b.NodeID], Bytes: -1, Free: -1, Total: -1}
		if b.Rack != nil {
			n.Rack = *b.Rack
		}
		s.Brokers = append(s.Brokers, n)
	}
}

// versionsOf guesses the release whose protocol each broker speaks.
func versionsOf(ctx context.Context, adm *kadm.Client) map[int32]string {
	all := map[int32]string{}
	versions, err := adm.ApiVersions(ctx)
	if err != nil {
		return all
	}
	for _, v := range versions.Sorted() {
		if v.Err != nil {
			continue
		}
		var absent []int16
		kversion.Stable().EachMaxKeyVersion(func(key, _ int16) {
			if _, ok := v.KeyMaxVersion(key); !ok {
				absent = append(absent, key)
			}
		})
		all[v.NodeID] = v.VersionGuess(kversion.SkipKeys(absent...))
	}
	return all
}

// disks fills in what the brokers say of their log directories.
func (s *status) disks(ctx context.Context, adm *kadm.Client) {
	dirs, err := adm.DescribeAllLogDirs(ctx, nil)
	if err != nil {
		s.missing("disks", err)
	}
	for i := range s.Brokers {
		b := &s.Brokers[i]
		for _, d := range dirs[b.ID] {
			if d.Err != nil {
				b.DiskDown = true
				continue
			}
			b.Bytes = max(b.Bytes, 0) + d.Size()
			if d.TotalBytes >= 0 {
				b.Free, b.Total = max(b.Free, 0)+d.UsableBytes, max(b.Total, 0)+d.TotalBytes
			}
		}
	}
}

// partitions counts those that are in a bad state. Which in-sync minimum a topic has is
// asked of those only that lack replicas.
func (s *status) partitions(ctx context.Context, adm *kadm.Client, meta kadm.Metadata) {
	least := map[string]int{} // in-sync replicas of a topic's worst partition
	meta.Topics.EachPartition(func(p kadm.PartitionDetail) {
		s.Partitions++
		if p.Leader < 0 {
			s.Offline++
		}
		if len(p.ISR) < len(p.Replicas) {
			s.Under++
			least[p.Topic] = 0
		}
	})
	if len(least) == 0 {
		return
	}
	var names []string
	for topic := range least {
		names = append(names, topic)
	}
	slices.Sort(names)
	configs, err := adm.DescribeTopicConfigs(ctx, names...)
	if err != nil {
		s.missing("min.insync.replicas", err)
	}
	for _, rc := range configs {
		for _, c := range rc.Configs {
			if n, err := strconv.Atoi(c.MaybeValue()); c.Key == "min.insync.replicas" && err == nil {
				for _, p := range meta.Topics[rc.Name].Partitions {
					if len(p.ISR) < min(n, len(p.Replicas)) {
						s.UnderMin++
					}
				}
			}
		}
	}
}

// quorum fills in the metadata quorum.
func (s *status) quorum(q *kmsg.DescribeQuorumResponseTopicPartition) {
	s.Quorum.Leader, s.Quorum.Epoch, s.Quorum.End = q.LeaderID, q.LeaderEpoch, q.HighWatermark
	end, now := q.HighWatermark, int64(-1)
	for _, v := range q.CurrentVoters {
		if v.ReplicaID == q.LeaderID {
			end, now = max(end, v.LogEndOffset), v.LastCaughtUpTimestamp
		}
	}
	add := func(all []kmsg.DescribeQuorumResponseTopicPartitionReplicaState, voter bool) {
		for _, m := range all {
			out := statusMember{ID: m.ReplicaID, Voter: voter, Lag: -1, Behind: -1}
			if m.LogEndOffset >= 0 {
				out.Lag = max(end-m.LogEndOffset, 0)
			}
			if now >= 0 && m.LastCaughtUpTimestamp >= 0 {
				out.Behind = max(now-m.LastCaughtUpTimestamp, 0)
			}
			if voter && (out.Behind < 0 || out.Behind > silentFor.Milliseconds()) { // down, most likely
				s.Silent++
			}
			s.Quorum.Members = append(s.Quorum.Members, out)
		}
	}
	add(q.CurrentVoters, true)
	add(q.Observers, false)
}

func (s *status) tables() []out.Table {
	health := "healthy"
	if !s.Healthy {
		health = "NOT HEALTHY"
	}
	head := out.Table{Rows: [][]string{
		{"cluster", s.Cluster}, {"health", health},
		{"topics", fmt.Sprint(s.Topics)}, {"partitions", fmt.Sprint(s.Partitions)},
		{"offline", fmt.Sprint(s.Offline)}, {"under-replicated", fmt.Sprint(s.Under)},
		{"below min ISR", fmt.Sprint(s.UnderMin)}, {"moving", fmt.Sprint(s.Moving)},
		{"voters behind", fmt.Sprint(s.Silent)}}}
	for _, m := range s.Missing {
		head.Rows = append(head.Rows, []string{"not told", m})
	}
	nodes := out.Table{Header: []string{"node", "address", "rack", "state", "protocol", "leads", "replicas", "size", "disk free"}, Right: []int{0, 5, 6, 7, 8}}
	for _, b := range s.Brokers {
		state := "up"
		switch {
		case b.Fenced:
			state = "FENCED"
		case b.DiskDown:
			state = "DISK OFFLINE"
		}
		free := "-"
		if b.Free >= 0 && b.Total > 0 {
			free = fmt.Sprintf("%s of %s", out.Bytes(b.Free), out.Bytes(b.Total))
		}
		nodes.Rows = append(nodes.Rows, []string{fmt.Sprint(b.ID), b.Address, b.Rack, state, b.Protocol,
			fmt.Sprint(b.Leads), fmt.Sprint(b.Replicas), sizeOrDash(b.Bytes), free})
	}
	quorum := out.Table{Header: []string{"quorum", "role", "lag", "behind"}, Right: []int{0, 2, 3}, Empty: "the metadata quorum is not told"}
	for _, m := range s.Quorum.Members {
		role := "observer"
		switch {
		case m.ID == s.Quorum.Leader && m.Voter:
			role = "leader"
		case m.Voter:
			role = "voter"
		}
		lag, behind := "-", "-"
		if m.Lag >= 0 {
			lag = fmt.Sprint(m.Lag)
		}
		if m.Behind >= 0 {
			behind = (time.Duration(m.Behind) * time.Millisecond).String()
		}
		quorum.Rows = append(quorum.Rows, []string{fmt.Sprint(m.ID), role, lag, behind})
	}
	return []out.Table{head, nodes, quorum}
}

func sizeOrDash(n int64) string {
	if n < 0 {
		return "-"
	}
	return out.Bytes(n)
}
