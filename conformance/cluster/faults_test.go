//go:build conformance

package cluster

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/leat-stream/leat/conformance/faults"
)

// storm does faults to a cluster, one after the other.
type storm struct {
	t   *testing.T
	c   *cluster
	l   *load
	rng *rand.Rand
	did map[string]int
}

// fault is something that happens to a cluster and passes.
type fault struct {
	name string
	// do brings it about, lets it last and ends it; it tells what it did to whom.
	do func(s *storm) string
	// needs namespaces, or a small disk.
	namespaces, disk bool
}

var menu = []fault{
	{name: "kill", do: (*storm).kill},
	{name: "kill the controller", do: (*storm).killController},
	{name: "kill a leader", do: (*storm).killLeader},
	{name: "kill two at once", do: (*storm).killTwo},
	{name: "kill all at once", do: (*storm).killAll},
	{name: "kill while another is cut off", do: (*storm).killWhileCut},
	{name: "kill while another is paused", do: (*storm).killWhilePaused},
	{name: "pause", do: (*storm).pauseNode},
	{name: "cut", do: (*storm).cut},
	{name: "half-open", do: (*storm).halfOpen},
	{name: "one way", do: (*storm).oneWay},
	{name: "freeze", do: (*storm).freeze},
	{name: "slow", do: (*storm).slow},
	{name: "rolling restart", do: (*storm).rolling},
	{name: "drop all packets", do: (*storm).dropAll, namespaces: true},
	{name: "drop packets one way", do: (*storm).dropOneWay, namespaces: true},
	{name: "drop packets between two", do: (*storm).dropBetween, namespaces: true},
	{name: "narrow", do: (*storm).narrow, namespaces: true},
	{name: "full disk", do: (*storm).fillDisk, disk: true},
}

// rage does faults in random order for a while, each at least once when there is time.
func (s *storm) rage(d time.Duration) {
	until := time.Now().Add(d)
	var left []fault
	for n := 1; time.Now().Before(until); n++ {
		if len(left) == 0 {
			left = s.shuffled()
		}
		f := left[0]
		left = left[1:]
		pause(s.t, s.between(0, 500*time.Millisecond))
		began := time.Now()
		what := f.do(s)
		s.c.fabric.heal()
		healed := time.Now()
		s.c.awaitHealthy(fmt.Sprintf("after fault %d, %s: %s", n, f.name, what))
		whole := time.Since(healed)
		s.l.awaitProgress(s.t, "after "+f.name, s.l.acknowledged())
		s.did[f.name]++
		s.t.Logf("%s fault %d, %s: %s for %v; whole after %v, all on after %v", began.Format("15:04:05.000"), n, f.name, what, healed.Sub(began).Round(time.Millisecond),
			whole.Round(time.Millisecond), time.Since(healed).Round(time.Millisecond))
	}
}

// shuffled is what can be done here, in random order; LEAT_FAULTS, a regular
// expression of names, says what alone.
func (s *storm) shuffled() []fault {
	only, err := regexp.Compile(os.Getenv("LEAT_FAULTS"))
	if err != nil {
		s.t.Fatalf("LEAT_FAULTS: %v", err)
	}
	_, spaces := s.c.fabric.(*namespaced)
	var can []fault
	for _, f := range menu {
		if (!f.namespaces || spaces) && (!f.disk || s.c.nodes[0].small != "") && only.MatchString(f.name) {
			can = append(can, f)
		}
	}
	s.rng.Shuffle(len(can), func(i, j int) { can[i], can[j] = can[j], can[i] })
	return can
}

func (s *storm) between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(s.rng.Int64N(int64(hi-lo)))
}
func (s *storm) any() *node                { return s.c.nodes[s.rng.IntN(nodes)] }
func (s *storm) last(lo, hi time.Duration) { pause(s.t, s.between(lo, hi)) }

