package api

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// RemoveRaftVoter, key 81: takes the vote from a node; it goes on as an observer
// (KIP-853).
var _ = register(Handler{
	Key: kmsg.RemoveRaftVoter, Doors: ClientDoor | ControllerDoor, Early: true, Forward: true,
	Needs:  []Need{{kmsg.ACLOperationAlter, kmsg.ACLResourceTypeCluster}},
	Handle: handleRemoveRaftVoter,
})

func handleRemoveRaftVoter(s *Server, r *Request) {
	req := r.Msg.(*kmsg.RemoveRaftVoterRequest)
	answer := func(code *kerr.Error, why string) kmsg.Response {
		resp := kmsg.NewPtrRemoveRaftVoterResponse()
		if code != nil {
			resp.ErrorCode, resp.ErrorMessage = code.Code, kmsg.StringPtr(why)
		}
		return resp
	}
	switch {
	case !s.onCluster(r, kmsg.ACLOperationAlter):
		r.Reply(answer(kerr.ClusterAuthorizationFailed, kerr.ClusterAuthorizationFailed.Description))
	case !s.ownCluster(req.ClusterID):
		r.Reply(answer(kerr.InconsistentClusterID, kerr.InconsistentClusterID.Description))
	case req.VoterID < 0:
		r.Reply(answer(kerr.InvalidRequest, "Remove voter request didn't include a valid voter"))
	default:
		s.changeVoters(r, VoterChange{Kind: RemoveVoter, NodeID: req.VoterID, DirectoryID: req.VoterDirectoryID}, answer)
	}
}
