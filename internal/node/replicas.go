package node

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/peer"
)

// What the replicas ask of other nodes.

// brokerEpoch is this broker's, -1 before it is registered.
func (n *Node) brokerEpoch() int64 {
	if e := n.meta.epoch.Load(); e != 0 {
		return e
	}
	return -1
}

// fetchFrom sends a follower's fetch to a leader.
func (n *Node) fetchFrom(leader int32, req *kmsg.FetchRequest, done func(*kmsg.FetchResponse, error)) {
	if n.opt.Caller == nil {
		done(nil, peer.ErrUnreachable)
		return
	}
	// The leader answers a long poll at its end at the latest.
	patience := config.Millis(n.Config(), config.ReplicaSocketTimeoutMs) + time.Duration(req.MaxWaitMillis)*time.Millisecond
	n.opt.Caller.Call(peer.Target{Node: leader}, peer.Fetch, req, patience, func(resp kmsg.Response, err error) {
		r, ok := resp.(*kmsg.FetchResponse)
		if err == nil && !ok {
			err = fmt.Errorf("answered with %T", resp)
		}
		done(r, err)
	})
}

// alterISR sends a leader's wish for other in-sync replicas to the controller.
func (n *Node) alterISR(req *kmsg.AlterPartitionRequest, done func(*kmsg.AlterPartitionResponse, error)) {
	n.meta.submit(&metadata.Request{Req: req}, func(body any, err error) {
		if why, bad := body.(error); bad && err == nil {
			err = why
		}
		r, ok := body.(*kmsg.AlterPartitionResponse)
		if err == nil && !ok {
			err = fmt.Errorf("answered with %T", body)
		}
		done(r, err)
	})
}
