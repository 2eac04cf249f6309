package node

import (
	"slices"
	"testing"

	"github.com/leat-stream/leat/internal/quorum"
)

// TestWhoIsAskedInDoubt: the other voters, and by a log in which there is nobody yet, whom
// the node joined. It would ask nobody for ever.
func TestWhoIsAskedInDoubt(t *testing.T) {
	var all []quorum.Member
	for i, address := range []string{"a:1", "b:1", "c:1", ""} {
		all = append(all, quorum.Member{NodeID: int32(i), DirectoryID: [16]byte{7}, Address: address})
	}
	self := all[0].ID()
	for name, c := range map[string]struct {
		st   quorum.Status
		want []string
	}{
		"voters":         {quorum.Status{Members: all, Voters: []uint64{self, all[1].ID(), all[3].ID()}}, []string{"b:1"}},
		"joins":          {quorum.Status{}, []string{"told:1"}},
		"alone":          {quorum.Status{Members: all, Voters: []uint64{self}}, []string{"told:1"}},
		"not yet itself": {quorum.Status{Members: all, Voters: []uint64{all[1].ID(), all[2].ID()}}, []string{"b:1", "c:1"}},
	} {
		if got := whoKnows(c.st, self, []string{"told:1"}); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
