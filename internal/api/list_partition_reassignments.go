package api

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/metadata"
)

// ListPartitionReassignments, key 46: changes of replicas that are under way, of all
// partitions or of those asked for, from the committed image.
var _ = register(Handler{
	Key: kmsg.ListPartitionReassignments, Doors: ClientDoor | ControllerDoor, Forward: true,
	Needs:  []Need{{kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeCluster}},
	Handle: handleListPartitionReassignments,
})

func handleListPartitionReassignments(s *Server, r *Request) {
	req := r.Msg.(*kmsg.ListPartitionReassignmentsRequest)
	resp := kmsg.NewPtrListPartitionReassignmentsResponse()
	if !s.onCluster(r, kmsg.ACLOperationDescribe) {
		code := kerr.ClusterAuthorizationFailed
		resp.ErrorCode, resp.ErrorMessage = code.Code, kmsg.StringPtr(code.Description)
		r.Reply(resp)
		return
	}
	img := s.Image()
	if req.Topics == nil {
		for t := range img.Topics() {
			addReassignments(resp, t, t.Partitions)
		}
		r.Reply(resp)
		return
	}
	for i := range req.Topics {
		t := img.Topic(req.Topics[i].Topic)
		var asked []*metadata.Partition
		seen := map[int32]bool{}
		for _, index := range req.Topics[i].Partitions {
			if p := t.Partition(index); p != nil && !seen[index] {
				asked = append(asked, p)
			}
			seen[index] = true
		}
		addReassignments(resp, t, asked)
	}
	r.Reply(resp)
}

// addReassignments adds those of a topic's partitions that are being moved.
func addReassignments(resp *kmsg.ListPartitionReassignmentsResponse, t *metadata.Topic, parts []*metadata.Partition) {
	out := kmsg.NewListPartitionReassignmentsResponseTopic()
	for _, p := range parts {
		if len(p.Adding()) == 0 && len(p.Removing()) == 0 {
			continue
		}
		moved := kmsg.NewListPartitionReassignmentsResponseTopicPartition()
		moved.Partition, moved.Replicas, moved.AddingReplicas, moved.RemovingReplicas = p.Index, p.Replicas, p.Adding(), p.Removing()
		out.Partitions = append(out.Partitions, moved)
	}
	if len(out.Partitions) > 0 {
		out.Topic = t.Name
		resp.Topics = append(resp.Topics, out)
	}
}
