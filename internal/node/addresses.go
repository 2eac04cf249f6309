package node

import (
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/leat-stream/leat/internal/nodewire"
	"github.com/leat-stream/leat/internal/peer"
)

// addresses are where the CONTROLLER listeners of other nodes are: as they said
// themselves, which is newer than what the metadata may know and there before it, or as
// others say. Whoever reaches this node can say so: of nodes that the cluster does not
// know, only the last ones are kept.
type addresses struct {
	// belongs tells whether the cluster knows a node; nil for none.
	belongs func(node int32) bool
	now     func() time.Time

	mu        sync.Mutex
	known     map[int32]nodewire.Identity
	hearsay   map[int32]nodewire.Identity // the last that others said; of known nodes
	strangers []int32                     // of known, in the order in which they came; some may belong by now
	said      map[int32]word              // the last that each said of itself; of known nodes
}

// word is what a node said of itself, and when it last did.
type word struct {
	nodewire.Identity
	at time.Time
}

const (
	// maxStrangers is how many nodes are kept that the cluster does not know: those that
	// are about to join, or found it.
	maxStrangers = 256
	// maxAddress is the length of an address: a host's name and a port.
	maxAddress = 300
)

// heard takes what a node says of itself. It is false, and nothing is taken, when the node
// with that id has just said that it is another, or elsewhere: whoever is there speaks again
// and again, and one word by mistake, or by a stranger, leads nobody away from it. A node that
// really moved is believed once the old one has been silent for presentFor.
func (a *addresses) heard(from nodewire.Identity) bool { return a.take(from, false) }

// told takes what is said of a node: it counts when nothing is known of that one, and
// when it has changed.
func (a *addresses) told(of nodewire.Identity) { a.take(of, true) }

func (a *addresses) take(of nodewire.Identity, byOthers bool) bool {
	if of.NodeID < 0 || of.Address == "" || len(of.Address) > maxAddress {
		return true
	}
	unknown, contradicted := a.put(of, byOthers)
	if unknown && !a.ours(of.NodeID) {
		a.stranger(of.NodeID)
	}
	return !contradicted
}

// put tells whether nothing was known of the node, and whether its own word is against it.
func (a *addresses) put(of nodewire.Identity, byOthers bool) (unknown, contradicted bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.known == nil {
		a.known, a.hearsay, a.said = map[int32]nodewire.Identity{}, map[int32]nodewire.Identity{}, map[int32]word{}
	}
	if !byOthers {
		now := a.now()
		if w, spoke := a.said[of.NodeID]; spoke && w.Identity != of && now.Sub(w.at) < presentFor {
			return false, true
		}
		a.said[of.NodeID] = word{of, now}
	}
	before, twice := a.hearsay[of.NodeID]
	_, known := a.known[of.NodeID]
	if byOthers {
		a.hearsay[of.NodeID] = of
	}
	if !byOthers || !known || twice && before != of {
		a.known[of.NodeID] = of
	}
	return !known, false
}

func (a *addresses) ours(node int32) bool { return a.belongs != nil && a.belongs(node) }

// stranger keeps the last nodes that the cluster does not know.
func (a *addresses) stranger(node int32) {
	a.mu.Lock()
	all := append(slices.Clone(a.strangers), node)
	a.mu.Unlock()
	if len(all) > maxStrangers {
		all = slices.DeleteFunc(all, a.ours) // without the lock: it has others in it
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for ; len(all) > maxStrangers; all = all[1:] {
		delete(a.known, all[0])
		delete(a.hearsay, all[0])
		delete(a.said, all[0])
	}
	a.strangers = all
}

// belongs tells whether the cluster knows a node: it is a member of the quorum, or registered.
func (n *Node) belongs(node int32) bool {
	if n.meta == nil {
		return false
	}
	img := n.Image()
	return node == n.id || img.Broker(node) != nil || img.ControllerNode(node) != nil ||
		slices.ContainsFunc(n.meta.members(), func(m member) bool { return m.NodeID == node })
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
