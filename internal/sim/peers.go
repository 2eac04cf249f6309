package sim

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/nodewire"
	"github.com/leat-stream/leat/internal/peer"
)

// peers is a process's Caller over the simulated network.
type peers struct {
	h     *Host
	life  int
	links map[lane]*Link
}

// lane is a connection to another host.
type lane struct {
	to   string
	lane peer.Lane
}

var _ peer.Caller = (*peers)(nil)

// Caller makes the means by which the process of a host calls other nodes.
func (h *Host) Caller() peer.Caller {
	return &peers{h: h, life: h.life, links: map[lane]*Link{}}
}

// find is the host that is meant; nil when there is none.
func (w *World) find(to peer.Target, door string) *Host {
	for _, h := range w.hosts {
		if to.Node >= 0 && h.Node == to.Node || to.Node < 0 && to.Address == h.Address(door) {
			if h.doors != nil && !slices.Contains(h.doors, door) {
				return nil
			}
			return h
		}
	}
	return nil
}

func (p *peers) link(to peer.Target, l peer.Lane) *Link {
	door := ControllerDoor
	if l.Door() == peer.ToBroker {
		door = ClientDoor
	}
	h := p.h.w.find(to, door)
	if h == nil {
		return nil
	}
	key := lane{h.Name, l}
	link := p.links[key]
	if link == nil || link.Closed() {
		link = p.h.w.Dial(p.h, h, door, "node")
		link.Broken = func() { p.broke(h) }
		p.links[key] = link
	}
	return link
}

// hinted is a process that is told of connections that break, as package broker does.
type hinted interface {
	Broke(node int32)
	Refused(node int32)
}

// broke tells the process that a connection broke, and then what comes of dialling again:
// a machine that runs, without the process, refuses.
func (p *peers) broke(to *Host) {
	n, ok := p.h.Process.(hinted)
	if !ok || to.Node < 0 {
		return
	}
	n.Broke(to.Node)
	w, life := p.h.w, p.h.life
	w.Clock.AfterFunc(time.Millisecond, func() {
		p.h.do(life, "dialled", func() {
			if !to.Up() && !to.dark && !w.path(p.h, to).Blocked && !w.path(to, p.h).Blocked {
				w.Count["dial refused"]++
				n.Refused(to.Node)
			}
		})
	})
}

func (p *peers) Call(to peer.Target, l peer.Lane, req kmsg.Request, timeout time.Duration, done func(kmsg.Response, error)) {
	if p.h.life != p.life {
		return // the dead ask nothing
	}
	link := p.link(to, l)
	if link == nil {
		p.h.Clock.AfterFunc(time.Millisecond, func() { done(nil, peer.ErrUnreachable) })
		return
	}
	if m, ok := req.(*nodewire.LostRequest); ok {
		p.h.w.Lost(m)
	}
	if ask, ok := req.(*kmsg.AlterPartitionRequest); ok {
		p.h.w.Wishing(ask)
	}
	if reg, ok := req.(*kmsg.BrokerRegistrationRequest); ok {
		p.h.w.Returning(reg)
		if p.h.w.Registering != nil {
			p.h.w.Registering(p.h, link.to)
		}
	}
	link.Call(req, timeout, func(resp kmsg.Response, err error) {
		if ask, ok := req.(*kmsg.AlterPartitionRequest); ok && err != nil {
			p.h.w.Unanswered(ask)
		}
		switch err {
		case nil:
		case errTimeout:
			err = peer.ErrTimeout
		default: // it may have been carried out
			err = peer.ErrBroken
		}
		done(resp, err)
	})
}

func (p *peers) Send(to peer.Target, l peer.Lane, req kmsg.Request) {
	if p.h.life != p.life {
		return
	}
	if m, ok := req.(*nodewire.RaftRequest); ok {
		p.h.w.Told(m)
	}
	if link := p.link(to, l); link != nil {
		link.Send(req)
	}
}
