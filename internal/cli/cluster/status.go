package cluster

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/leat-stream/leat/internal/cli/conn"
	"github.com/leat-stream/leat/internal/nodewire"
)

// status is the health of a cluster on one screen.
type status struct {
	Cluster    string           `json:"cluster_id"`
	Healthy    bool             `json:"healthy"`
	Topics     int              `json:"topics"`
	Partitions int              `json:"partitions"`
	Offline    int              `json:"partitions_offline"`
	Under      int              `json:"partitions_under_replicated"`
	UnderMin   int              `json:"partitions_under_min_isr"`
	Moving     int              `json:"partitions_moving"`
	Silent     int              `json:"voters_behind"`
	Software   []statusSoftware `json:"versions"` // of Leat, that nodes run
	Brokers    []statusNode     `json:"brokers"`
	Quorum     statusQuorum     `json:"quorum"`
	Missing    []string         `json:"not_told,omitempty"` // what could not be asked, and why
	// Attention is what is no fault, and should not stay so.
	Attention []string `json:"attention,omitempty"`
}

type statusNode struct {
	ID       int32  `json:"id"`
	Address  string `json:"address"`
	Rack     string `json:"rack,omitempty"`
	Fenced   bool   `json:"fenced"`
	Answers  bool   `json:"answers"`
	Version  string `json:"version,omitempty"`  // of Leat
	Protocol string `json:"protocol,omitempty"` // of Kafka, as far as it speaks it
	Leads    int    `json:"leads"`
	Replicas int    `json:"replicas"`
	Bytes    int64  `json:"bytes"`      // of its replicas; -1 when it does not tell, and so below
	Free     int64  `json:"bytes_free"` // on its disks
	Total    int64  `json:"bytes_total"`
	DiskDown bool   `json:"disk_offline"`
	DiskFull bool   `json:"disk_full"`
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

// statusSoftware is a version of Leat, and the nodes that run it.
type statusSoftware struct {
	Version string  `json:"version"`
	Nodes   []int32 `json:"nodes"`
}

// silentFor is how long a voter may lack something before the cluster is not healthy.
const silentFor = 10 * time.Second

// diskRoom is what has to be free on a disk: a node refuses to start with less.
const diskRoom = 1 << 20

func statusCommand(e *conn.Env) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show the health of the cluster on one screen",
		Long: "Show the health of the cluster: nodes with their versions, racks, leaders, replicas and disks; partitions that are offline, " +
			"under-replicated or below min.insync.replicas; the metadata quorum with its lags. Not healthy is a cluster in which any of that is " +
			"wrong, a voter has been behind for ten seconds, a disk has less than 1 MiB free, or something cannot be told. A partition that is being " +
			"moved is under-replicated when fewer of its replicas are in sync than it had before. All nodes are asked at a time, and what has " +
			"not answered within three seconds (--timeout says otherwise) is left out; what that is stands behind 'not told'.",
		Example: "  leat cluster status\n  leat cluster status --format json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return ask(e, cmd, func(ctx context.Context, a *asking) error {
				s, err := a.status(ctx)
				if err != nil {
					return err
				}
				return e.Emit(s, s.tables()...)
			})
		},
	}
}

// status asks one node for the cluster, and then every node for itself.
func (a *asking) status(ctx context.Context) (*status, error) {
	h, err := a.home(ctx)
	if err != nil {
		return nil, err
	}
	s := &status{Topics: len(h.meta.Topics), Software: []statusSoftware{}, Brokers: []statusNode{}, Quorum: statusQuorum{Leader: -1, Members: []statusMember{}}}
	if h.meta.ClusterID != nil {
		s.Cluster = *h.meta.ClusterID
	}
	lacking := s.count(h.meta)
	var (
		nodes    []nodeAnswer
		quorum   quorumAnswer
		moves    movesAnswer
		least    map[string]int
		leastErr error
		wg       sync.WaitGroup
	)
	wg.Go(func() {
		nodes = each(h.brokers, func(b kmsg.DescribeClusterResponseBroker) nodeAnswer { return a.node(ctx, address(b)) })
	})
	wg.Go(func() { quorum = a.quorum(ctx, h) })
	wg.Go(func() { moves = a.moves(ctx, h) })
	wg.Go(func() { least, leastErr = a.minISR(ctx, h, slices.Sorted(maps.Keys(lacking))) })
	wg.Wait()
	s.nodes(h, nodes, a)
	for topic, n := range least {
		for _, p := range lacking[topic] {
			if len(p.ISR) < min(n, len(p.Replicas)) {
				s.UnderMin++
			}
		}
	}
	s.missing("min.insync.replicas", leastErr, a)
	s.Moving, s.Under = moves.moving, moves.under
	s.missing("reassignments", moves.err, a)
	if s.missing("quorum", quorum.err, a); quorum.err == nil {
		s.quorum(quorum.quorum)
	}
	s.software(quorum.software, a)
	s.Healthy = s.well()
	return s, nil
}

