package sim

import (
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// controller is the host whose node takes itself for the leader of the metadata, in the
// highest term.
func (f *faults) controller() (c *Host, term uint64) {
	for _, h := range f.c.Nodes {
		if p, ok := h.Process.(voter); ok {
			if id, st, ok := p.Voter(); ok && st.Leader == id && st.Term > term {
				c, term = h, st.Term
			}
		}
	}
	return c, term
}

// Of a deposed controller.
const (
	deposedIn   = 4 * time.Second // others have to elect
	deposedLook = 20 * time.Millisecond
)

// deposed is the fault of a controller that stands still and is cut off while another one is
// elected, and goes on before it has heard of that. It is asked to delete a topic that the
// other has made, and must not say that there is none.
func (f *faults) deposed() fault {
	f.prober = newClient(f.c.World, "prober", f.c.brokers(), &f.c.Rec)
	f.prober.versions = nil // it has to be told of ids
	probes := 0
	return fault{"deposed controller", 2, 0, func(*Host) func() {
		old, was := f.controller()
		if old == nil || old.paused || !f.c.Settings.serves(int(old.Node)) || f.c.serving() < 3 {
			return nil
		}
		heal, life, began := f.cut(old, true, true, f.c.Nodes), old.life, f.c.Now()
		old.Pause()
		over := func() {
			if !f.ended {
				heal()
				if old.life == life {
					old.Resume()
				}
			}
		}
		probes++
		name := fmt.Sprint("probe", probes)
		var look func()
		look = func() {
			now, term := f.controller()
			switch {
			case f.ended:
			case old.life != life || f.c.Now()-began > deposedIn:
				over()
			case now == old || term <= was || !f.c.Settings.serves(int(now.Node)):
				f.c.Clock.AfterFunc(deposedLook, look)
			default:
				f.probe(now, old, name, over)
			}
		}
		look()
		return nil
	}}
}

// probe has a topic made by the controller that is, and asks the one that was to delete it.
func (f *faults) probe(now, old *Host, name string, over func()) {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 2000
	rt := kmsg.NewCreateTopicsRequestTopic()
	rt.Topic, rt.NumPartitions, rt.ReplicationFactor = name, 1, 1
	req.Topics = append(req.Topics, rt)
	life := old.life
	f.prober.callHost(now, req, requestTimeout, func(r kmsg.Response) {
		resp, ok := r.(*kmsg.CreateTopicsResponse)
		if f.ended || old.life != life || !ok || len(resp.Topics) != 1 || resp.Topics[0].ErrorCode != 0 {
			over()
			return
		}
		id := resp.Topics[0].TopicID
		old.Resume()
		f.c.Count["deposed controller asked"]++
		f.prober.delete(old, id, func(err error) {
			if errors.Is(err, kerr.UnknownTopicID) && f.cutOff(old) {
				f.c.Failf("%s, a controller that was deposed, says that there is no topic %s, which was made before it was asked", old.Name, name)
			}
			over()
			f.prober.deleteSurely(id)
		})
	})
}

// cutOff tells whether a host hears of no other node.
func (f *faults) cutOff(h *Host) bool {
	for _, o := range f.c.Nodes {
		if o != h && !(f.c.path(o, h).Blocked && f.c.path(h, o).Blocked) {
			return false
		}
	}
	return true
}

// delete asks a host to delete a topic.
func (c *Client) delete(at *Host, id [16]byte, done func(error)) {
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TimeoutMillis = 1000
	rt := kmsg.NewDeleteTopicsRequestTopic()
	rt.TopicID = id
	req.Topics = append(req.Topics, rt)
	c.callHost(at, req, 2*time.Second, func(r kmsg.Response) {
		resp, ok := r.(*kmsg.DeleteTopicsResponse)
		if !ok || len(resp.Topics) != 1 {
			done(errNoAnswer)
			return
		}
		done(c.noted("DeleteTopics", resp.Topics[0].ErrorCode))
	})
}

// deleteSurely has a topic deleted by whoever can.
func (c *Client) deleteSurely(id [16]byte) {
	c.delete(c.any(), id, func(err error) {
		if err != nil && !errors.Is(err, kerr.UnknownTopicID) {
			c.after(c.backoff(), func() { c.deleteSurely(id) })
		}
	})
}
