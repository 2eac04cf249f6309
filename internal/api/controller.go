package api

import (
	"errors"
	"net"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/machine"
	"github.com/leat-stream/leat/internal/metadata"
)

// Requests that the controller decides. Here they are authorised, handed on, and a
// controller that cannot be reached is turned into the error that makes the client
// try again.

// context is who asks, for the controller. At the controllers' door nobody asks this
// broker: what a client asked of another one comes in there.
func (s *Server) context(r *Request) metadata.Context {
	c := metadata.Context{Principal: r.Conn.Principal, ClientID: r.ClientID, Address: hostOf(r.Conn.Remote)}
	if !r.Conn.Controller {
		c.NodeID = s.NodeID
	}
	return c
}

// hostOf is an address without its port; "" when there is none.
func hostOf(a net.Addr) string {
	tcp, ok := a.(*net.TCPAddr)
	if !ok || tcp.IP == nil {
		return ""
	}
	return tcp.IP.String()
}

// submit hands a request to the controller: from a client to the active one wherever
// it is, from another node to the one here.
func (s *Server) submit(r *Request, req any, done func(body any, err error)) {
	if r.Conn.Controller && s.ControllerHere != nil {
		s.ControllerHere(req, done)
		return
	}
	s.Controller(req, done)
}

// forward hands a request to the controller and its answer to the client as it is.
func (s *Server) forward(r *Request, req kmsg.Request, failed func(code *kerr.Error) kmsg.Response) {
	s.forwardThen(r, req, func(resp kmsg.Response) kmsg.Response { return resp }, failed)
}

// forwardThen hands a request to the controller. The reply is what then makes of its
// answer, or what failed makes of the reason why there is none.
func (s *Server) forwardThen(r *Request, req kmsg.Request, then func(kmsg.Response) kmsg.Response, failed func(code *kerr.Error) kmsg.Response) {
	s.decide(r, &metadata.Request{Context: s.context(r), Req: req}, then, failed)
}

// decide is forwardThen of any request of the controller.
func (s *Server) decide(r *Request, req any, then func(kmsg.Response) kmsg.Response, failed func(code *kerr.Error) kmsg.Response) {
	s.submit(r, req, func(body any, err error) {
		if resp, ok := body.(kmsg.Response); ok && err == nil {
			r.Reply(then(resp))
			return
		}
		if why, ok := body.(error); ok && err == nil {
			err = why
		}
		s.undecided(r, err, failed)
	})
}

// undecided answers a request that no controller has decided.
func (s *Server) undecided(r *Request, err error, failed func(code *kerr.Error) kmsg.Response) {
	code := controllerError(err)
	r.misled = code == kerr.NotController
	if r.misled && !r.Conn.Controller {
		if told, none := s.noLeader(code); none {
			code, err = told, errors.New(told.Description)
		}
	}
	s.Complaints.Warn("controller request", "controller request failed", "api", kmsg.NameForKey(r.Key), "why", err)
	r.Reply(failed(code))
}

// controllerError is what a client is told when the controller did not decide: to
// try again, unless the request itself was at fault.
func controllerError(err error) *kerr.Error {
	var known *kerr.Error
	switch {
	case errors.As(err, &known) && known != kerr.UnknownServerError:
		return known
	case errors.Is(err, machine.ErrTimeout):
		return kerr.RequestTimedOut
	case errors.Is(err, metadata.ErrUnsupported):
		return kerr.UnsupportedVersion
	}
	return kerr.NotController
}