func (s *storm) end(n *node) string {
	if err := n.Kill(); err != nil {
		s.t.Fatal(err)
	}
	// Sometimes it is back before anybody has missed it.
	if s.rng.IntN(3) > 0 {
		before := s.l.acknowledged()
		s.l.awaitProgress(s.t, fmt.Sprintf("while node %d is dead", n.id), before)
	}
	s.c.restart(n)
	return fmt.Sprintf("node %d", n.id)
}

func (s *storm) kill() string { return s.end(s.any()) }

func (s *storm) killController() string {
	if n := s.c.controller(); n != nil {
		return s.end(n)
	}
	return s.end(s.any())
}

func (s *storm) killLeader() string {
	if n := s.c.leader(loadTopic, s.rng.Int32N(loadPartitions)); n != nil {
		return s.end(n)
	}
	return s.end(s.any())
}

// strike kills nodes at the same moment, and brings them back after a while.
func (s *storm) strike(all ...*node) string {
	var wg sync.WaitGroup
	for _, n := range all {
		wg.Go(func() {
			if err := n.Kill(); err != nil {
				s.t.Error(err)
			}
		})
	}
	wg.Wait()
	s.last(0, 3*time.Second)
	what := "nodes"
	for _, n := range all {
		s.c.restart(n)
		what += fmt.Sprint(" ", n.id)
		s.last(0, time.Second)
	}
	return what
}

func (s *storm) killTwo() string {
	i := s.rng.Perm(nodes)
	return s.strike(s.c.nodes[i[0]], s.c.nodes[i[1]])
}

func (s *storm) killAll() string { return s.strike(s.c.nodes...) }

// killWhileCut: one is cut off, by its proxies, when another is killed, so that nobody
// has a majority.
func (s *storm) killWhileCut() string {
	i := s.rng.Perm(nodes)
	away, dead := s.c.nodes[i[0]], s.c.nodes[i[1]]
	s.each(away, func(p *faults.Proxy, _ bool) { p.Hold(faults.Both) })
	s.last(0, 3*time.Second)
	s.strike(dead)
	s.last(0, 2*time.Second)
	return fmt.Sprintf("node %d is away, node %d dead", away.id, dead.id)
}

func (s *storm) killWhilePaused() string {
	i := s.rng.Perm(nodes)
	asleep, dead := s.c.nodes[i[0]], s.c.nodes[i[1]]
	if err := asleep.Signal(syscall.SIGSTOP); err != nil {
		s.t.Fatal(err)
	}
	s.last(0, 5*time.Second)
	s.strike(dead)
	if err := asleep.Signal(syscall.SIGCONT); err != nil {
		s.t.Fatal(err)
	}
	return fmt.Sprintf("node %d is paused, node %d dead", asleep.id, dead.id)
}

func (s *storm) pauseNode() string {
	n := s.any()
	if err := n.Signal(syscall.SIGSTOP); err != nil {
		s.t.Fatal(err)
	}
	s.last(200*time.Millisecond, 8*time.Second)
	if err := n.Signal(syscall.SIGCONT); err != nil {
		s.t.Fatal(err)
	}
	return fmt.Sprintf("node %d", n.id)
}

// each does something to all proxies between a node and the others, in and out.
func (s *storm) each(n *node, do func(p *faults.Proxy, in bool)) {
	for _, o := range others(n.id) {
		for _, p := range s.c.fabric.links(n.id, o) {
			do(p, false)
		}
		for _, p := range s.c.fabric.links(o, n.id) {
			do(p, true)
		}
	}
}

func (s *storm) cut() string {
	n := s.any()
	s.each(n, func(p *faults.Proxy, _ bool) { p.Refuse(true) })
	s.last(500*time.Millisecond, 6*time.Second)
	return fmt.Sprintf("node %d from the others", n.id)
}

func (s *storm) halfOpen() string {
	n := s.any()
	s.each(n, func(p *faults.Proxy, _ bool) { p.Hold(faults.Both) })
	s.last(500*time.Millisecond, 8*time.Second)
	return fmt.Sprintf("node %d", n.id)
}

