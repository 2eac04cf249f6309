package node

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/forming"
	"github.com/leat-stream/leat/internal/nodewire"
	"github.com/leat-stream/leat/internal/peer"
)

// vetPatience is how long the start of a node that is in a cluster already waits for the
// node that it is to join: that one may be down.
const vetPatience = time.Second

// vet asks the node that this one was told to join whether the two are of one cluster,
// since a node that has a metadata log needs nobody to go on. done comes once, on the
// node's tasks, with the refusal if there is one.
func (n *Node) vet(done func(error)) {
	if n.former.join == "" || n.opt.Caller == nil || !n.meta.known() {
		done(nil)
		return
	}
	answered := false
	answer := func(err error) {
		n.tasks.post(func() {
			if !answered {
				answered = true
				done(err)
			}
		})
	}
	n.jobs.after(vetPatience, func() { answer(nil) })
	hello := func(address string, otherwise func()) {
		n.opt.Caller.Call(peer.Target{Node: -1, Address: address}, peer.Control, n.introduction(), vetPatience, func(resp kmsg.Response, err error) {
			r, ok := resp.(*nodewire.HelloResponse)
			switch {
			case noHello(err, ok):
				otherwise()
			case err != nil || !r.HasLog:
				// it will be told by time
			default:
				if refusal := forming.Denied(r); refusal != nil && refusal.Kind == forming.OtherCluster {
					answer(refusal)
					return
				}
				answer(nil)
			}
		})
	}
	hello(n.former.join, func() {
		askControllers(n.opt.Caller, n.former.join, func(all []string, _ error) {
			for _, a := range all {
				hello(a, func() {})
			}
		})
	})
}
