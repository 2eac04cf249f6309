package api

import (
	"net"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// UpdateRaftVoter, key 82: a voter says by which address it is reached now (KIP-853).
var _ = register(Handler{
	Key: kmsg.UpdateRaftVoter, Doors: ControllerDoor, Early: true,
	Needs:  fromBrokers,
	Handle: handleUpdateRaftVoter,
})

func handleUpdateRaftVoter(s *Server, r *Request) {
	req := r.Msg.(*kmsg.UpdateRaftVoterRequest)
	answer := func(code *kerr.Error, _ string) kmsg.Response {
		resp := kmsg.NewPtrUpdateRaftVoterResponse()
		if code != nil {
			resp.ErrorCode = code.Code
		}
		return resp
	}
	address := ""
	for _, l := range req.Listeners {
		if l.Name == s.controllerListener() {
			address = net.JoinHostPort(l.Host, strconv.Itoa(int(l.Port)))
		}
	}
	switch {
	case !s.onCluster(r, kmsg.ACLOperationClusterAction):
		r.Reply(answer(kerr.ClusterAuthorizationFailed, ""))
	case !s.ownCluster(req.ClusterID):
		r.Reply(answer(kerr.InconsistentClusterID, ""))
	case req.VoterID < 0 || address == "":
		r.Reply(answer(kerr.InvalidRequest, ""))
	default:
		s.changeVoters(r, VoterChange{Kind: UpdateVoter, NodeID: req.VoterID, DirectoryID: req.VoterDirectoryID, Address: address}, answer)
	}
}
