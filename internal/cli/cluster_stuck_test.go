package cli

import (
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestClusterDrainThatStandsStill: what moves nowhere is named with those who are down, and given up after a while;
// it is left as it is.
func TestClusterDrainThatStandsStill(t *testing.T) {
	w, m := newMover(t)
	m.stuck, m.fenced = true, true
	r := w.run("", "cluster", "drain", "0", "--give-up", "1ms")
	if r.code != 1 || !strings.Contains(r.err, "nothing has moved for 1ms: waiting for ") {
		t.Errorf("%+v", r)
	}
	for _, want := range []string{"; node ", "is down (fenced)", "balance --cancel", "orders-"} {
		if !strings.Contains(r.err, want) {
			t.Errorf("no %q in %s", want, r.err)
		}
	}
	if m.cancels != 0 || len(m.moving) == 0 || slices.ContainsFunc(m.settings, func(s string) bool { return strings.HasPrefix(s, "delete") }) {
		t.Errorf("what has begun is not left as it is: %+v", m)
	}
	w.fails(2, "--give-up", "cluster", "drain", "0", "--give-up", "-1s")
}

// TestClusterDrainPastTheDead: the limit of a broker that died is not lifted, and that is
// no reason to fail; nor is that it does not lead.
func TestClusterDrainPastTheDead(t *testing.T) {
	w, m := newMover(t)
	w.spread()
	m.mute, m.preferred = 2, true
	w.hang(kmsg.IncrementalAlterConfigs, 2)
	r := w.run("", "cluster", "drain", "0", "--timeout", "1s")
	if r.code != 0 || !strings.Contains(r.err, "node 0 is empty") {
		t.Errorf("%+v", r)
	}
	for _, want := range []string{"node 2 does not answer (no answer): the limit of its rate stays as it is", "not led by their first replica"} {
		if !strings.Contains(r.err, want) {
			t.Errorf("no %q in %s", want, r.err)
		}
	}
}

// TestClusterInfoAndRemoveOfAClusterInPart: a node that hangs holds up neither.
func TestClusterInfoAndRemoveOfAClusterInPart(t *testing.T) {
	w, m := newMover(t)
	w.hang(kmsg.DescribeLogDirs, 3)
	m.leader = 2
	var info struct {
		Controller int
		Brokers    []struct{ ID, Bytes int }
	}
	w.json(&info, "cluster", "info", "--timeout", "1s")
	if len(info.Brokers) != 4 || info.Controller != 2 { // as the quorum says
		t.Fatalf("%+v", info)
	}
	for _, b := range info.Brokers {
		if (b.Bytes < 0) != (b.ID == 3) {
			t.Errorf("%+v", b)
		}
	}
	w.ok("", "topic", "delete", "orders")
	w.hang(kmsg.Metadata, 0)
	w.hang(kmsg.DescribeCluster, 0)
	m.dead = true
	w.fails(1, "does not answer, but the cluster has not missed it", "cluster", "remove", "0")
	w.ok("", "cluster", "remove", "0", "--force")
	if !slices.Equal(m.removed, []string{"voter", "broker"}) {
		t.Errorf("removed %v", m.removed)
	}
}

// TestClusterRemoveIsTakenElsewhere: a node that dies before it has answered may have done
// it; another one is asked.
func TestClusterRemoveIsTakenElsewhere(t *testing.T) {
	w, m := newMover(t)
	w.ok("", "topic", "delete", "orders")
	m.drops = 1
	w.ok("", "cluster", "remove", "0", "--force")
	if !slices.Equal(m.removed, []string{"voter", "broker", "voter", "broker"}) {
		t.Errorf("removed %v", m.removed)
	}
}
