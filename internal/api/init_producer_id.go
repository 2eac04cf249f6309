package api

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// InitProducerId, key 22, for idempotent producers: a new producer id at epoch 0.
// Ids come in blocks from the controller, so that none is ever given twice.
var _ = register(Handler{
	Key:     kmsg.InitProducerID,
	Needs:   []Need{{kmsg.ACLOperationIdempotentWrite, kmsg.ACLResourceTypeCluster}},
	NotDone: "transactional ids come with transactions",
	Handle:  handleInitProducerID,
})

func handleInitProducerID(s *Server, r *Request) {
	req := r.Msg.(*kmsg.InitProducerIDRequest)
	resp := kmsg.NewPtrInitProducerIDResponse()
	resp.ProducerID, resp.ProducerEpoch = -1, -1
	fail := func(code *kerr.Error) {
		resp.ErrorCode = code.Code
		r.Reply(resp)
	}
	switch {
	case req.TransactionalID != nil && *req.TransactionalID == "":
		fail(kerr.InvalidRequest)
		return
	case req.TransactionalID != nil:
		fail(kerr.UnsupportedVersion) // final, where a retriable error would leave the client waiting
		return
	case (req.ProducerID < 0) != (req.ProducerEpoch < 0):
		fail(kerr.InvalidRequest)
		return
	case !s.onCluster(r, kmsg.ACLOperationIdempotentWrite):
		fail(kerr.ClusterAuthorizationFailed)
		return
	}
	s.ProducerIDs(func(id int64, err error) {
		if err != nil {
			fail(kerr.CoordinatorLoadInProgress) // retriable: the controller is not there yet
			return
		}
		resp.ProducerID, resp.ProducerEpoch = id, 0
		r.Reply(resp)
	})
}
