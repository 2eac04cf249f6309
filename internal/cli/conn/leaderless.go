package conn

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// leaderlessPatience is how long a node may take to say how the metadata quorum is.
const leaderlessPatience = 2 * time.Second

// leaderless is what a node says of a metadata quorum without a leader; "" when nobody says that.
// It is asked once, after a request that was not answered in time.
func (e *Env) leaderless() string {
	e.quorum.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), leaderlessPatience)
		defer cancel()
		seed, err := e.answering(ctx, e.Brokers())
		if err != nil || len(seed) == 0 {
			return
		}
		cl, err := e.At(seed[0])
		if err != nil {
			return
		}
		defer cl.Close()
		req := kmsg.NewPtrDescribeQuorumRequest()
		t := kmsg.NewDescribeQuorumRequestTopic()
		t.Topic, t.Partitions = "__cluster_metadata", []kmsg.DescribeQuorumRequestTopicPartition{kmsg.NewDescribeQuorumRequestTopicPartition()}
		req.Topics = append(req.Topics, t)
		resp, err := req.RequestWith(ctx, cl.SeedBrokers()[0])
		if err == nil && resp.ErrorCode == kerr.LeaderNotAvailable.Code && resp.ErrorMessage != nil {
			e.noQuorum = *resp.ErrorMessage
		}
	})
	return e.noQuorum
}
