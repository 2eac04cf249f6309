package forming

import (
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/leat-stream/leat/internal/nodewire"
)

// Kind is why a node cannot become a part of a cluster.
type Kind int8

const (
	// OtherCluster: the cluster is not the one of this node's directory.
	OtherCluster Kind = iota + 1
	// IDTaken: another node that is alive has this node's id.
	IDTaken
	// ListsDisagree: nodes that would found a cluster list different ones.
	ListsDisagree
	// ListedTwice: two listed addresses lead to one node.
	ListedTwice
	// SameID: a listed node has this one's id, in another directory.
	SameID
	// NotListed: this node is to vote in a new cluster, and no listed address leads to it.
	NotListed
	// WrongID: a listed address is that of another node than controller.quorum.voters says.
	WrongID
	// Promised: a listed node takes part in the founding of other nodes.
	Promised
	// LostLog: this directory is a voter's, and its metadata log is gone.
	LostLog
	// StillVotes: this node has a vote in the metadata quorum, and is to be no controller.
	StillVotes
	// NoLeader: nobody can tell now who has this node's id, and whether that one is alive:
	// the cluster's metadata has no leader. It is waited for.
	NoLeader
)

// Refusal stops the start. Its text is one line.
type Refusal struct {
	Kind Kind
	Text string
}

func (r *Refusal) Error() string { return r.Text }

// Is compares kinds, so that errors.Is(err, &Refusal{Kind: IDTaken}) works.
func (r *Refusal) Is(target error) bool {
	t, ok := target.(*Refusal)
	return ok && t.Kind == r.Kind && (t.Text == "" || t.Text == r.Text)
}

func refusal(k Kind, format string, args ...any) *Refusal {
	return &Refusal{Kind: k, Text: fmt.Sprintf(format, args...)}
}

// codes are the error codes of a HelloResponse that the asker has to be refused by.
var codes = map[Kind]int16{
	OtherCluster:  kerr.InconsistentClusterID.Code,
	IDTaken:       kerr.DuplicateBrokerRegistration.Code,
	ListsDisagree: kerr.InconsistentVoterSet.Code,
	NoLeader:      kerr.LeaderNotAvailable.Code,
}

// deny is an answer that says in the asker's words why it is refused.
func deny(resp *nodewire.HelloResponse, r *Refusal) {
	resp.ErrorCode, resp.ErrorMessage = codes[r.Kind], &r.Text
}

// Denied is the refusal that an answer carries; nil when it carries none.
func Denied(resp *nodewire.HelloResponse) *Refusal {
	text := "it does not say why"
	if resp.ErrorMessage != nil {
		text = *resp.ErrorMessage
	}
	switch resp.ErrorCode {
	case codes[OtherCluster]:
		return &Refusal{OtherCluster, text}
	case codes[IDTaken]:
		return &Refusal{IDTaken, text}
	case codes[ListsDisagree]:
		return &Refusal{ListsDisagree, text}
	case codes[NoLeader]:
		return &Refusal{NoLeader, text}
	}
	return nil
}

func otherCluster(node nodewire.Identity, theirs, ours string) *Refusal {
	return refusal(OtherCluster, "%s belongs to cluster %s, and this node's data directory to cluster %s: "+
		"give the address of a node of that cluster, or another data directory", name(node), theirs, ours)
}

// idTaken is what the newcomer is told about the node that has its id.
func idTaken(holder nodewire.Identity) *Refusal {
	return refusal(IDTaken, "node.id %d is in use by another node that is alive, %s: give this node another node.id; "+
		"if it is to take that one's place, stop that one first", holder.NodeID, name(holder))
}

// sameID is what each of two nodes is told that would found a cluster with one id.
func sameID(self nodewire.Identity, other string) *Refusal {
	both := "this node and the one at " + other
	if self.Address != "" {
		both = "the nodes at " + self.Address + " (this one) and " + other
	}
	return refusal(SameID, "%s both have node.id %d: every node needs its own", both, self.NodeID)
}

// noLeader is what a newcomer is told by a node that knew another with its id, and cannot
// know whether that is still so.
func noLeader(id int32, self nodewire.Identity, voters []nodewire.Identity) *Refusal {
	var all []string
	for _, v := range voters {
		all = append(all, name(v))
	}
	return refusal(NoLeader, "another data directory has had node.id %d, and whether its node is alive is not known: the cluster's metadata has no leader, "+
		"as far as %s knows, which takes a majority of the voters (%s): start those with the data directories that they had; "+
		"where those of a majority are gone for good, see 'The quorum is lost' in docs/disasters.md", id, name(self), strings.Join(all, ", "))
}

func listsDisagree(setting string, asker, answerer nodewire.Identity, askers, answerers []string) *Refusal {
	return refusal(ListsDisagree, "%s differs: %s has %s, and %s has %s; a new cluster needs the same list on every node",
		setting, name(asker), list(askers), name(answerer), list(answerers))
}

func stillVotes(self nodewire.Identity) *Refusal {
	return refusal(StillVotes, "node %d votes in the metadata quorum, and without the controller's role its vote would count as one that is down: "+
		"start it with process.roles=broker,controller, or take its vote first (leat config set broker %d leat.quorum.voter=never, while it runs as a controller)",
		self.NodeID, self.NodeID)
}

// OnlyVoter is what the only voter is told that is to be no controller.
func OnlyVoter(self nodewire.Identity) *Refusal {
	return refusal(StillVotes, "node %d is the only voter of the metadata quorum, which nobody would lead without it: "+
		"start it with process.roles=broker,controller, and give other controllers votes before its own is taken", self.NodeID)
}

// name is a node in messages.
func name(id nodewire.Identity) string {
	if id.Address == "" {
		return fmt.Sprintf("node %d", id.NodeID)
	}
	return fmt.Sprintf("node %d at %s", id.NodeID, id.Address)
}

func list(addresses []string) string {
	if len(addresses) == 0 {
		return "no list"
	}
	return strings.Join(addresses, ",")
}
