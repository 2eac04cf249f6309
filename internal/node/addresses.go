package node

import (
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"

	"github.com/leat-stream/leat/internal/nodewire"
	"github.com/leat-stream/leat/internal/peer"
)

// addresses are where the CONTROLLER listeners of other nodes are: as they said
// themselves, which is newer than what the metadata may know and there before it, or as
// others say.
type addresses struct {
	mu      sync.Mutex
	known   map[int32]nodewire.Identity
	hearsay map[int32]nodewire.Identity // the last that others said
}

// heard takes what a node says of itself.
func (a *addresses) heard(from nodewire.Identity) {
	if from.NodeID < 0 || from.Address == "" {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.init()
	a.known[from.NodeID] = from
}

// told takes what is said of a node: it counts when nothing is known of that one, and
// when it has changed.
func (a *addresses) told(of nodewire.Identity) {
	if of.NodeID < 0 || of.Address == "" {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.init()
	before, twice := a.hearsay[of.NodeID]
	_, known := a.known[of.NodeID]
	if !known || twice && before != of {
		a.known[of.NodeID] = of
	}
	a.hearsay[of.NodeID] = of
}

func (a *addresses) init() {
	if a.known == nil {
		a.known, a.hearsay = map[int32]nodewire.Identity{}, map[int32]nodewire.Identity{}
	}
}

// all are the nodes that were heard of, by id.
func (a *addresses) all() []nodewire.Identity {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := make([]nodewire.Identity, 0, len(a.known))
	for _, id := range slices.Sorted(maps.Keys(a.known)) {
		list = append(list, a.known[id])
	}
	return list
}

func (a *addresses) of(node int32) (string, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	id, ok := a.known[node]
	return id.Address, ok
}

// Resolve tells where another node listens.
func (n *Node) Resolve(node int32, d peer.Door) (addr string, ok bool) {
	if d == peer.ToBroker {
		b := n.Image().Broker(node)
		if b == nil {
			return "", false
		}
		l, ok := b.Listener(n.Config().InterBrokerListener())
		return net.JoinHostPort(l.Host, strconv.Itoa(int(l.Port))), ok
	}
	if addr, ok := n.addresses.of(node); ok {
		return addr, true
	}
	for _, m := range n.meta.members() {
		if m.NodeID == node && m.Address != "" {
			return m.Address, true
		}
	}
	return "", false
}
