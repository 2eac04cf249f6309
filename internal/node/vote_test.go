package node

import (
	"testing"

	"github.com/leat-stream/leat/internal/forming"
	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/schema"
)

func TestVoteOf(t *testing.T) {
	b := metadata.NewBuilder(nil)
	for node, value := range map[string]string{"1": "always", "2": "never", "": "never"} {
		if err := b.Apply(1, &schema.Config{ResourceType: metadata.ResourceBroker, ResourceName: node, Key: "leat.quorum.voter", Value: &value}); err != nil {
			t.Fatal(err)
		}
	}
	img, _ := b.Image()
	for node, want := range map[int32]forming.Vote{1: forming.Always, 2: forming.Never, 3: forming.Auto} {
		if got := VoteOf(img, node); got != want {
			t.Errorf("node %d: %d, want %d", node, got, want)
		}
	}
}
