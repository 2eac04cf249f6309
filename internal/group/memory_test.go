package group

import (
	"bytes"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/machine"
)

// crowd is a world whose joins are answered into last.
type crowd struct {
	*world
	last map[machine.Token]int16
	ids  map[machine.Token]string
}

func newCrowd(t *testing.T) *crowd {
	c := &crowd{newWorld(t, Options{}), map[machine.Token]int16{}, map[machine.Token]string{}}
	c.onReply = func(token machine.Token, body any) {
		if r, ok := body.(*kmsg.JoinGroupResponse); ok {
			c.last[token], c.ids[token] = r.ErrorCode, r.MemberID
		}
		if r, ok := body.(*kmsg.SyncGroupResponse); ok {
			c.last[token] = r.ErrorCode
		}
	}
	return c
}

func (c *crowd) join(group, member string, instance *string, version int16, metadata int, memory Memory) machine.Token {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.MemberID, req.InstanceID, req.ProtocolType = group, member, instance, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 10_000, 60_000
	req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: make([]byte, metadata)}}
	return c.submit(Join{Context: Context{ClientID: "c", Version: version}, Req: req, Memory: memory})
}

// TestFullMemoryTakesNoMembers: who is in goes on, in the same place or with more.
func TestFullMemoryTakesNoMembers(t *testing.T) {
	c := newCrowd(t)
	expect := func(what string, token machine.Token, want int16) {
		t.Helper()
		if got, answered := c.last[token]; !answered || got != want {
			t.Errorf("%s: answered %v, error %d, want %d", what, answered, got, want)
		}
	}
	instance := "i"
	first := c.join("g", "", &instance, 9, 1000, Roomy)
	expect("first", first, 0)
	pending := c.ids[c.join("g", "", nil, 9, 10, Roomy)]
	before := c.held
	if before < 1000 {
		t.Fatalf("%d bytes held", before)
	}

	expect("a new group", c.join("h", "", nil, 9, 0, NoMembers), codeGroupFull)
	if c.m.groups["h"] != nil {
		t.Error("a group came of it")
	}
	expect("a new member", c.join("g", "", nil, 3, 0, NoMembers), codeGroupFull)
	if c.held != before {
		t.Errorf("refused joins hold %d bytes", c.held-before)
	}
	expect("a pending member", c.join("g", pending, nil, 9, 0, NoMembers), codeGroupFull)
	if c.held >= before || c.m.groups["g"].pending.len() != 0 {
		t.Error("the refused one is still waited for")
	}
	expect("a member with more", c.join("g", c.ids[first], &instance, 9, 2000, NoMembers), 0)
	back := c.join("g", "", &instance, 9, 2000, NoMore)
	expect("a static member that comes back", back, 0)
	expect("a member with more beyond all bounds", c.join("g", c.ids[back], &instance, 9, 2001, NoMore), codeGroupFull)
	if c.m.groups["g"].members.len() != 1 {
		t.Error("it lost its place")
	}
}

// TestFullMemoryTakesNoAssignments: beyond all bounds an assignment may not grow.
func TestFullMemoryTakesNoAssignments(t *testing.T) {
	c := newCrowd(t)
	member := c.ids[c.join("g", "", nil, 3, 10, Roomy)]
	sync := func(size int, memory Memory) int16 {
		g := c.m.groups["g"]
		token := c.submit(Sync{Req: &kmsg.SyncGroupRequest{Group: "g", MemberID: member, Generation: g.generation, GroupAssignment: []kmsg.SyncGroupRequestGroupAssignment{
			{MemberID: member, MemberAssignment: bytes.Repeat([]byte{1}, size)}}}, Memory: memory})
		return c.last[token]
	}
	before := c.held
	if code := sync(100, NoMore); code != codeUnknownServer || c.held != before {
		t.Errorf("error %d, %d bytes more", code, c.held-before)
	}
	c.join("g", member, nil, 3, 10, NoMore)
	if code := sync(100, NoMembers); code != 0 || c.held != before+100 {
		t.Errorf("error %d, %d bytes more", code, c.held-before)
	}
	c.advance(time.Minute)
	if c.held != 0 {
		t.Errorf("%d bytes held by nobody", c.held)
	}
}
