package api

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// AlterPartitionReassignments, key 45: other replicas for partitions, or an end to a
// change under way (KIP-455); decided by the controller.
var _ = register(Handler{
	Key: kmsg.AlterPartitionAssignments, Doors: ClientDoor | ControllerDoor, Forward: true,
	Needs:  []Need{{kmsg.ACLOperationAlter, kmsg.ACLResourceTypeCluster}},
	Handle: handleAlterPartitionReassignments,
})

func handleAlterPartitionReassignments(s *Server, r *Request) {
	req := r.Msg.(*kmsg.AlterPartitionAssignmentsRequest)
	failed := func(code *kerr.Error) kmsg.Response {
		resp := kmsg.NewPtrAlterPartitionAssignmentsResponse()
		resp.AllowReplicationFactorChange = req.AllowReplicationFactorChange
		resp.ErrorCode, resp.ErrorMessage = code.Code, kmsg.StringPtr(code.Description)
		return resp
	}
	if !s.onCluster(r, kmsg.ACLOperationAlter) {
		r.Reply(failed(kerr.ClusterAuthorizationFailed))
		return
	}
	s.forward(r, req, failed)
}
