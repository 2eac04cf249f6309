//go:build conformance

package cluster

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// seed is that of the faults and their moments: LEAT_SEED, or new.
func seed(t *testing.T) uint64 {
	t.Helper()
	s := os.Getenv("LEAT_SEED")
	if s == "" {
		return uint64(time.Now().UnixNano())
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatalf("LEAT_SEED: %v", err)
	}
	return n
}

// lasting is how long faults follow each other: LEAT_CLUSTER, a duration; else d.
func lasting(t *testing.T, d time.Duration) time.Duration {
	t.Helper()
	s := os.Getenv("LEAT_CLUSTER")
	if s == "" {
		return d
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatalf("LEAT_CLUSTER: %v", err)
	}
	return d
}

// TestKill: idempotent producers and a group, while nodes are killed and started again.
func TestKill(t *testing.T) {
	s := seed(t)
	t.Logf("LEAT_SEED=%d", s)
	rng := rand.New(rand.NewPCG(s, 1))
	c := start(t, newPlain(t), nil)
	c.createTopic(loadTopic, loadPartitions, map[string]string{"min.insync.replicas": "2"})
	c.awaitHealthy("after the topic was created")
	l := newLoad(t, c.seeds(), s)
	until := time.Now().Add(lasting(t, 20*time.Second))
	kills := 0
	for ; time.Now().Before(until); kills++ {
		pause(t, time.Duration(200+rng.IntN(1000))*time.Millisecond)
		n := c.nodes[rng.IntN(nodes)]
		if rng.IntN(3) == 0 {
			if ctl := c.controller(); ctl != nil {
				n = ctl
			}
		}
		before := l.acknowledged()
		began := time.Now()
		if err := n.Kill(); err != nil {
			t.Fatal(err)
		}
		if rng.IntN(2) == 0 {
			l.awaitProgress(t, fmt.Sprintf("while node %d is dead", n.id), before)
		}
		served := time.Since(began)
		c.restart(n)
		c.awaitHealthy(fmt.Sprintf("after kill %d, of node %d", kills+1, n.id))
		t.Logf("kill %d: node %d: on after %v, whole after %v", kills+1, n.id, served.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
		l.awaitProgress(t, "after the node is back", l.acknowledged())
	}
	t.Logf("%d kills", kills)
	l.finish(t, c.seeds())
}
