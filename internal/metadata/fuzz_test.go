package metadata

import (
	"math/rand/v2"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/machine"
	"github.com/leat-stream/leat/internal/wire"
)

// fuzzed are the requests that the controller answers, by API key.
var fuzzed = []int16{19, 20, 33, 37, 43, 44, 45, 56, 57, 62, 63, 64, 67, 73}

// FuzzDecide sends any request at any version with any content: there is one
// answer of the request's kind, the records apply, and the invariants hold.
func FuzzDecide(f *testing.F) {
	base := newCluster(f, 3)
	base.mustCreate(assigned("t", []int32{1, 2, 3}), topicAsk("a.b", 2, 1))
	image, _ := base.c.b.Image()
	for _, req := range []kmsg.Request{
		createRequest(topicAsk("new", 3, 2, [2]string{"retention.ms", "5"}), assigned("u", []int32{1, 2})),
		deleteRequest(6, "t"), deleteRequest(3, "a.b"),
		registrationRequest(image, 1, 9), registrationRequest(image, 4, 4),
		alterRequest(image, image.Partition("t", 0).Leader, "t", 0, 1, 2),
		reassignRequest("t", 0, []int32{3, 1}), reassignRequest("t", 0, nil),
		electRequest(electPreferred), electRequest(electUnclean, kmsg.ElectLeadersRequestTopic{Topic: "t", Partitions: []int32{0}}),
	} {
		for i, key := range fuzzed {
			if key == req.Key() {
				f.Add(byte(i), byte(req.GetVersion()), req.AppendTo(nil))
			}
		}
	}
	for i, key := range fuzzed {
		req := kmsg.RequestForKey(key)
		req.SetVersion(req.MaxVersion())
		f.Add(byte(i), byte(req.MaxVersion()), req.AppendTo(nil))
	}
	f.Fuzz(func(t *testing.T, which, version byte, body []byte) {
		if len(body) > 4096 { // the size of requests is bounded elsewhere
			return
		}
		req := kmsg.RequestForKey(fuzzed[int(which)%len(fuzzed)])
		req.SetVersion(int16(version) % (req.MaxVersion() + 1))
		// What the broker refuses before it decodes is not the controller's to bear.
		if _, err := wire.Check(req.Key(), req.GetVersion(), body, wire.Limits{Array: 1000, Tags: 100}); err != nil || req.ReadFrom(body) != nil {
			return
		}
		k := &cluster{t: t, c: NewController(image, base.opts), replay: NewBuilder(image), opts: base.opts,
			rand: rand.New(rand.NewPCG(1, 2)), now: base.now, offset: image.Index(), timers: base.timers}
		d := k.c.Decide(machine.Input{Now: k.now, Rand: k.rand, Token: 3, Request: &Request{Context: Context{NodeID: 1}, Req: req}})
		if len(d.Replies) != 1 {
			t.Fatalf("%d replies", len(d.Replies))
		}
		if resp, ok := d.Replies[0].Body.(kmsg.Response); !ok || resp.Key() != req.Key() || resp.GetVersion() != req.GetVersion() {
			t.Fatalf("%T answered by %T", req, d.Replies[0].Body)
		}
		k.settle(d)
		k.checkInvariants()
	})
}