// well tells whether nothing is wrong. What is not told may be anything: without a quorum, a
// node answers by what it last knew.
func (s *status) well() bool {
	return len(s.Missing) == 0 && s.Offline == 0 && s.Under == 0 && s.UnderMin == 0 && s.Silent == 0 &&
		!slices.ContainsFunc(s.Brokers, func(b statusNode) bool { return b.Fenced || b.DiskDown || b.DiskFull })
}

// missing notes what is not told, if there is a reason.
func (s *status) missing(what string, err error, a *asking) {
	if err != nil {
		s.Missing = append(s.Missing, what+": "+a.why(err))
	}
}

// count counts partitions, and gives those that lack in-sync replicas, be it ones that are being
// added, by topic.
func (s *status) count(meta *kmsg.MetadataResponse) map[string][]kmsg.MetadataResponseTopicPartition {
	lacking := map[string][]kmsg.MetadataResponseTopicPartition{}
	for i := range meta.Topics {
		t := &meta.Topics[i]
		for _, p := range t.Partitions {
			s.Partitions++
			if p.Leader < 0 {
				s.Offline++
			}
			if len(p.ISR) < len(p.Replicas) && t.Topic != nil {
				lacking[*t.Topic] = append(lacking[*t.Topic], p)
			}
		}
	}
	return lacking
}

// nodes fills in the brokers.
func (s *status) nodes(h *home, answers []nodeAnswer, a *asking) {
	leads, replicas := map[int32]int{}, map[int32]int{}
	for i := range h.meta.Topics {
		for _, p := range h.meta.Topics[i].Partitions {
			leads[p.Leader]++
			for _, id := range p.Replicas {
				replicas[id]++
			}
		}
	}
	for i, b := range h.brokers {
		n := statusNode{ID: b.NodeID, Address: h.shown(b, answers), Fenced: b.IsFenced, Leads: leads[b.NodeID], Replicas: replicas[b.NodeID], Bytes: -1, Free: -1, Total: -1}
		if b.Rack != nil {
			n.Rack = *b.Rack
		}
		if v := answers[i].versions; v != nil {
			n.Answers, n.Version, n.Protocol = true, nodewire.Software(v), resembles(v)
		}
		if answers[i].dirs != nil {
			n.disks(answers[i].dirs)
		}
		s.missing(fmt.Sprintf("node %d", b.NodeID)+answers[i].part, answers[i].err, a)
		s.Brokers = append(s.Brokers, n)
	}
}

// disks fills in what a broker says of its log directories.
func (n *statusNode) disks(dirs *kmsg.DescribeLogDirsResponse) {
	for i := range dirs.Dirs {
		d := &dirs.Dirs[i]
		if d.ErrorCode != 0 {
			n.DiskDown = true
			continue
		}
		n.Bytes = max(n.Bytes, 0)
		for _, t := range d.Topics {
			for _, p := range t.Partitions {
				n.Bytes += p.Size
			}
		}
		if d.TotalBytes >= 0 {
			n.Free, n.Total = max(n.Free, 0)+d.UsableBytes, max(n.Total, 0)+d.TotalBytes
			n.DiskFull = n.DiskFull || d.UsableBytes < diskRoom
		}
	}
}

// resembles is the release of Kafka whose requests a broker understands, as far as it
// serves them at all.
func resembles(resp *kmsg.ApiVersionsResponse) string {
	told := map[int16]bool{}
	for _, k := range resp.ApiKeys {
		told[k.ApiKey] = true
	}
	var absent []int16
	kversion.Stable().EachMaxKeyVersion(func(key, _ int16) {
		if !told[key] {
			absent = append(absent, key)
		}
	})
	return kversion.FromApiVersionsResponse(resp).VersionGuess(kversion.SkipKeys(absent...))
}

// software lists the versions of Leat that brokers run, and members of the quorum that
// are none.
func (s *status) software(alone map[int32]nodeAnswer, a *asking) {
	runs := map[string][]int32{}
	for _, b := range s.Brokers {
		if b.Version != "" {
			runs[b.Version] = append(runs[b.Version], b.ID)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(alone)) {
		s.missing(fmt.Sprintf("node %d", id), alone[id].err, a)
		if v := alone[id].versions; v != nil && nodewire.Software(v) != "" {
			runs[nodewire.Software(v)] = append(runs[nodewire.Software(v)], id)
		}
	}
	for _, version := range slices.Sorted(maps.Keys(runs)) {
		slices.Sort(runs[version])
		s.Software = append(s.Software, statusSoftware{version, runs[version]})
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
	if a := evenVoters(len(q.CurrentVoters)); a != "" {
		s.Attention = append(s.Attention, a)
	}
	add(q.CurrentVoters, true)
	add(q.Observers, false)
}

// evenVoters says what is wrong with an even number of voters; "" with an odd one.
func evenVoters(n int) string {
	switch {
	case n == 2:
		return "2 voters: the loss of either stops the metadata; add a third controller, or give one its vote (leat.quorum.voter=always)"
	case n > 0 && n%2 == 0:
		return fmt.Sprintf("%d voters bear the loss of %d, as %d would; add a controller, or take one's vote (leat.quorum.voter=never)", n, n/2-1, n-1)
	}
	return ""
}
