package node

import (
	"cmp"
	"errors"
	"maps"
	"math"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/forming"
	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/nodewire"
	"github.com/leat-stream/leat/internal/quorum"
)

// voting is what the leader of the metadata does about its members. It belongs to the
// node's tasks.
type voting struct {
	term   int32
	policy *forming.Voters // of the term
	busy   bool            // a change is under way
	asked  bool            // so is one that a client asked for, which may be several
}

var changeKinds = map[forming.ChangeKind]quorum.ChangeKind{
	forming.AddLearner: quorum.AddLearner, forming.Promote: quorum.Promote, forming.RemoveVoter: quorum.RemoveVoter,
	forming.RemoveLearner: quorum.RemoveVoter, forming.UpdateAddress: quorum.UpdateAddress,
}

// stepVoters makes the change of membership that is due, if this node leads.
func (n *Node) stepVoters() {
	term := n.meta.term.Load()
	if term == 0 || n.Image().ClusterID() == "" {
		return
	}
	if n.voting.policy == nil || n.voting.term != term {
		n.voting.policy, n.voting.term = new(forming.Voters), term
	}
	n.registerControllers()
	change, due := n.voting.policy.Step(n.clock.Now(), n.view())
	if !due {
		return
	}
	n.log.Info("metadata quorum: "+change.Kind.String(), "node", change.NodeID, "address", change.Address, "why", change.Why)
	n.change(quorum.Change{Kind: changeKinds[change.Kind], Member: quorum.MemberOf(change.Identity)}, func(err error) {
		if err != nil {
			n.log.Info("metadata quorum: not changed", "change", change.Kind.String(), "node", change.NodeID, "why", err)
		}
	})
}

// change makes one change; done comes on the node's tasks.
func (n *Node) change(c quorum.Change, done func(error)) {
	l := n.meta.log.Load()
	if l == nil {
		done(quorum.ErrNotLeader)
		return
	}
	n.voting.busy = true
	l.Node().Change(c, func(err error) {
		n.tasks.post(func() {
			n.voting.busy = false
			done(err)
		})
	})
}

// view is what the leader knows of the members and of those who could be some.
func (n *Node) view() forming.View {
	now := n.clock.Now()
	st := n.meta.log.Load().Node().Status()
	v := forming.View{Self: n.self(), Busy: n.voting.busy || n.voting.asked}
	listed, _ := n.listed()
	for _, l := range listed {
		v.Listed = append(v.Listed, l.Address)
	}
	for _, p := range progressOf(st, now) {
		s := forming.MemberState{Identity: identity(p.Member), Heard: p.LastContact, Lag: lag(p.Match, st.Last)}
		if p.Voter {
			v.Voters = append(v.Voters, s)
		} else {
			v.Learners = append(v.Learners, s)
		}
	}
	v.Nodes = n.candidates(now, st.Members)
	return v
}

// candidates are all nodes that the leader knows of, by id.
func (n *Node) candidates(now time.Time, members []quorum.Member) []forming.Node {
	img := n.Image()
	all := map[int32]forming.Node{}
	for name := range img.ConfigResources(metadata.ResourceBroker) { // of nodes that are gone, too: what was said of them counts
		if id, err := strconv.ParseInt(name, 10, 32); err == nil {
			all[int32(id)] = forming.Node{Identity: nodewire.Identity{NodeID: int32(id)}}
		}
	}
	for _, c := range img.Controllers() {
		all[c.NodeID] = forming.Node{Identity: nodewire.Identity{NodeID: c.NodeID, DirectoryID: c.DirectoryID}, Controller: c.MayVote}
	}
	for _, q := range members {
		all[q.NodeID] = forming.Node{Identity: identity(q), Controller: true}
	}
	for _, p := range n.present.all() {
		all[p.NodeID] = forming.Node{Identity: p.Identity, Controller: p.voter, Live: now.Sub(p.at) < presentFor}
	}
	all[n.id] = forming.Node{Identity: n.self(), Controller: true, Live: true}
	nodes := slices.SortedFunc(maps.Values(all), func(a, b forming.Node) int { return cmp.Compare(a.NodeID, b.NodeID) })
	for i := range nodes {
		nodes[i].Vote = VoteOf(img, nodes[i].NodeID)
	}
	return nodes
}

// progressOf is that of all members by node id; one that is alone has none to show.
func progressOf(st quorum.Status, now time.Time) []quorum.MemberProgress {
	all := slices.Clone(st.Progress)
	if len(all) == 0 && st.LeaderMember != nil {
		all = []quorum.MemberProgress{{Member: *st.LeaderMember, Voter: true, Active: true}}
	}
	for i := range all {
		if p := &all[i]; st.LeaderMember != nil && p.Member.ID() == st.Leader {
			p.Match, p.LastContact, p.LastCaughtUp = st.Last, now, now
		}
	}
	slices.SortFunc(all, func(a, b quorum.MemberProgress) int { return cmp.Compare(a.Member.NodeID, b.Member.NodeID) })
	return all
}

// registerControllers makes controllers that are no brokers known to the cluster: their
// ids are taken, and they can have settings.
func (n *Node) registerControllers() {
	img, now := n.Image(), n.clock.Now()
	register := func(id nodewire.Identity) {
		old := img.ControllerNode(id.NodeID)
		if img.Broker(id.NodeID) != nil || old != nil && old.DirectoryID == id.DirectoryID && (len(old.Listeners) > 0 || id.Address == "") {
			return
		}
		req := &metadata.RegisterController{ClusterID: img.ClusterID(), NodeID: id.NodeID, DirectoryID: id.DirectoryID, MayVote: true, Features: featureRanges()}
		if host, port, err := net.SplitHostPort(id.Address); err == nil {
			if p, err := strconv.ParseUint(port, 10, 16); err == nil {
				req.Listeners = []metadata.Listener{{Name: n.Config().List(config.ControllerListenerNames)[0], Host: host, Port: uint16(p)}}
			}
		}
		n.meta.here(req, func(body any, err error) {
			if why, bad := body.(error); err != nil || bad {
				n.complaints.Warn("controller registration", "controller not registered", "node", id.NodeID, "why", errors.Join(err, why))
			}
		})
	}
	if !n.Config().Broker() {
		register(n.self())
	}
	for _, p := range n.present.all() {
		if p.voter && now.Sub(p.at) < presentFor {
			register(p.Identity)
		}
	}
}

// lag is what a member lacks of a log that ends at last. One of which nothing is known lacks
// everything, the snapshot before the log too, however short the log is.
func lag(match, last uint64) uint64 {
	if match == 0 {
		return math.MaxUint64
	}
	return last - min(match, last)
}
