package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/cli/conn"
)

// removed is what remove did.
type removed struct {
	Node         int32 `json:"node"`
	Voter        bool  `json:"voter_removed"`
	Unregistered bool  `json:"unregistered"`
}

func removeCommand(e *conn.Env) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "remove NODE",
		Short: "Forget a node that is drained and stopped",
		Long: "Forget a node for good: it loses its vote in the metadata quorum, and its registration. Refused while replicas are " +
			"assigned to it ('leat cluster drain' moves them), and while it is up, as it would come back; of a controller that is no " +
			"broker, that is known ten seconds after it has stopped.",
		Example: "  leat cluster remove 3",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := nodeID(args[0])
			if err != nil {
				return err
			}
			return e.WithClient(cmd, func(ctx context.Context, cl *kgo.Client, adm *kadm.Client) error {
				done, err := removeNode(ctx, cl, adm, id, force)
				if err != nil {
					return err
				}
				if e.JSON() {
					return e.WriteJSON(done)
				}
				e.Note("node %d is removed", id)
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "remove it though it is up")
	return cmd
}

func removeNode(ctx context.Context, cl *kgo.Client, adm *kadm.Client, id int32, force bool) (removed, error) {
	done := removed{Node: id}
	s := &state{}
	var err error
	if s.meta, err = adm.Metadata(ctx); err != nil {
		return done, err
	}
	if s.brokers, err = describeBrokers(ctx, cl); err != nil {
		return done, err
	}
	if n := s.holds(id); n > 0 {
		return done, fmt.Errorf("node %d has replicas of %d partitions; 'leat cluster drain %d' moves them", id, n, id)
	}
	at := slices.IndexFunc(s.brokers, func(b kmsg.DescribeClusterResponseBroker) bool { return b.NodeID == id })
	if at >= 0 && !s.brokers[at].IsFenced && !force {
		return done, fmt.Errorf("node %d is up; stop it first, or give --force", id)
	}
	quorum, err := DescribeQuorum(ctx, cl)
	if err != nil {
		return done, err
	}
	if at < 0 && !force && follows(quorum, id) { // a controller alone
		return done, fmt.Errorf("node %d is up; stop it first and wait %v, or give --force", id, silentFor)
	}
	for _, v := range quorum.CurrentVoters {
		if v.ReplicaID != id {
			continue
		}
		req := kmsg.NewPtrRemoveRaftVoterRequest()
		req.VoterID, req.VoterDirectoryID = id, v.ReplicaDirectoryID
		resp, err := req.RequestWith(ctx, cl)
		if err != nil {
			return done, err
		}
		if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
			return done, fmt.Errorf("vote of node %d: %w", id, conn.WithMessage(err, text(resp.ErrorMessage)))
		}
		done.Voter = true
	}
	req := kmsg.NewPtrUnregisterBrokerRequest()
	req.BrokerID = id
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return done, err
	}
	switch err := kerr.ErrorForCode(resp.ErrorCode); {
	case err == nil:
		done.Unregistered = true
	case at >= 0 || !errors.Is(err, kerr.BrokerIDNotRegistered): // Kafka has no registration of a controller to end
		return done, fmt.Errorf("registration of node %d: %w", id, conn.WithMessage(err, text(resp.ErrorMessage)))
	}
	if !done.Voter && !done.Unregistered {
		return done, fmt.Errorf("node %d: the cluster does not know it", id)
	}
	return done, nil
}

// follows tells whether a member of the quorum has been up with it of late.
func follows(quorum *kmsg.DescribeQuorumResponseTopicPartition, id int32) bool {
	var s status
	s.quorum(quorum)
	return slices.ContainsFunc(s.Quorum.Members, func(m statusMember) bool {
		return m.ID == id && m.Behind >= 0 && m.Behind <= silentFor.Milliseconds()
	})
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// DescribeQuorum asks for the metadata quorum.
func DescribeQuorum(ctx context.Context, cl kmsg.Requestor) (*kmsg.DescribeQuorumResponseTopicPartition, error) {
	_, p, err := describeQuorum(ctx, cl)
	return p, err
}

func describeQuorum(ctx context.Context, cl kmsg.Requestor) (*kmsg.DescribeQuorumResponse, *kmsg.DescribeQuorumResponseTopicPartition, error) {
	req := kmsg.NewPtrDescribeQuorumRequest()
	t := kmsg.NewDescribeQuorumRequestTopic()
	t.Topic, t.Partitions = "__cluster_metadata", []kmsg.DescribeQuorumRequestTopicPartition{kmsg.NewDescribeQuorumRequestTopicPartition()}
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return nil, nil, err
	}
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return nil, nil, conn.WithMessage(err, text(resp.ErrorMessage))
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return nil, nil, kerr.UnknownServerError
	}
	p := &resp.Topics[0].Partitions[0]
	return resp, p, kerr.ErrorForCode(p.ErrorCode)
}
