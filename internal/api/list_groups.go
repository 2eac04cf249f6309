package api

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/group"
	"github.com/leat-stream/leat/internal/metadata"
)

// ListGroups, key 16: the groups that this broker coordinates. Who may describe the
// cluster sees all of them, others those that they may describe.
var _ = register(Handler{
	Key:    kmsg.ListGroups,
	Early:  true,
	Needs:  []Need{{kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeCluster}, {kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeGroup}},
	Handle: handleListGroups,
})

func handleListGroups(s *Server, r *Request) {
	req := r.Msg.(*kmsg.ListGroupsRequest)
	var partitions []int32
	if t := s.Image().Topic(metadata.OffsetsTopic); t != nil {
		for _, p := range t.Partitions {
			if p.Leader == s.NodeID {
				partitions = append(partitions, p.Index)
			}
		}
	}
	found := make([][]kmsg.ListGroupsResponseGroup, len(partitions))
	failed := make([]*kerr.Error, len(partitions))
	list := group.List{StatesFilter: req.StatesFilter, TypesFilter: req.TypesFilter}
	fanOut(len(partitions), func(i int, done func()) {
		s.coordinateIn(partitions[i], list, func(body any, code *kerr.Error) {
			if code == nil {
				found[i] = body.([]kmsg.ListGroupsResponseGroup)
			} else if code != kerr.NotCoordinator { // that one's groups are another broker's now
				failed[i] = code
			}
			done()
		})
	}, func() {
		resp := s.listedGroups(r, found, failed)
		size := int64(0)
		for i := range resp.Groups {
			size += 256 + int64(len(resp.Groups[i].Group))
		}
		if !s.grow(r, size) {
			s.tooLarge(r)
			return
		}
		r.Reply(resp)
	})
}

// listedGroups puts together what the coordinators found. One that cannot tell makes
// the whole answer an error, as an incomplete list would be taken for the truth.
func (s *Server) listedGroups(r *Request, found [][]kmsg.ListGroupsResponseGroup, failed []*kerr.Error) *kmsg.ListGroupsResponse {
	resp := kmsg.NewPtrListGroupsResponse()
	for _, code := range failed {
		if code != nil {
			resp.ErrorCode = code.Code
			return resp
		}
	}
	all := s.onCluster(r, kmsg.ACLOperationDescribe)
	for _, groups := range found {
		for _, g := range groups {
			if all || s.Allowed(r, kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeGroup, g.Group) {
				resp.Groups = append(resp.Groups, g)
			}
		}
	}
	return resp
}
