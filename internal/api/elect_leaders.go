package api

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ElectLeaders, key 43: the preferred leader, or an unclean one, for partitions or for
// all (KIP-460); decided by the controller.
var _ = register(Handler{
	Key: kmsg.ElectLeaders, Doors: ClientDoor | ControllerDoor, Forward: true,
	Needs:  []Need{{kmsg.ACLOperationAlter, kmsg.ACLResourceTypeCluster}},
	Handle: handleElectLeaders,
})

func handleElectLeaders(s *Server, r *Request) {
	req := r.Msg.(*kmsg.ElectLeadersRequest)
	failed := func(code *kerr.Error) kmsg.Response {
		resp := kmsg.NewPtrElectLeadersResponse()
		resp.ErrorCode = code.Code // version 0 has it with the partitions only
		for i := range req.Topics {
			t := kmsg.NewElectLeadersResponseTopic()
			t.Topic = req.Topics[i].Topic
			for _, index := range req.Topics[i].Partitions {
				p := kmsg.NewElectLeadersResponseTopicPartition()
				p.Partition, p.ErrorCode, p.ErrorMessage = index, code.Code, kmsg.StringPtr(code.Description)
				t.Partitions = append(t.Partitions, p)
			}
			resp.Topics = append(resp.Topics, t)
		}
		return resp
	}
	if !s.onCluster(r, kmsg.ACLOperationAlter) {
		r.Reply(failed(kerr.ClusterAuthorizationFailed))
		return
	}
	s.forward(r, req, failed)
}
