package api

import (
	"errors"
	"net"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/metadata"
)

// DescribeQuorum, key 55: voters and observers of the metadata log with their lags
// (KIP-595, KIP-836), as its leader sees them. It is the only partition of a topic that
// exists by name alone.
var _ = register(Handler{
	Key: kmsg.DescribeQuorum, Doors: ClientDoor | ControllerDoor, Forward: true,
	Needs:  []Need{{kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeCluster}},
	Handle: handleDescribeQuorum,
})

func handleDescribeQuorum(s *Server, r *Request) {
	req := r.Msg.(*kmsg.DescribeQuorumRequest)
	failed := func(code *kerr.Error) kmsg.Response {
		resp := kmsg.NewPtrDescribeQuorumResponse()
		resp.ErrorCode, resp.ErrorMessage = code.Code, kmsg.StringPtr(code.Description)
		return resp
	}
	switch {
	case !s.onCluster(r, kmsg.ACLOperationDescribe):
		r.Reply(failed(kerr.ClusterAuthorizationFailed))
		return
	case !asksMetadataLog(req):
		r.Reply(noSuchQuorum(req))
		return
	}
	if why, none := s.noLeader(kerr.LeaderNotAvailable); none && !r.Conn.Controller { // at once: who asks wants to know how it is
		r.Reply(failed(why))
		return
	}
	s.atQuorumLeader(r, failed, func(state QuorumState) { r.Reply(s.describedQuorum(state)) })
}

// atQuorumLeader runs here when this node leads the metadata quorum, and else sends the
// request on to the node that does.
func (s *Server) atQuorumLeader(r *Request, failed func(*kerr.Error) kmsg.Response, here func(QuorumState)) {
	if s.Quorum == nil {
		r.Reply(failed(kerr.UnsupportedVersion))
		return
	}
	state, leads := s.Quorum.Describe()
	switch {
	case leads:
		here(state)
	case r.Conn.Controller:
		r.misled = true
		r.Reply(failed(kerr.NotController))
	default:
		s.submit(r, &metadata.Request{Context: s.context(r), Req: r.Msg}, func(body any, err error) {
			if why, ok := body.(error); ok && err == nil {
				err = why
			}
			resp, ok := body.(kmsg.Response)
			switch {
			case ok && err == nil:
				r.Reply(resp)
			case errors.Is(err, metadata.ErrUnsupported):
				s.ledSince(r, failed, here)
			default:
				s.undecided(r, err, failed)
			}
		})
	}
}

// ledSince answers when this node's own controller was asked: this node has come to
// lead the quorum while the request was on its way.
func (s *Server) ledSince(r *Request, failed func(*kerr.Error) kmsg.Response, here func(QuorumState)) {
	state, leads := s.Quorum.Describe()
	if !leads {
		r.Reply(failed(kerr.NotController)) // who asks again is sent to the one that leads now
		return
	}
	here(state)
}

// asksMetadataLog says whether a request is for the one partition there is.
func asksMetadataLog(req *kmsg.DescribeQuorumRequest) bool {
	return len(req.Topics) == 1 && req.Topics[0].Topic == metadataTopic &&
		len(req.Topics[0].Partitions) == 1 && req.Topics[0].Partitions[0].Partition == 0
}

func noSuchQuorum(req *kmsg.DescribeQuorumRequest) *kmsg.DescribeQuorumResponse {
	resp := kmsg.NewPtrDescribeQuorumResponse()
	resp.ErrorMessage = new(string) // empty where nothing is wrong, as with Kafka
	for i := range req.Topics {
		t := kmsg.NewDescribeQuorumResponseTopic()
		t.Topic = req.Topics[i].Topic
		for _, ask := range req.Topics[i].Partitions {
			p := kmsg.NewDescribeQuorumResponseTopicPartition()
			p.Partition, p.ErrorCode = ask.Partition, kerr.UnknownTopicOrPartition.Code
			p.ErrorMessage = kmsg.StringPtr(kerr.UnknownTopicOrPartition.Description)
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

func (s *Server) describedQuorum(state QuorumState) *kmsg.DescribeQuorumResponse {
	resp := kmsg.NewPtrDescribeQuorumResponse()
	resp.ErrorMessage = new(string)
	p := kmsg.NewDescribeQuorumResponseTopicPartition()
	p.ErrorMessage = new(string)
	p.LeaderID, p.LeaderEpoch, p.HighWatermark = state.Leader, state.Epoch, state.HighWatermark
	for _, m := range state.Voters {
		p.CurrentVoters = append(p.CurrentVoters, quorumReplica(m))
	}
	for _, m := range state.Observers {
		p.Observers = append(p.Observers, quorumReplica(m))
	}
	t := kmsg.NewDescribeQuorumResponseTopic()
	t.Topic, t.Partitions = metadataTopic, append(t.Partitions, p)
	resp.Topics = append(resp.Topics, t)
	for _, m := range state.Voters {
		host, port, ok := splitAddress(m.Address)
		if !ok {
			continue
		}
		l := kmsg.NewDescribeQuorumResponseNodeListener()
		l.Name, l.Host, l.Port = s.controllerListener(), host, port
		n := kmsg.NewDescribeQuorumResponseNode()
		n.NodeID, n.Listeners = m.NodeID, append(n.Listeners, l)
		resp.Nodes = append(resp.Nodes, n)
	}
	return resp
}

func quorumReplica(m QuorumMember) kmsg.DescribeQuorumResponseTopicPartitionReplicaState {
	out := kmsg.NewDescribeQuorumResponseTopicPartitionReplicaState()
	out.ReplicaID, out.ReplicaDirectoryID, out.LogEndOffset = m.NodeID, m.DirectoryID, m.LogEnd
	out.LastFetchTimestamp, out.LastCaughtUpTimestamp = millisOrNone(m.LastFetch), millisOrNone(m.CaughtUp)
	return out
}

func millisOrNone(t time.Time) int64 {
	if t.IsZero() {
		return -1
	}
	return t.UnixMilli()
}

// controllerListener is the name of the controllers' listener.
func (s *Server) controllerListener() string {
	if names := s.Config().List(config.ControllerListenerNames); len(names) > 0 {
		return names[0]
	}
	return "CONTROLLER"
}

func splitAddress(address string) (host string, port uint16, ok bool) {
	host, p, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, false
	}
	n, err := strconv.ParseUint(p, 10, 16)
	return host, uint16(n), err == nil
}
