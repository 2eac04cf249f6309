package api

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// AssignReplicasToDirs, key 73: a broker says in which log directory it keeps a
// replica (KIP-858).
var _ = register(Handler{
	Key: kmsg.AssignReplicasToDirs, Doors: ControllerDoor, Early: true,
	Needs: fromBrokers,
	Handle: func(s *Server, r *Request) {
		s.fromBroker(r, r.Msg, func(code *kerr.Error) kmsg.Response {
			resp := kmsg.NewPtrAssignReplicasToDirsResponse()
			resp.ErrorCode = code.Code
			return resp
		})
	},
})
