package sim

import (
	"errors"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/metadata"
)

const (
	// unregisterIn is how long it may take until a broker that is down can be done without.
	unregisterIn = 20 * time.Second
	// unregisterBy is how long a request to unregister a broker may be under way somewhere
	// when there was no answer to it. So long the broker does not come back: its new
	// incarnation might be unregistered.
	unregisterBy = 60 * time.Second
)

// departure is a broker that is unregistered while it is down.
type departure struct {
	f     *faults
	h     *Host
	died  time.Duration
	asked time.Duration // 0: not yet
	// eligible: it may lead something, as far as was known when it was asked.
	eligible bool
}

// unregister is the fault of a broker that is taken from the cluster (UnregisterBroker)
// and comes back some time later, perhaps with another disk. It is asked for only when
// others have all that the broker has.
func (f *faults) unregister() fault {
	weight := 0
	if f.c.Settings.Mix.Unregister {
		weight = 6
	}
	return fault{"broker unregistered", weight, 0, func(h *Host) func() {
		if f.replacing != nil || f.leaving != nil || !f.c.Settings.serves(int(h.Node)) || f.c.Settings.Nodes < 2 || !h.Serving {
			return nil
		}
		f.leaving = &departure{f: f, h: h, died: f.c.Now()}
		h.out = true
		h.Kill()
		f.leaving.look()
		return nil
	}}
}

// look asks once the broker can be done without, and waits until it is gone.
func (d *departure) look() {
	f := d.f
	b := f.c.inv.newest.Broker(d.h.Node)
	switch {
	case b == nil:
		f.c.Count["broker unregistered"]++
		if d.eligible {
			f.c.Count["eligible broker unregistered"]++
		}
		f.c.Tracef("%s is unregistered", d.h.Name)
		f.c.Clock.AfterFunc(1+time.Duration(f.rng.Int64N(int64(6*time.Second))), d.back)
		return
	case d.asked > 0 && f.c.Now()-d.asked > unregisterBy, d.asked == 0 && (f.ended || f.c.Now()-d.died > unregisterIn):
		d.end()
		return
	case d.asked == 0 && b.Fenced && d.others():
		d.ask()
	}
	f.c.Clock.AfterFunc(replaceLook, d.look)
}

// others tells whether others are in sync wherever the broker has a replica, among them one
// whose disk loses nothing. The broker itself may be eligible to lead until it is gone.
func (d *departure) others() bool {
	f := d.f
	for t := range f.c.inv.newest.Topics() {
		for _, p := range t.Partitions {
			if !slices.Contains(p.Replicas, d.h.Node) {
				continue
			}
			good := slices.ContainsFunc(p.ISR, func(id int32) bool { return id != d.h.Node && f.c.Nodes[id-1] != f.lossy() })
			if p.Leader == d.h.Node || p.Recovering() || !good {
				return false
			}
			if slices.Contains(p.ELR(), d.h.Node) {
				d.eligible = true
			}
		}
	}
	return true
}

// departing tells whether a broker is on its way out: nobody may count on it.
func (f *faults) departing(id int32) bool { return f.leaving != nil && f.leaving.h.Node == id }

func (d *departure) ask() {
	f, o := d.f, d.f.c.operator
	d.asked = f.c.Now()
	f.c.Tracef("%s is to be unregistered", d.h.Name)
	req := kmsg.NewPtrUnregisterBrokerRequest()
	req.BrokerID = d.h.Node
	o.callHost(o.any(), req, 2*requestTimeout, func(r kmsg.Response) {
		if resp, ok := r.(*kmsg.UnregisterBrokerResponse); ok {
			err := o.noted("UnregisterBroker", resp.ErrorCode)
			switch {
			case err == nil, errors.Is(err, kerr.RequestTimedOut), errors.Is(err, kerr.NotController):
			case errors.Is(err, kerr.StaleBrokerEpoch): // it has registered anew, as this or another copy knows
			case errors.Is(err, kerr.BrokerIDNotRegistered) && f.c.inv.newest.Broker(d.h.Node) == nil:
				// The broker that was asked tried again when a controller died with its answer.
			default:
				f.c.Failf("unregistering broker %d was answered %w", d.h.Node, err)
			}
		}
	})
}

// back lets the broker come back, with an empty disk now and then.
func (d *departure) back() {
	f := d.f
	if !f.ended && len(f.c.Nodes) > 2 && f.rng.IntN(2) == 0 && f.c.Now()-d.died > noticed && f.spareVote(d.h, d.died) && f.spareReplicas(d.h) {
		f.c.Count["unregistered broker with a new disk"]++
		f.newDisk(d.h)
	}
	d.end()
}

func (d *departure) end() {
	d.f.leaving, d.h.out = nil, false
	d.f.c.Clock.AfterFunc(d.h.restartAfter(), d.h.startIfDown)
}

// unregistered looks at brokers that the cluster does not know: nothing of theirs counts
// for any partition, and nothing is given to them, until they have registered again.
func (v *invariants) unregistered(old, img *metadata.Image) {
	for _, h := range v.c.brokers() {
		id := h.Node
		if img.Broker(id) != nil {
			if v.left[id] {
				v.left[id] = false
				v.c.Count["unregistered broker is back"]++
			}
			continue
		}
		if old.Broker(id) != nil {
			v.left[id] = true
		}
		for t := range img.Topics() {
			for _, p := range t.Partitions {
				v.nothingTo(id, old, t, p)
			}
		}
	}
}

func (v *invariants) nothingTo(id int32, old *metadata.Image, t *metadata.Topic, p *metadata.Partition) {
	if p.Leader == id || p.Counts(id) {
		v.c.Failf("broker %d is not registered, and counts for %s-%d, which is led by %d: in sync %v, eligible %v", id, t.Name, p.Index, p.Leader, p.ISR, p.ELR())
	}
	if !slices.Contains(p.Replicas, id) || old.Broker(id) != nil {
		return
	}
	was := old.TopicByID(t.ID)
	if was == nil || was.Partition(p.Index) == nil || !slices.Contains(was.Partition(p.Index).Replicas, id) {
		v.c.Failf("broker %d is not registered, and was given a replica of %s-%d", id, t.Name, p.Index)
	}
}
