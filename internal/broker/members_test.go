package broker

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/api"
)

// TestMembersAreBounded: joins over many groups come to an end, who is in goes on, and
// room comes back with the members that go.
func TestMembersAreBounded(t *testing.T) {
	n := prepare(t)
	n.members = 100_000
	n.start()
	c := n.dial()
	for i := range 40 { // every coordinator is up
		n.coordinator(c, fmt.Sprint("g", i))
	}
	join := func(group, member string) *kmsg.JoinGroupResponse {
		req := joinRequest(group)
		req.MemberID = member
		req.Protocols[0].Metadata = make([]byte, 9_000)
		return c.ask(req).(*kmsg.JoinGroupResponse)
	}
	in := map[string]*kmsg.JoinGroupResponse{}
	refused := ""
	for i := 0; refused == "" && i < 40; i++ {
		id := fmt.Sprint("g", i)
		resp := join(id, "")
		switch resp.ErrorCode {
		case 0:
			in[id] = resp
			// What a member holds is told right after its answer.
			n.eventually("it counts", func() bool { return n.b.node.Members().Bytes() > int64(9_000*len(in)) })
		case kerr.GroupMaxSizeReached.Code:
			refused = id
		default:
			t.Fatal(kerr.ErrorForCode(resp.ErrorCode))
		}
	}
	if refused != "g11" && refused != "g10" {
		t.Fatalf("%d members, then %q is refused", len(in), refused)
	}
	n.tells("level=WARN", "join refused", "group="+refused)
	if got := gathered(n, "leat_group_joins_refused_total"); got != 1 {
		t.Errorf("%v joins counted as refused", got)
	}
	if got := gathered(n, "leat_group_member_bytes"); got < 100_000 {
		t.Errorf("%v bytes", got)
	}
	if got := join("g0", in["g0"].MemberID); got.ErrorCode != 0 {
		t.Errorf("a member that joins again: %v", kerr.ErrorForCode(got.ErrorCode))
	}
	n.clock.Advance(time.Minute) // sessions end
	n.eventually("room comes back", func() bool { return n.b.node.Members().Bytes() == 0 })
	if got := join(refused, ""); got.ErrorCode != 0 {
		t.Errorf("a join when there is room: %v", kerr.ErrorForCode(got.ErrorCode))
	}
	n.eventually("it counts", func() bool { return n.b.node.Members().Bytes() > 9_000 })
	for p := range int32(3) {
		n.b.node.Groups().Resign(api.GroupShard(p), 1<<30)
	}
	n.eventually("coordinators that end hold nothing", func() bool { return n.b.node.Members().Bytes() == 0 })
}
