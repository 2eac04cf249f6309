package api

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// AllocateProducerIds, key 67: a block of producer ids for a broker.
var _ = register(Handler{
	Key: kmsg.AllocateProducerIDs, Doors: ControllerDoor, Early: true,
	Needs: fromBrokers,
	Handle: func(s *Server, r *Request) {
		s.fromBroker(r, r.Msg, func(code *kerr.Error) kmsg.Response {
			resp := kmsg.NewPtrAllocateProducerIDsResponse()
			resp.ErrorCode = code.Code
			return resp
		})
	},
})
