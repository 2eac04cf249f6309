package api

import (
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/group"
)

// DescribeGroups, key 15: state, protocol and members of classic groups, in the order
// of the request.
var _ = register(Handler{
	Key:    kmsg.DescribeGroups,
	Early:  true,
	Needs:  []Need{{kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeGroup}},
	Handle: handleDescribeGroups,
})

// groupOperations are those that exist for a group (KIP-430).
var groupOperations = []kmsg.ACLOperation{kmsg.ACLOperationRead, kmsg.ACLOperationDelete, kmsg.ACLOperationDescribe,
	kmsg.ACLOperationDescribeConfigs, kmsg.ACLOperationAlterConfigs}

func handleDescribeGroups(s *Server, r *Request) {
	req := r.Msg.(*kmsg.DescribeGroupsRequest)
	resp := kmsg.NewPtrDescribeGroupsResponse()
	resp.Groups = make([]kmsg.DescribeGroupsResponseGroup, len(req.Groups))
	var over atomic.Bool
	fanOut(len(req.Groups), func(i int, done func()) {
		id := req.Groups[i]
		described := func(body any, code *kerr.Error) {
			out := &resp.Groups[i]
			if code == nil {
				*out = *body.(*kmsg.DescribeGroupsResponseGroup)
			} else {
				*out = kmsg.NewDescribeGroupsResponseGroup()
				out.Group, out.ErrorCode = id, code.Code
			}
			if r.Version >= 3 && req.IncludeAuthorizedOperations && out.ErrorCode == 0 {
				out.AuthorizedOperations = s.operations(r, kmsg.ACLResourceTypeGroup, id, groupOperations)
			}
			if !s.grow(r, groupMemory(out)) {
				over.Store(true)
				*out = kmsg.DescribeGroupsResponseGroup{}
			}
			done()
		}
		if over.Load() {
			done()
			return
		}
		if !s.Allowed(r, kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeGroup, id) {
			described(nil, kerr.GroupAuthorizationFailed)
			return
		}
		s.coordinate(id, group.Describe{Context: groupContext(r), Group: id}, described)
	}, func() {
		if over.Load() {
			s.tooLarge(r)
			return
		}
		r.Reply(resp)
	})
}

// groupMemory is about how many bytes one group of an answer takes, encoded ones
// included.
func groupMemory(g *kmsg.DescribeGroupsResponseGroup) int64 {
	n := 256
	for i := range g.Members {
		m := &g.Members[i]
		n += 256 + len(m.MemberID) + len(m.ClientID) + len(m.ProtocolMetadata) + len(m.MemberAssignment)
	}
	return int64(n)
}
