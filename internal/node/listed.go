package node

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/forming"
	"github.com/leat-stream/leat/internal/nodewire"
	"github.com/leat-stream/leat/internal/peer"
)

// Once the cluster is there, the list of controllers is where a node looks for it, and whom a
// leader brings in. Lists may differ then: they are changed one node after the other, and a
// list that lacks somebody harms nobody. An address that leads to no voter is told of.

// listQuiet is how long a list may name an address of no voter before that is told: a node that
// has just come is given its vote within seconds.
const listQuiet = 30 * time.Second

// listing is a list of controllers of which addresses are those of no voter, by their names.
type listing struct {
	key   string // these addresses and the voters
	since time.Time
	asked bool
	waits int // for so many answers
	// there are the answers by address, since a voter may be listed by another name; nil: nobody answers.
	there map[string]*nodewire.HelloResponse
}

// vetList tells, once, of a list of controllers that leads elsewhere than to the voters.
func (n *Node) vetList() {
	listed, setting := n.listed()
	if _, known := n.meta.leader(); !known || n.meta.started != nil || n.opt.Caller == nil {
		return
	}
	voters := slices.DeleteFunc(n.meta.members(), func(m member) bool { return !m.Voter })
	names := unmatched(listed, voters)
	if len(names) == 0 || len(voters) == 0 {
		n.listing = nil
		return
	}
	key, now := fmt.Sprint(names, voters), n.clock.Now()
	if n.listing == nil || n.listing.key != key {
		n.listing = &listing{key: key, since: now, there: map[string]*nodewire.HelloResponse{}}
	}
	l := n.listing
	if l.asked || now.Sub(l.since) < listQuiet {
		return
	}
	l.asked, l.waits = true, len(names)
	for _, address := range names {
		n.opt.Caller.Call(peer.Target{Node: -1, Address: address}, peer.Control, n.introduction(), helloPatience, func(resp kmsg.Response, err error) {
			n.tasks.post(func() {
				if hello, ok := resp.(*nodewire.HelloResponse); ok && err == nil {
					l.there[address] = hello
				}
				if l.waits--; l.waits > 0 || n.listing != l {
					return
				}
				if text := elsewhere(setting, n.dir.ClusterID(), n.Config().Controller(), names, voters, l.there); text != "" {
					n.log.Warn(text)
				}
			})
		})
	}
}

// unmatched are the addresses of a list that are those of no voter, as they are written.
func unmatched(listed []forming.Listed, voters []member) (names []string) {
	for _, l := range listed {
		if !slices.ContainsFunc(voters, func(v member) bool { return v.Address == l.Address }) {
			names = append(names, l.Address)
		}
	}
	return names
}

// elsewhere says which addresses of a list do not lead to a voter; "" when all of them do. A
// node with the role of a controller may come to lead the metadata, and brings in whom it lists.
func elsewhere(setting, cluster string, leads bool, names []string, voters []member, there map[string]*nodewire.HelloResponse) string {
	var strays, votes []string
	for _, address := range names {
		at := "nobody answers there"
		if r := there[address]; r != nil {
			switch {
			case slices.ContainsFunc(voters, func(v member) bool { return v.NodeID == r.From.NodeID && v.DirectoryID == r.From.DirectoryID }):
				continue
			case r.ClusterID != cluster:
				at = "a node that is not in this cluster"
			default:
				at = fmt.Sprintf("node %d, which has no vote", r.From.NodeID)
			}
		}
		strays = append(strays, fmt.Sprintf("%s (%s)", address, at))
	}
	if len(strays) == 0 {
		return ""
	}
	for _, v := range voters {
		votes = append(votes, fmt.Sprintf("node %d at %s", v.NodeID, v.Address))
	}
	but := ""
	if leads {
		but = "but when it leads the metadata it gives controllers of its list a vote: "
	}
	return fmt.Sprintf("%s names what is no voter: %s; voters are %s. The node finds its cluster by the other addresses, too; "+
		"%slet the list be the same on every node", setting, strings.Join(strays, ", "), strings.Join(votes, ", "), but)
}
