package sim

import (
	"net"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/api"
	"github.com/leat-stream/leat/internal/env"
)

// serverConn is the server's side of a connection: as in package broker, one loop reads
// frames and runs handlers, the other writes the answers in the order of the requests.
type serverConn struct {
	l     *Link
	h     *Host
	life  int
	info  api.Conn
	read  env.Loop
	write env.Loop

	inbox [][]byte
	queue []*slot
	ended bool
	// ending: it ends behind what is in the inbox.
	ending bool
}

type slot struct {
	req    api.Request
	answer api.Answer
	asked  *groupAsked // of a group's coordinator
	done   bool
	early  bool
}

type address string

func (address) Network() string  { return "sim" }
func (a address) String() string { return string(a) }

var _ net.Addr = address("")

func newServerConn(l *Link) *serverConn {
	s := &serverConn{l: l, h: l.to, life: l.to.life}
	s.info = api.Conn{
		ID: l.id, Listener: l.door, Controller: l.door == ControllerDoor, Principal: "User:ANONYMOUS",
		Local: address(l.to.Address(l.door)), Remote: address(l.from.Name + ":40000"),
	}
	s.read = l.to.Exec.Loop("read", s.readTurn)
	s.write = l.to.Exec.Loop("write", s.writeTurn)
	return s
}

func (s *serverConn) receive(frame []byte) {
	s.inbox = append(s.inbox, frame)
	s.read.Wake()
}

// readTurn runs the handler of one request, if the ones before allow it.
func (s *serverConn) readTurn() {
	if len(s.inbox) == 0 || s.ended {
		return
	}
	if n := len(s.queue); n > 0 && !s.queue[n-1].early && !s.queue[n-1].done {
		return // woken again when it is done
	}
	frame := s.inbox[0]
	s.inbox = s.inbox[1:]
	sl := &slot{}
	s.queue = append(s.queue, sl)
	v := s.h.Process.API().Serve(&s.info, frame, &sl.req, func(a api.Answer) {
		sl.answer, sl.done = a, true
		s.write.Wake()
		s.read.Wake()
	})
	if v.Err != nil {
		s.h.w.Failf("%s refused a request from %s: %w", s.h.Name, s.l.from.Name, v.Err)
		return
	}
	sl.early = v.Handler.Early
	sl.asked = s.h.w.Asked(s.h, &sl.req)
	if sl.req.Key == kmsg.Fetch.Int16() {
		s.h.w.fetchedFrom = s.h
	}
	clear(frame) // it may be reused: who keeps it must notice
	if s.ending && len(s.inbox) == 0 {
		s.end()
	}
	s.read.Wake()
}

// writeTurn writes the oldest answer, if it is there.
func (s *serverConn) writeTurn() {
	if len(s.queue) == 0 || !s.queue[0].done {
		return
	}
	sl := s.queue[0]
	s.queue = s.queue[1:]
	s.write.Wake()
	if sl.answer == nil {
		return
	}
	out := sl.answer()
	b, err := flatten(out, func(records []byte) { s.h.garble(s.l.from, records) })
	switch {
	case err != nil || out.Close:
		s.l.down.send(s.l.Reset)
	case len(b) > 4 && sl.asked != nil:
		s.h.w.Replied(s.h, sl.asked, b[4:])
		fallthrough
	case len(b) > 4:
		if s.ended {
			return
		}
		s.l.down.send(func() { s.l.answered(b[4:]) })
	}
}

// last is the end of the connection behind what has come by it.
func (s *serverConn) last() {
	if len(s.inbox) == 0 {
		s.end()
		return
	}
	s.ending = true
}

// end is the end of the connection in the server's eyes: what waits is cancelled.
func (s *serverConn) end() {
	s.h.do(s.life, "conn ended", func() {
		s.ended = true
		s.inbox = nil
		if n, ok := s.h.Process.(hinted); ok && s.info.Beats {
			n.Broke(s.info.Broker)
		}
		for _, sl := range s.queue {
			if !sl.done {
				sl.req.Cancel()
			}
		}
	})
}
