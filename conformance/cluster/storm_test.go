//go:build conformance

package cluster

import (
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

// TestFaults: idempotent producers, groups and readers, while everything happens to
// nodes in network namespaces of their own.
func TestFaults(t *testing.T) { rage(t, newNamespaced(t), lasting(t, time.Minute)) }

// TestFaultsPlain is what can be done on one network, which needs no rights.
func TestFaultsPlain(t *testing.T) { rage(t, newPlain(t), lasting(t, 20*time.Second)) }

func rage(t *testing.T, f fabric, d time.Duration) {
	t.Helper()
	first := seed(t)
	t.Logf("LEAT_SEED=%d", first)
	disk := 0
	if _, root := f.(*namespaced); root {
		// However short the storm is: about 100 MiB are written before it and behind it.
		disk = 256 + int(64*d.Minutes())
	}
	c := start(t, f, disk)
	l := begin(t, c, first)
	s := &storm{t: t, c: c, l: l, rng: rand.New(rand.NewPCG(first, 1)), did: map[string]int{}}
	s.rage(d)
	t.Logf("faults: %v", s.did)
	l.finish(t, c.seeds())
}

// begin creates the topic and starts the load.
func begin(t *testing.T, c *cluster, seed uint64) *load {
	t.Helper()
	c.createTopic(loadTopic, loadPartitions, map[string]string{"min.insync.replicas": "2"})
	c.awaitHealthy("after the topic was created")
	return newLoad(t, c.seeds(), seed)
}

// TestRollingRestart: every node is restarted under load, one after the other; no
// client sees an error (errors_test.go), and nothing is lost.
func TestRollingRestart(t *testing.T) {
	c := start(t, newPlain(t), 0)
	l := begin(t, c, seed(t))
	for _, n := range c.nodes {
		began := time.Now()
		c.rollOne(n)
		t.Logf("node %d: whole after %v", n.id, time.Since(began).Round(time.Millisecond))
		l.awaitProgress(t, "after a restart", l.acknowledged())
	}
	l.finish(t, c.seeds())
	l.noErrors(t)
}

// TestQuietRestart: nodes come back into a cluster in which nothing happens, and in
// which nothing is committed that would tell them that there is a leader.
func TestQuietRestart(t *testing.T) {
	c := start(t, newPlain(t), 0)
	for _, n := range append(c.nodes, c.nodes...) {
		c.rollOne(n)
	}
}
