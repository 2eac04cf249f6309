package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/leat-stream/leat/internal/node"
)

// Mix is what a cluster is made of and what its operator does with it, as it varies with
// the seed. The zero Mix is a cluster of nodes that are broker and controller each, listed
// on each of them.
type Mix struct {
	// Controllers are nodes without a broker; they come behind the Nodes of Settings, all
	// of which are brokers.
	Controllers int
	// PureBrokers are the last of the brokers: they cannot vote.
	PureBrokers int
	// Join: the first controller founds the cluster alone, all others come with leat.join.
	Join       bool
	Throttles  bool // of replication
	Unregister bool // of brokers that are gone
}

// drawMix draws it for settings that are drawn, and fits them to it.
func drawMix(r *rand.Rand, s *Settings) {
	m := &s.Mix
	switch roles := r.IntN(8); {
	case s.Nodes > 4 || roles > 4: // all are both
	case roles == 0:
		m.Controllers, m.PureBrokers = pick(r, 1, 3, 3), s.Nodes
	case roles <= 2:
		m.Controllers = 1
	default: // one controller is left, or three
		m.PureBrokers = pick(r, s.Nodes-1, max(s.Nodes-3, 0))
	}
	if s.Nodes == 2-m.Controllers+m.PureBrokers { // two voters are for nobody
		m.Controllers++
	}
	m.Join = r.IntN(3) == 0
	if m.Join {
		s.VoterChanges = false // who votes is the cluster's own affair
	}
	m.Throttles, m.Unregister = r.IntN(3) == 0, r.IntN(3) == 0
}

// serves tells whether a node is a broker, votes whether it is a controller.
func (s *Settings) serves(id int) bool { return id <= s.Nodes }
func (s *Settings) votes(id int) bool  { return id <= s.Nodes-s.Mix.PureBrokers || id > s.Nodes }

// controllers are the ids of the nodes that may vote, those without a broker first.
func (s *Settings) controllers() (ids []int) {
	for id := s.Nodes + 1; id <= s.Nodes+s.Mix.Controllers; id++ {
		ids = append(ids, id)
	}
	for id := 1; id <= s.Nodes-s.Mix.PureBrokers; id++ {
		ids = append(ids, id)
	}
	return ids
}

// founders are the nodes that found the cluster.
func (c *Cluster) founders() (all []*Host) {
	ids := c.Settings.controllers()
	n := min(3, len(ids))
	if c.Settings.Mix.Join {
		n = 1
	}
	for _, id := range ids[:n] {
		all = append(all, c.Nodes[id-1])
	}
	return all
}

// others are those that come once the cluster is there.
func (c *Cluster) others() []*Host {
	founders := c.founders()
	return slices.DeleteFunc(slices.Clone(c.Nodes), func(h *Host) bool { return slices.Contains(founders, h) })
}

// brokers are the nodes that clients know.
func (c *Cluster) brokers() []*Host { return c.Nodes[:c.Settings.Nodes] }

// place is what the settings of a node say of its roles, and of how it finds its cluster.
func (c *Cluster) place(h *Host) []string {
	s, id := &c.Settings, int(h.Node)
	var roles, doors []string
	if s.serves(id) {
		roles, doors = append(roles, "broker"), append(doors, ClientDoor+"://"+h.Address(ClientDoor))
	}
	if s.votes(id) {
		roles, doors = append(roles, "controller"), append(doors, ControllerDoor+"://"+h.Address(ControllerDoor))
	}
	sets := []string{"process.roles=" + strings.Join(roles, ","), "listeners=" + strings.Join(doors, ",")}
	if s.Mix.Join {
		if to := c.joins(h); to != nil {
			sets = append(sets, "leat.join="+to.Address(ControllerDoor))
		}
		return sets
	}
	var servers []string
	for _, f := range c.founders() {
		servers = append(servers, f.Address(ControllerDoor))
	}
	return append(sets, "controller.quorum.bootstrap.servers="+strings.Join(servers, ","))
}

// joins is the node that another is told to join: the one that began, or where that has
// lost its disk one that has not; nil for the one that began. Two that know no cluster would
// wait for each other.
func (c *Cluster) joins(h *Host) *Host {
	first := c.founders()[0]
	if h == first && !h.wiped {
		return nil
	}
	for _, id := range append([]int{int(first.Node)}, c.Settings.controllers()...) {
		if to := c.Nodes[id-1]; to != h && !to.wiped {
			return to
		}
	}
	return first
}

// doors are the listeners of a node.
func (c *Cluster) doors(h *Host) (names []string) {
	if c.Settings.serves(int(h.Node)) {
		names = append(names, ClientDoor)
	}
	if c.Settings.votes(int(h.Node)) {
		names = append(names, ControllerDoor)
	}
	return names
}

// counts says of what a cluster is.
func (m *Mix) counts(total map[string]int) {
	for name, is := range map[string]bool{
		"controllers without a broker": m.Controllers > 0, "brokers without a vote": m.PureBrokers > 0, "cluster formed by joining": m.Join,
	} {
		if is {
			total[name]++
		}
	}
}

func (m Mix) String() string {
	return fmt.Sprintf("{controllers %d, pure brokers %d, join %t, throttles %t, unregister %t}", m.Controllers, m.PureBrokers, m.Join, m.Throttles, m.Unregister)
}

func (c *Cluster) controllerAt(h *Host) string {
	if !c.Settings.votes(int(h.Node)) {
		return ""
	}
	return h.Address(ControllerDoor)
}

func (c *Cluster) clientDoors(h *Host) []node.Door {
	if !c.Settings.serves(int(h.Node)) {
		return nil
	}
	return []node.Door{{Name: ClientDoor, Host: h.Name, Port: 9092}}
}

// startOthers starts the nodes that did not found the cluster; those that join come one
// after the other.
func (c *Cluster) startOthers() {
	for _, h := range c.others() {
		if !c.Settings.Mix.Join {
			h.Start()
			continue
		}
		c.Clock.AfterFunc(time.Duration(c.sched.Int64N(int64(8*time.Second))), h.Start)
	}
}
