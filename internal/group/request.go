package group

import "github.com/twmb/franz-go/pkg/kmsg"

// Context is who sends a request.
type Context struct {
	ClientID   string
	ClientHost string // "/" and the address, as Kafka stores it
	Version    int16  // of the request
}

// The requests of a coordinator. Byte slices in them are kept and must not be
// changed afterwards. The comment states the type of the reply's body; the caller
// sets its version. An empty group id is refused by Join, Sync, Heartbeat, Leave and
// DeleteOffsets; the others accept it, as Kafka does.
type (
	// Join is answered with *kmsg.JoinGroupResponse, once the generation is formed.
	// At version 0 the caller sets the rebalance timeout to the session timeout.
	Join struct {
		Context
		Req    *kmsg.JoinGroupRequest
		Memory Memory
	}
	// Sync is answered with *kmsg.SyncGroupResponse, once the leader has synced.
	Sync struct {
		Context
		Req    *kmsg.SyncGroupRequest
		Memory Memory
	}
	// Heartbeat is answered with *kmsg.HeartbeatResponse.
	Heartbeat struct {
		Context
		Req *kmsg.HeartbeatRequest
	}
	// Leave is answered with *kmsg.LeaveGroupResponse, members in the request's
	// order. The caller puts the single member of versions 0 to 2 into Members.
	Leave struct {
		Context
		Req *kmsg.LeaveGroupRequest
	}
	// CommitOffsets is answered with *kmsg.OffsetCommitResponse. Topics have both
	// name and id (or a zero id when it is not known); their existence is the
	// caller's to check.
	CommitOffsets struct {
		Context
		Req *kmsg.OffsetCommitRequest
	}
	// FetchOffsets is answered with *kmsg.OffsetFetchResponseGroup. Nil topics mean
	// all; otherwise topics have names, and ids when the caller wants offsets of
	// another topic of the same name left out.
	FetchOffsets struct {
		Context
		Req           *kmsg.OffsetFetchRequestGroup
		RequireStable bool
	}
	// Describe is answered with *kmsg.DescribeGroupsResponseGroup.
	Describe struct {
		Context
		Group string
	}
	// List is answered with []kmsg.ListGroupsResponseGroup, sorted by id. Empty
	// filters admit everything; letter case does not matter.
	List struct{ StatesFilter, TypesFilter []string }
	// DeleteGroup is answered with *kmsg.DeleteGroupsResponseGroup, or with Again.
	DeleteGroup struct{ Group string }
	// DeleteOffsets is answered with *kmsg.OffsetDeleteResponse, or with Again.
	DeleteOffsets struct{ Req *kmsg.OffsetDeleteRequest }
	// TopicsDeleted removes every offset of topics whose deletion is committed. It is
	// answered with Done when the last record of it is written, or with Again when too
	// many of its kind are under way.
	TopicsDeleted struct{ Topics []Topic }
)

// Topic names a topic. A zero ID is not known.
type Topic struct {
	Name string
	ID   [16]byte
}

// Done is an answer without content.
type Done struct{}
