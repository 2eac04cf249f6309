package api

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/group"
)

// DeleteGroups, key 42: removes groups without members, with their offsets.
var _ = register(Handler{
	Key:    kmsg.DeleteGroups,
	Early:  true,
	Needs:  []Need{{kmsg.ACLOperationDelete, kmsg.ACLResourceTypeGroup}},
	Handle: handleDeleteGroups,
})

func handleDeleteGroups(s *Server, r *Request) {
	req := r.Msg.(*kmsg.DeleteGroupsRequest)
	var ids []string
	named := make(map[string]bool, len(req.Groups))
	for _, id := range req.Groups {
		if !named[id] {
			named[id] = true
			ids = append(ids, id)
		}
	}
	resp := kmsg.NewPtrDeleteGroupsResponse()
	resp.Groups = make([]kmsg.DeleteGroupsResponseGroup, len(ids))
	fanOut(len(ids), func(i int, done func()) {
		id := ids[i]
		deleted := func(body any, code *kerr.Error) {
			out := &resp.Groups[i]
			if code == nil {
				*out = *body.(*kmsg.DeleteGroupsResponseGroup)
			} else {
				*out = kmsg.NewDeleteGroupsResponseGroup()
				out.Group, out.ErrorCode, out.ErrorMessage = id, code.Code, kmsg.StringPtr(code.Description)
			}
			done()
		}
		if !s.Allowed(r, kmsg.ACLOperationDelete, kmsg.ACLResourceTypeGroup, id) {
			deleted(nil, kerr.GroupAuthorizationFailed)
			return
		}
		s.coordinate(id, group.DeleteGroup{Group: id}, deleted)
	}, func() {
		// Kafka answers what was allowed first.
		slices.SortStableFunc(resp.Groups, func(a, b kmsg.DeleteGroupsResponseGroup) int {
			return denied(a.ErrorCode) - denied(b.ErrorCode)
		})
		r.Reply(resp)
	})
}

func denied(code int16) int {
	if code == kerr.GroupAuthorizationFailed.Code {
		return 1
	}
	return 0
}
