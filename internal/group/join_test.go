package group

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/machine"
)

// A member whose metadata could never be stored with its group is not kept in memory.
func TestJoinRefusesWhatCannotBeStored(t *testing.T) {
	w := newWorld(t, Options{MaxBatchBytes: 1000})
	var answered *kmsg.JoinGroupResponse
	w.onReply = func(_ machine.Token, body any) { answered = body.(*kmsg.JoinGroupResponse) }
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.ProtocolType, req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = "g", "consumer", 10_000, 10_000
	for _, size := range []int{600, 600} {
		p := kmsg.NewJoinGroupRequestProtocol()
		p.Name, p.Metadata = "range", make([]byte, size)
		req.Protocols = append(req.Protocols, p)
	}
	w.submit(Join{Context: Context{Version: 0}, Req: req})
	if answered == nil || answered.ErrorCode != codeUnknownServer {
		t.Fatalf("answered %+v", answered)
	}
	if len(w.m.groups) != 0 {
		t.Fatal("the group was made all the same")
	}
}
