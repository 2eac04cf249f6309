package api

import (
	"github.com/leat-stream/leat/internal/nodewire"
)

// betweenNodes serves the requests between nodes that Kafka has no message for (package
// nodewire), at the controllers' door only. Their answers may come out of order with the
// work of others: each is early.
var betweenNodes = &Handler{Doors: ControllerDoor, Early: true}

// serveNode hands a request of another node to Server.Nodes.
func (s *Server) serveNode(r *Request) Verdict {
	alloc, err := nodewire.Check(r.Key, r.Version, r.Body)
	if err != nil {
		return Verdict{Err: refused{r.Key, r.Version, err.Error()}}
	}
	if err := s.charge(r, alloc); err != nil {
		return Verdict{Err: err}
	}
	msg := nodewire.RequestForKey(r.Key)
	msg.SetVersion(r.Version)
	if err := msg.ReadFrom(r.Body); err != nil {
		r.giveBack()
		return Verdict{Err: refused{r.Key, r.Version, err.Error()}}
	}
	r.Msg = msg
	s.Nodes(r, msg)
	return Verdict{Handler: betweenNodes}
}

// nodesKey tells whether a key is one of theirs that this connection may use.
func (s *Server) nodesKey(c *Conn, key int16) bool {
	return s.Nodes != nil && c.Controller && nodewire.RequestForKey(key) != nil
}
