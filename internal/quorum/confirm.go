package quorum

import (
	"encoding/binary"
	"maps"
	"slices"

	"go.etcd.io/raft/v3"

	"github.com/leat-stream/leat/internal/mutant"
)

// Confirm calls done(nil) once a majority has said, after this call, that it takes this member
// for the leader of the term: nobody had been elected and decided anything before the call
// (the read index of Raft, Ongaro 2014, 6.4). done gets ErrNotLeader when the member is
// replaced; it is called once, by the loop of the hooks, unless the node ends first.
func (n *Node) Confirm(term uint64, done func(error)) {
	asked := false
	err := n.do(func(c *core) { asked = true; c.confirm(term, done) })
	if !asked {
		done(err)
	}
}

func (c *core) confirm(term uint64, done func(error)) {
	st := c.rn.BasicStatus()
	switch {
	case c.leading != term || st.RaftState != raft.StateLeader || st.GetTerm() != term:
		c.out.applies = append(c.out.applies, apply{call: done, err: ErrNotLeader})
	case c.quorum(), mutant.On("quorum/leads-unconfirmed"):
		c.out.applies = append(c.out.applies, apply{call: done})
	default:
		c.asked++
		c.asking[c.asked] = done
		c.rn.ReadIndex(binary.BigEndian.AppendUint64(nil, c.asked))
	}
}

// confirmed takes the library's word; a later request vouches for the earlier ones.
func (c *core) confirmed(states []raft.ReadState) {
	for _, s := range states {
		if len(s.RequestCtx) != 8 {
			continue
		}
		to := binary.BigEndian.Uint64(s.RequestCtx)
		c.answerAsking(func(id uint64) bool { return id <= to }, nil)
	}
}

// answerAsking ends the waits of some, in their order.
func (c *core) answerAsking(of func(id uint64) bool, err error) {
	for _, id := range slices.Sorted(maps.Keys(c.asking)) {
		if of(id) {
			c.out.applies = append(c.out.applies, apply{call: c.asking[id], err: err})
			delete(c.asking, id)
		}
	}
}
