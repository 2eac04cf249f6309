package node

import (
	"slices"
	"strings"
	"testing"

	"github.com/leat-stream/leat/internal/forming"
	"github.com/leat-stream/leat/internal/nodewire"
	"github.com/leat-stream/leat/internal/quorum"
)

// TestListOfControllers: what is told of a list is what leads to no voter. A voter may be listed
// by another name than its own, and voters need not be listed.
func TestListOfControllers(t *testing.T) {
	dir := func(id int32) [16]byte { return [16]byte{byte(id)} }
	var voters []member
	for id, address := range map[int32]string{1: "a:1", 2: "b:1"} {
		voters = append(voters, member{quorum.Member{NodeID: id, DirectoryID: dir(id), Address: address}, true})
	}
	slices.SortFunc(voters, func(a, b member) int { return int(a.NodeID - b.NodeID) })
	answer := func(id int32, directory [16]byte, cluster string) *nodewire.HelloResponse {
		return &nodewire.HelloResponse{From: nodewire.Identity{NodeID: id, DirectoryID: directory}, ClusterID: cluster}
	}
	there := map[string]*nodewire.HelloResponse{
		"alias:1": answer(1, dir(1), "C"), "four:1": answer(4, dir(4), "C"), "wiped:1": answer(2, dir(9), "C"), "other:1": answer(1, dir(7), "D"), "new:1": answer(5, dir(5), ""),
	}
	for list, says := range map[string]string{
		"":                    "",
		"a:1":                 "",
		"b:1,a:1":             "",
		"a:1,alias:1":         "",
		"a:1,four:1":          "four:1 (node 4, which has no vote); voters are node 1 at a:1, node 2 at b:1.",
		"a:1,wiped:1":         "wiped:1 (node 2, which has no vote);",
		"other:1,a:1,b:1":     "other:1 (a node that is not in this cluster);",
		"new:1":               "new:1 (a node that is not in this cluster);",
		"gone:1,a:1,four:1":   "gone:1 (nobody answers there), four:1 (node 4, which has no vote);",
		"alias:1,gone:1,b:1":  "names what is no voter: gone:1 (nobody answers there);",
		"controllers:1,b:1":   "controllers:1 (nobody answers there);",
		"alias:1,b:1,alias:1": "",
	} {
		var listed []forming.Listed
		for _, address := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' }) {
			listed = append(listed, forming.Listed{Address: address, NodeID: -1})
		}
		got := elsewhere("the.list", "C", true, unmatched(listed, voters), voters, there)
		if (got == "") != (says == "") || !strings.Contains(got, says) {
			t.Errorf("%s: %q, want %q", list, got, says)
		}
		// A broker alone leads no metadata, and gives nobody a vote.
		broker := elsewhere("the.list", "C", false, unmatched(listed, voters), voters, there)
		if got != strings.Replace(broker, "let the", "but when it leads the metadata it gives controllers of its list a vote: let the", 1) || strings.Contains(broker, "gives") {
			t.Errorf("%s, a broker alone: %q", list, broker)
		}
	}
}
