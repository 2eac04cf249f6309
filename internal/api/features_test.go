package api

import (
	"slices"
	"testing"
)

// A new cluster finalises what is listed: without eligible leader replicas (KIP-966), two
// nodes that come back after all were down wait for the third, though they have everything.
func TestEligibleLeaderReplicasAreOn(t *testing.T) {
	if !slices.Contains(Features, Feature{"eligible.leader.replicas.version", 0, 1}) {
		t.Error(Features)
	}
}
