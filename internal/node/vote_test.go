package node

import (
	"math"
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

// TestLagOfTheUnheard: in a young cluster a learner that has nothing is not near the end.
func TestLagOfTheUnheard(t *testing.T) {
	for _, c := range []struct{ match, last, want uint64 }{{0, 69, math.MaxUint64}, {1, 69, 68}, {70, 69, 0}, {69, 69, 0}} {
		if got := lag(c.match, c.last); got != c.want {
			t.Errorf("match %d of %d: %d, want %d", c.match, c.last, got, c.want)
		}
	}
}
