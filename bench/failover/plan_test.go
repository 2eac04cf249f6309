//go:build linux

package failover

import (
	"slices"
	"testing"

	"github.com/leat-stream/leat/conformance/harness"
)

// TestGoals: every failure of ours has a goal, so that one that takes too long is shown as
// missed; Kafka's have none.
func TestGoals(t *testing.T) {
	for _, kind := range slices.Concat(Kinds, ApartKinds) {
		if kind == "calm" { // it says its own
			continue
		}
		if got := (Plan{Kind: harness.Leat}).goal(kind); got <= 0 || got > 5000 {
			t.Errorf("%s: %v ms", kind, got)
		}
		if got := (Plan{Kind: harness.Kafka}).goal(kind); got != 0 {
			t.Errorf("%s of Kafka: %v ms", kind, got)
		}
	}
}
