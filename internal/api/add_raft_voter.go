package api

import (
	"errors"
	"net"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// AddRaftVoter, key 80: makes a node that follows the metadata a voter, once it has
// caught up (KIP-853). One change is made at a time.
var _ = register(Handler{
	Key: kmsg.AddRaftVoter, Doors: ClientDoor | ControllerDoor, Early: true, Forward: true,
	Needs:  []Need{{kmsg.ACLOperationAlter, kmsg.ACLResourceTypeCluster}},
	Handle: handleAddRaftVoter,
})

func handleAddRaftVoter(s *Server, r *Request) {
	req := r.Msg.(*kmsg.AddRaftVoterRequest)
	answer := func(code *kerr.Error, why string) kmsg.Response {
		resp := kmsg.NewPtrAddRaftVoterResponse()
		if code != nil {
			resp.ErrorCode, resp.ErrorMessage = code.Code, kmsg.StringPtr(why)
		}
		return resp
	}
	address := ""
	for _, l := range req.Listeners {
		if l.Name == s.controllerListener() {
			address = net.JoinHostPort(l.Host, strconv.Itoa(int(l.Port)))
		}
	}
	refused := func(code *kerr.Error, why string) { r.Reply(answer(code, why)) }
	switch {
	case !s.onCluster(r, kmsg.ACLOperationAlter):
		refused(kerr.ClusterAuthorizationFailed, kerr.ClusterAuthorizationFailed.Description)
	case !s.ownCluster(req.ClusterID):
		refused(kerr.InconsistentClusterID, kerr.InconsistentClusterID.Description)
	case req.VoterID < 0:
		refused(kerr.InvalidRequest, "Add voter request didn't include a valid voter")
	case address == "":
		refused(kerr.InvalidRequest, "Add voter request didn't include the endpoint of the listener "+s.controllerListener())
	default:
		s.changeVoters(r, VoterChange{
			Kind: AddVoter, NodeID: req.VoterID, DirectoryID: req.VoterDirectoryID, Address: address,
			Timeout: time.Duration(max(req.TimeoutMillis, 0)) * time.Millisecond,
			Early:   r.Version >= 1 && !req.AckWhenCommitted,
		}, answer)
	}
}

// ownCluster says whether a request that may name a cluster means this one.
func (s *Server) ownCluster(id *string) bool { return id == nil || *id == s.Image().ClusterID() }

// changeVoters makes a change at the leader of the metadata quorum.
func (s *Server) changeVoters(r *Request, c VoterChange, answer func(*kerr.Error, string) kmsg.Response) {
	failed := func(code *kerr.Error) kmsg.Response { return answer(code, code.Description) }
	s.atQuorumLeader(r, failed, func(QuorumState) {
		s.Quorum.Change(c, func(err error) {
			var known *kerr.Error
			switch {
			case err == nil:
				r.Reply(answer(nil, ""))
			case errors.As(err, &known):
				r.Reply(answer(known, err.Error()))
			default:
				s.undecided(r, err, failed)
			}
		})
	})
}