// oneWay loses what a node says, or what it is told.
func (s *storm) oneWay() string {
	n, mute := s.any(), s.rng.IntN(2) == 0
	s.each(n, func(p *faults.Proxy, in bool) {
		if in == mute {
			p.Hold(faults.Down)
		} else {
			p.Hold(faults.Up)
		}
	})
	s.last(500*time.Millisecond, 8*time.Second)
	if mute {
		return fmt.Sprintf("node %d is not heard", n.id)
	}
	return fmt.Sprintf("node %d hears nothing", n.id)
}

func (s *storm) freeze() string {
	n := s.any()
	s.each(n, func(p *faults.Proxy, _ bool) { p.Freeze() })
	s.last(500*time.Millisecond, 6*time.Second)
	return fmt.Sprintf("the connections of node %d", n.id)
}

func (s *storm) slow() string {
	n := s.any()
	d := s.between(20*time.Millisecond, 400*time.Millisecond)
	s.each(n, func(p *faults.Proxy, _ bool) {
		p.Delay(faults.Both, d, d/2)
		p.Limit(faults.Both, 200_000)
	})
	s.last(time.Second, 6*time.Second)
	return fmt.Sprintf("node %d, by %v", n.id, d.Round(time.Millisecond))
}

// rolling restarts one node after the other.
func (s *storm) rolling() string {
	for _, i := range s.rng.Perm(nodes) {
		s.c.rollOne(s.c.nodes[i])
	}
	return "all nodes"
}

func (c *cluster) rollOne(n *node) {
	c.t.Helper()
	c.term(n)
	c.restart(n)
	c.awaitHealthy(fmt.Sprintf("after node %d was restarted", n.id))
}

func (s *storm) dropAll() string {
	f, n := s.c.fabric.(*namespaced), s.any()
	f.drop(n.id, "INPUT", "-i", "eth0")
	f.drop(n.id, "OUTPUT", "-o", "eth0")
	s.last(500*time.Millisecond, 8*time.Second)
	return fmt.Sprintf("of node %d", n.id)
}

func (s *storm) dropOneWay() string {
	f, n := s.c.fabric.(*namespaced), s.any()
	chain, dev := "INPUT", "-i"
	if s.rng.IntN(2) == 0 {
		chain, dev = "OUTPUT", "-o"
	}
	f.drop(n.id, chain, dev, "eth0")
	s.last(500*time.Millisecond, 8*time.Second)
	return fmt.Sprintf("%s of node %d", chain, n.id)
}

// dropBetween: two nodes do not reach each other, and the third reaches both.
func (s *storm) dropBetween() string {
	f, i := s.c.fabric.(*namespaced), s.rng.Perm(nodes)
	a, b := i[0]+1, i[1]+1
	f.drop(a, "OUTPUT", "-d", f.pair(a, b))
	what := "from %d to %d"
	if s.rng.IntN(2) == 0 {
		f.drop(b, "OUTPUT", "-d", f.pair(b, a))
		what = "between %d and %d"
	}
	s.last(500*time.Millisecond, 8*time.Second)
	return fmt.Sprintf(what, a, b)
}

func (s *storm) narrow() string {
	f, n := s.c.fabric.(*namespaced), s.any()
	f.limit(n.id, "2mbit")
	s.last(time.Second, 6*time.Second)
	return fmt.Sprintf("node %d sends 2 Mbit/s", n.id)
}

// fillDisk leaves a node's disk no room, and makes room again. A node that ended for
// that is started again.
func (s *storm) fillDisk() string {
	n := s.c.nodes[0]
	name := filepath.Join(n.small, "ballast")
	if err := fill(name); err != nil {
		s.t.Fatal(err)
	}
	s.last(time.Second, 6*time.Second)
	if err := os.Remove(name); err != nil {
		s.t.Fatal(err)
	}
	if !n.Alive() {
		s.c.restart(n)
		return fmt.Sprintf("of node %d, which ended", n.id)
	}
	return fmt.Sprintf("of node %d", n.id)
}

// fill writes a file until there is no room.
func fill(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 4
		}
	}
	return nil
}
