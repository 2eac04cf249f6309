package api

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// UnregisterBroker, key 64: forgets a broker that does not come back; decided by the
// controller.
var _ = register(Handler{
	Key: kmsg.UnregisterBroker, Doors: ClientDoor | ControllerDoor, Forward: true,
	Needs:  []Need{{kmsg.ACLOperationAlter, kmsg.ACLResourceTypeCluster}},
	Handle: handleUnregisterBroker,
})

func handleUnregisterBroker(s *Server, r *Request) {
	failed := func(code *kerr.Error) kmsg.Response {
		resp := kmsg.NewPtrUnregisterBrokerResponse()
		resp.ErrorCode, resp.ErrorMessage = code.Code, kmsg.StringPtr(code.Description)
		return resp
	}
	if !s.onCluster(r, kmsg.ACLOperationAlter) {
		r.Reply(failed(kerr.ClusterAuthorizationFailed))
		return
	}
	s.forward(r, r.Msg, failed)
}
