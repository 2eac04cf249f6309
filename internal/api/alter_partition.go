package api

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// AlterPartition, key 56: a leader's wish for other in-sync replicas (KIP-497).
var _ = register(Handler{
	Key: kmsg.AlterPartition, Doors: ControllerDoor, Early: true,
	Needs: fromBrokers,
	Handle: func(s *Server, r *Request) {
		s.fromBroker(r, r.Msg, func(code *kerr.Error) kmsg.Response {
			resp := kmsg.NewPtrAlterPartitionResponse()
			resp.ErrorCode = code.Code
			return resp
		})
	},
})
