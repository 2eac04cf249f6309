package api

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/nodewire"
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
	// A copy of the request may outlive a broken connection, and the broker may come back.
	req := r.Msg.(*kmsg.UnregisterBrokerRequest)
	if b := s.Image().Broker(req.BrokerID); b != nil && !r.Conn.Controller {
		nodewire.SetIncarnation(req, b.Epoch)
	}
	ask := &metadata.Request{Context: s.context(r), Req: req, Incarnation: nodewire.Incarnation(req)}
	s.decide(r, ask, func(resp kmsg.Response) kmsg.Response { return resp }, failed)
}
