package node

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/api"
	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/forming"
	"github.com/leat-stream/leat/internal/log"
	"github.com/leat-stream/leat/internal/nodewire"
	"github.com/leat-stream/leat/internal/peer"
)

// IDOf is the id of the node that a data directory belongs to; ok is false for a new one.
func IDOf(fsys env.FS, dir string) (id int32, ok bool, err error) {
	id, ok, err = log.NodeOf(fsys, dir)
	if err != nil {
		err = dataDirError(dir, err)
	}
	return id, ok, err
}

// IDOptions are what a node without an id needs to get one.
type IDOptions struct {
	Caller peer.Caller
	Clock  env.Clock
	Log    *slog.Logger
	// Addresses are of nodes of the cluster: their controllers' listeners, or ones for clients.
	Addresses []string
	// DirectoryID is that of the data directory to be: the id is given to it.
	DirectoryID [16]byte
	Voter       bool
}

// idSeeker asks one address after the other until the leader of the metadata has given an id.
type idSeeker struct {
	o    IDOptions
	done func(id int32)

	mu      sync.Mutex
	ended   bool
	order   []string
	state   map[string]string // why an address was of no use
	waiting int               // answers of this round
	timer   env.Timer
	began   time.Time
	said    string
}

const (
	idPause = 250 * time.Millisecond
	// idQuiet is how long it takes until it is said who is being waited for.
	idQuiet = time.Second
)

// AskID asks a cluster for an id; done is told once it is there. stop ends the search.
func AskID(o IDOptions, done func(id int32)) (stop func()) {
	s := &idSeeker{o: o, done: done, order: slices.Clone(o.Addresses), state: map[string]string{}, began: o.Clock.Now()}
	s.round()
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.ended = true
		if s.timer != nil {
			s.timer.Stop()
		}
	}
}

// round asks everybody.
func (s *idSeeker) round() {
	s.mu.Lock()
	all := slices.Clone(s.order)
	s.waiting = len(all)
	s.mu.Unlock()
	for _, a := range all {
		s.ask(a)
	}
}

func (s *idSeeker) ask(address string) {
	req := &nodewire.HelloRequest{From: nodewire.Identity{NodeID: -1, DirectoryID: s.o.DirectoryID}, Voter: s.o.Voter}
	s.o.Caller.Call(peer.Target{Node: -1, Address: address}, peer.Control, req, helloPatience, func(resp kmsg.Response, err error) {
		hello, ok := resp.(*nodewire.HelloResponse)
		if noHello(err, ok) {
			askControllers(s.o.Caller, address, func(all []string, err error) {
				why := "it knows no controller that other nodes can reach"
				if err != nil {
					why = err.Error()
				} else if len(all) > 0 {
					why = ""
				}
				s.answered(address, -1, all, why)
			})
			return
		}
		if err != nil {
			s.answered(address, -1, nil, strings.TrimPrefix(err.Error(), address+": "))
			return
		}
		s.heard(address, hello)
	})
}

func (s *idSeeker) heard(address string, r *nodewire.HelloResponse) {
	var more []string
	if r.Leader.NodeID >= 0 {
		more = append(more, r.Leader.Address)
	}
	for _, v := range r.Voters {
		more = append(more, v.Address)
	}
	switch {
	case r.From.DirectoryID == s.o.DirectoryID:
		s.answered(address, -1, nil, forming.ItselfWaits)
	case r.From.NodeID < 0:
		s.answered(address, -1, nil, forming.OtherWaits)
	case !r.HasLog:
		s.answered(address, -1, nil, "it is in no cluster yet")
	case r.ErrorCode != 0:
		s.answered(address, -1, more, fmt.Sprintf("%v", kerr.ErrorForCode(r.ErrorCode)))
	case r.FreeNodeID < 0 && r.Leader.NodeID < 0:
		s.answered(address, -1, more, "the cluster has no controller now")
	default:
		s.answered(address, r.FreeNodeID, more, "")
	}
}

// answered takes the outcome of one address. The last one of a round begins the next:
// at once when there are new addresses, else after a pause.
func (s *idSeeker) answered(address string, id int32, more []string, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	if id >= 0 {
		s.ended = true
		s.done(id)
		return
	}
	s.state[address] = why
	pause := idPause
	for _, a := range more {
		if a != "" && !slices.Contains(s.order, a) {
			s.order, pause = append(s.order, a), 0
		}
	}
	if s.waiting--; s.waiting == 0 {
		s.tell()
		s.timer = s.o.Clock.AfterFunc(pause, s.round)
	}
}

// tell says whom the node waits for, when that has changed; s.mu is held.
func (s *idSeeker) tell() {
	if s.o.Clock.Now().Sub(s.began) < idQuiet {
		return
	}
	var all []string
	for _, a := range s.order {
		if why := s.state[a]; why != "" {
			all = append(all, a+" ("+why+")")
		}
	}
	text := "waiting for the controller of the cluster to give this node an id"
	if len(all) > 0 {
		text = "waiting for " + strings.Join(all, ", ")
	}
	if text != s.said {
		s.said = text
		s.o.Log.Info(text)
	}
}

// AnswerWaiting answers the hello of another node, a frame without its size prefix, while
// this one waits for an id; address is that of its controllers' listener. Any other request
// is an error.
func AnswerWaiting(directory [16]byte, address, software string, frame []byte) ([]byte, error) {
	return api.AnswerHello(frame, &nodewire.HelloResponse{
		From:   nodewire.Identity{NodeID: -1, DirectoryID: directory, Address: address},
		Leader: nodewire.Identity{NodeID: -1}, FreeNodeID: -1, Software: software,
	})
}

// noHello tells of an address that took a hello and does not understand it: a listener
// for clients hangs up.
func noHello(err error, ok bool) bool {
	return errors.Is(err, peer.ErrBroken) || errors.Is(err, forming.ErrNoHello) || err == nil && !ok
}

// askControllers asks a listener for clients where the controllers are.
func askControllers(caller peer.Caller, address string, done func(addresses []string, err error)) {
	describeQuorum(caller, address, func(r *kmsg.DescribeQuorumResponse, err error) {
		var all []string
		for _, node := range r.Nodes {
			for _, l := range node.Listeners {
				all = append(all, net.JoinHostPort(l.Host, strconv.Itoa(int(l.Port))))
			}
		}
		done(all, err)
	})
}
