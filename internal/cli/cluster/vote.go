package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/cli/out"
)

// A node that is drained is about to stop for good. Where the metadata quorum would have no
// majority without it, its vote is taken while it is there to agree: afterwards nobody could.

// ballot is what the stop of a node means for the metadata quorum.
type ballot struct {
	voter     bool
	directory [16]byte
	voters    int     // it among them
	others    []int32 // voters that are up, but for it
	down      []int32 // voters that are not, but for it
}

// ballotOf tells of a node by what the leader of the quorum says; fenced brokers are down.
func ballotOf(q *kmsg.DescribeQuorumResponseTopicPartition, brokers []kmsg.DescribeClusterResponseBroker, id int32) ballot {
	b := ballot{voters: len(q.CurrentVoters)}
	for _, v := range q.CurrentVoters {
		fenced := slices.ContainsFunc(brokers, func(br kmsg.DescribeClusterResponseBroker) bool { return br.NodeID == v.ReplicaID && br.IsFenced })
		switch {
		case v.ReplicaID == id:
			b.voter, b.directory = true, v.ReplicaDirectoryID
		case fenced || !follows(q, v.ReplicaID):
			b.down = append(b.down, v.ReplicaID)
		default:
			b.others = append(b.others, v.ReplicaID)
		}
	}
	return b
}

// spare tells whether the quorum goes on when the node stops.
func (b *ballot) spare() bool { return !b.voter || len(b.others) > b.voters/2 }

// can tells whether the quorum goes on when the node has no vote any more.
func (b *ballot) can() bool { return len(b.others) > (b.voters-1)/2 }

// needed is why a node that is empty cannot be done without.
func (b *ballot) needed(id int32) error {
	if len(b.down) == 0 {
		return out.Hint(fmt.Errorf("node %d is the only voter of the metadata quorum: without it nothing of the cluster is left", id),
			"give another controller, N, a vote: 'leat config set broker N leat.quorum.voter=always', and drain it again")
	}
	return out.Hint(fmt.Errorf("node %d is needed for the majority of the metadata quorum, of whose other voters these are down: %s; its stop would stop the metadata", id, ids(b.down)),
		"start them, or remove them before it, and drain it again")
}

// resign takes the vote of a node without which the quorum would have no majority. The node is
// empty, and may stop, when there is no error.
func (r *runner) resign(ctx context.Context, id int32, dryRun bool) error {
	b, known, err := r.ballot(ctx, id)
	switch {
	case err != nil:
		return fmt.Errorf("whether the metadata quorum goes on without node %d is not told: %w", id, err)
	case !known || b.spare():
		return nil
	case !b.can():
		return b.needed(id)
	case dryRun:
		r.e.Note("the vote of node %d in the metadata quorum would be taken: of %d voters those that are up are no majority without it", id, b.voters)
		return nil
	}
	before := b.voters
	err = r.once(ctx, func(ctx context.Context) error { return takeVote(ctx, r.cl, id, b.directory) })
	if err != nil {
		return fmt.Errorf("node %d must not stop yet, the other voters of the metadata quorum are no majority without it: %w", id, err)
	}
	for began := time.Now(); b.voter; { // until a leader that has no need of it says so
		if time.Since(began) > askPatience {
			return fmt.Errorf("node %d must not stop yet: its vote was taken, and it has one all the same", id)
		}
		if err := pause(ctx, againAfter); err != nil {
			return err
		}
		if b, _, err = r.ballot(ctx, id); err != nil {
			return err
		}
	}
	r.e.Note("node %d has no vote in the metadata quorum any more: of %d voters those that are up would have been no majority without it; 'leat config set broker %d leat.quorum.voter=always' gives it back",
		id, before, id)
	return nil
}

// ballot asks; known is false for a cluster that tells of no quorum.
func (r *runner) ballot(ctx context.Context, id int32) (b ballot, known bool, err error) {
	var (
		quorum  *kmsg.DescribeQuorumResponseTopicPartition
		brokers []kmsg.DescribeClusterResponseBroker
	)
	err = r.once(ctx, func(ctx context.Context) (err error) {
		if brokers, err = describeBrokers(ctx, r.cl); err != nil {
			return err
		}
		return again(ctx, func() error {
			quorum, err = DescribeQuorum(ctx, r.cl)
			return err
		})
	})
	var kafka *kerr.Error
	switch {
	case err == nil:
		return ballotOf(quorum, brokers, id), true, nil
	case errors.Is(err, kerr.UnsupportedVersion), !lost(err) && !errors.As(err, &kafka) && ctx.Err() == nil: // it knows no such request
		return b, false, nil
	}
	return b, false, err
}
