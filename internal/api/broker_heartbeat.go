package api

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// BrokerHeartbeat, key 63: a broker says that it is alive, how far it has followed the
// metadata, and what it wants (KIP-631).
var _ = register(Handler{
	Key: kmsg.BrokerHeartbeat, Doors: ControllerDoor, Early: true,
	Needs: fromBrokers,
	Handle: func(s *Server, r *Request) {
		r.Conn.Broker, r.Conn.Beats = r.Msg.(*kmsg.BrokerHeartbeatRequest).BrokerID, true
		s.fromBroker(r, r.Msg, func(code *kerr.Error) kmsg.Response {
			resp := kmsg.NewPtrBrokerHeartbeatResponse()
			resp.ErrorCode = code.Code
			return resp
		})
	},
})

// fromBrokers is what brokers are allowed to ask of the controller.
var fromBrokers = []Need{{kmsg.ACLOperationClusterAction, kmsg.ACLResourceTypeCluster}}

// fromBroker hands a broker's request to the controller of this node.
func (s *Server) fromBroker(r *Request, req kmsg.Request, failed func(code *kerr.Error) kmsg.Response) {
	if !s.onCluster(r, kmsg.ACLOperationClusterAction) {
		r.Reply(failed(kerr.ClusterAuthorizationFailed))
		return
	}
	s.forward(r, req, failed)
}
