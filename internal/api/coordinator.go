package api

import (
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/leat-stream/leat/internal/group"
	"github.com/leat-stream/leat/internal/machine"
	"github.com/leat-stream/leat/internal/metadata"
)

// Requests that a group's coordinator decides. Here they are authorised and handed to
// the shard of the group's partition, and the lack of an answer is turned into the
// error that makes the client look for the coordinator again.

// coordinate submits a request to the coordinator of a group. done gets its answer,
// or the error that a client is told.
func (s *Server) coordinate(groupID string, req any, done func(body any, code *kerr.Error)) {
	offsets := s.Image().Topic(metadata.OffsetsTopic)
	if offsets == nil || len(offsets.Partitions) == 0 {
		done(nil, kerr.NotCoordinator)
		return
	}
	s.coordinateIn(group.PartitionOf(groupID, len(offsets.Partitions)), req, done)
}

// coordinateIn submits a request to the coordinator in a partition, again as long as
// it says that there is more to do.
func (s *Server) coordinateIn(partition int32, req any, done func(body any, code *kerr.Error)) {
	s.Groups.Submit(GroupShard(partition), req, func(body any, err error) {
		if err != nil {
			done(nil, coordinatorError(err))
			return
		}
		if _, more := body.(group.Again); more {
			s.coordinateIn(partition, req, done)
			return
		}
		done(body, nil)
	})
}

// coordinatorError is what a client is told when a coordinator did not answer.
func coordinatorError(err error) *kerr.Error {
	switch {
	case errors.Is(err, machine.ErrLoading):
		return kerr.CoordinatorLoadInProgress
	case errors.Is(err, machine.ErrTimeout), errors.Is(err, machine.ErrOverloaded), errors.Is(err, kerr.NotEnoughReplicas):
		return kerr.CoordinatorNotAvailable
	case errors.Is(err, kerr.MessageTooLarge), errors.Is(err, kerr.RecordListTooLarge):
		return kerr.UnknownServerError
	}
	return kerr.NotCoordinator
}

// groupContext is who asks, for a coordinator.
func groupContext(r *Request) group.Context {
	return group.Context{ClientID: r.ClientID, ClientHost: clientHost(r.Conn.Remote), Version: r.Version}
}

// clientHost is an address as Kafka stores it in a group: a slash, and the address in
// Java's long form.
func clientHost(addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok || tcp.IP == nil {
		return "/"
	}
	if ip4 := tcp.IP.To4(); ip4 != nil {
		return "/" + ip4.String()
	}
	ip := tcp.IP.To16()
	host := "/"
	for i := 0; i < len(ip); i += 2 {
		if i > 0 {
			host += ":"
		}
		host += fmt.Sprintf("%x", uint16(ip[i])<<8|uint16(ip[i+1]))
	}
	if tcp.Zone != "" {
		host += "%" + tcp.Zone
	}
	return host
}

// maxFanOut bounds the parts of one request that are with coordinators at once, so
// that a request of many groups does not fill a coordinator's queue.
const maxFanOut = 256

// fanOut does the n parts of a request: start begins part i and calls done once, now
// or later, from any goroutine. end is called once, after the last.
func fanOut(n int, start func(i int, done func()), end func()) {
	f := &fan{n: n, start: start, end: end}
	f.pump()
}

type fan struct {
	n     int
	start func(i int, done func())
	end   func()

	mu      sync.Mutex
	next    int  // the part to start next
	busy    int  // parts under way
	pumping bool // somebody starts parts
}

// pump starts what may be started. A part that is done at once does not nest: its
// done finds pumping set, and the loop goes on.
func (f *fan) pump() {
	f.mu.Lock()
	if f.pumping {
		f.mu.Unlock()
		return
	}
	f.pumping = true
	for f.next < f.n && f.busy < maxFanOut {
		i := f.next
		f.next++
		f.busy++
		f.mu.Unlock()
		f.start(i, f.done)
		f.mu.Lock()
	}
	over := f.next == f.n && f.busy == 0
	f.pumping = over // after the end nobody pumps any more
	f.mu.Unlock()
	if over {
		f.end()
	}
}

func (f *fan) done() {
	f.mu.Lock()
	f.busy--
	f.mu.Unlock()
	f.pump()
}
