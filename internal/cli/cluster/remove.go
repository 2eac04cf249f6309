package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/cli/conn"
	"github.com/leat-stream/leat/internal/cli/out"
)

// removed is what remove did.
type removed struct {
	Node         int32 `json:"node"`
	Voter        bool  `json:"voter_removed"`
	Unregistered bool  `json:"unregistered"`
	up           bool  // as a broker, when it was removed
}

func removeCommand(e *conn.Env) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "remove NODE",
		Short: "Forget a node that is drained and stopped",
		Long: "Forget a node for good: it loses its vote in the metadata quorum, and its registration. Refused while replicas are " +
			"assigned to it ('leat cluster drain' moves them), and while it is up, as it would come back when it is started again; of a controller that is no " +
			"broker, that is known ten seconds after it has stopped. That it leaves two voters is said before: put another controller in its place.",
		Example: "  leat cluster remove 3",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := nodeID(args[0])
			if err != nil {
				return err
			}
			a := &asking{e: e, patience: statusPatience}
			ctx, cancel := e.Context(cmd)
			defer cancel()
			done := removed{Node: id}
			undecided := false
			err = a.elsewhere(ctx, func(h *home, br *kgo.Broker) error {
				one, cancel := context.WithTimeout(ctx, askPatience) // it may hang, and another one answer
				defer cancel()
				err := done.remove(one, a, h, br, force)
				undecided = lost(err)
				return err
			})
			switch {
			case err != nil && undecided && ctx.Err() != nil && cmd.Context().Err() == nil:
				return headless(err)
			case err != nil:
				return a.explain(cmd.Context(), err)
			}
			if e.JSON() {
				return e.WriteJSON(done)
			}
			e.Note("node %d is removed", id)
			if done.up {
				e.Note("it was up, and ends by itself; whoever starts it again, as a supervisor may, brings it back as a new node")
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "remove it though it is up")
	return cmd
}

// remove takes a node's vote and its registration. It may be called again after an answer
// was lost: done keeps what was begun.
func (done *removed) remove(ctx context.Context, a *asking, h *home, br *kgo.Broker, force bool) error {
	id := done.Node
	if n := h.holds(id); n > 0 {
		return fmt.Errorf("node %d has replicas of %s; 'leat cluster drain %d' moves them", id, partitions(n), id)
	}
	// Without a leader it is not known who is down, either.
	var quorum *kmsg.DescribeQuorumResponseTopicPartition
	err := again(ctx, func() (err error) {
		quorum, err = DescribeQuorum(ctx, br)
		return err
	})
	if err != nil {
		return err
	}
	at := slices.IndexFunc(h.brokers, func(b kmsg.DescribeClusterResponseBroker) bool { return b.NodeID == id })
	if at >= 0 && !h.brokers[at].IsFenced && !force {
		if a.gone(ctx, address(h.brokers[at])) {
			return fmt.Errorf("node %d does not answer, but the cluster has not missed it for long enough; try again in some seconds, or give --force", id)
		}
		return fmt.Errorf("node %d is up; stop it first, or give --force", id)
	}
	done.up = done.up || at >= 0 && !h.brokers[at].IsFenced && !a.gone(ctx, address(h.brokers[at]))
	if at < 0 && !force && !done.Voter && follows(quorum, id) { // a controller alone
		return fmt.Errorf("node %d is up; stop it first and wait %v, or give --force", id, silentFor)
	}
	for _, v := range quorum.CurrentVoters {
		if v.ReplicaID != id {
			continue
		}
		if left := len(quorum.CurrentVoters) - 1; left == 2 && !done.Voter {
			a.e.Note("without node %d there are 2 voters, unless another controller takes its place: the loss of either would stop the metadata", id)
		}
		done.Voter = true
		if err := takeVote(ctx, br, id, v.ReplicaDirectoryID); err != nil {
			return err
		}
	}
	begun := done.Unregistered
	done.Unregistered = true
	switch err := unregister(ctx, br, id); {
	case err == nil || begun && errors.Is(err, kerr.BrokerIDNotRegistered):
	case errors.Is(err, kerr.BrokerIDNotRegistered) && at < 0: // Kafka has no registration of a controller to end
		done.Unregistered = false
	default:
		return err
	}
	if !done.Voter && !done.Unregistered {
		return fmt.Errorf("node %d: the cluster does not know it", id)
	}
	return nil
}

// headless is the error of what no controller has decided though brokers answer.
func headless(err error) error {
	return out.Hint(fmt.Errorf("the metadata quorum has no leader: brokers answer, and none of them reaches a controller that decides (%s)", conn.Reason(err)),
		"start voters until more than half are up; 'leat cluster status' shows who does not answer, docs/disasters.md what can be done when they are lost")
}

func takeVote(ctx context.Context, br kmsg.Requestor, id int32, directory [16]byte) error {
	req := kmsg.NewPtrRemoveRaftVoterRequest()
	req.VoterID, req.VoterDirectoryID = id, directory
	return again(ctx, func() error {
		resp, err := req.RequestWith(ctx, br)
		if err != nil {
			return err
		}
		if err := conn.KafkaError(resp.ErrorCode, resp.ErrorMessage); err != nil && !errors.Is(err, kerr.VoterNotFound) { // it is gone
			return fmt.Errorf("vote of node %d: %w", id, err)
		}
		return nil
	})
}

func unregister(ctx context.Context, br *kgo.Broker, id int32) error {
	req := kmsg.NewPtrUnregisterBrokerRequest()
	req.BrokerID = id
	return again(ctx, func() error {
		resp, err := req.RequestWith(ctx, br)
		if err != nil {
			return err
		}
		if err := conn.KafkaError(resp.ErrorCode, resp.ErrorMessage); err != nil {
			return fmt.Errorf("registration of node %d: %w", id, err)
		}
		return nil
	})
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
