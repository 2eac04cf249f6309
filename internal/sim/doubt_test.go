package sim

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/cryptotest"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/leat-stream/leat/internal/node"
	"github.com/leat-stream/leat/internal/nodewire"
	"github.com/leat-stream/leat/internal/peer"
	"github.com/leat-stream/leat/internal/quorum"
)

// voters starts three nodes, and gives them with what they log.
func voters(t *testing.T, seed uint64) (*Cluster, *bytes.Buffer) {
	t.Helper()
	cryptotest.SetGlobalRandom(t, seed)
	var out bytes.Buffer
	w := NewWorld(seed, nil)
	s := drawSettings(w.Stream("settings"))
	s.Nodes = 3
	c := newCluster(w, s, slog.New(slog.NewTextHandler(&out, nil)), bootNode)
	for _, h := range c.Nodes {
		h.Start()
	}
	if !c.RunUntil(forming, func() bool { return c.serving() == 3 }) {
		t.Fatalf("seed %d: no cluster", seed)
	}
	c.RunUntil(10*time.Second, func() bool { return false }) // all of them vote by then
	return c, &out
}

const inDoubt = "a heartbeat tells of more than the metadata log holds"

// TestOldCopyOfAVoter: the leader tells it, and confirms it when it is asked.
func TestOldCopyOfAVoter(t *testing.T) {
	for seed := uint64(1); seed <= 3; seed++ {
		c, out := voters(t, seed)
		victim := c.Nodes[2]
		for _, h := range c.Nodes {
			if _, st, ok := h.Process.(*node.Node).Voter(); ok && st.Role != "StateLeader" {
				victim = h
			}
		}
		old := victim.Disk.KillClone()
		for i := range 3 {
			made := false
			c.admin.create(TopicSettings{Name: fmt.Sprint("t", i, "-more"), Partitions: 1, RF: 3, MinISR: 2, SegmentBytes: 1 << 20}, func() { made = true })
			if !c.RunUntil(forming, func() bool { return made }) {
				t.Fatalf("seed %d: no topic", seed)
			}
		}
		c.RunUntil(time.Second, func() bool { return false })
		id, _, _ := victim.Process.(*node.Node).Voter()
		victim.Kill()
		victim.Disk = old
		delete(c.inv.promises, id) // the simulation would notice before the leader does
		victim.Start()
		c.RunUntil(20*time.Second, func() bool { return c.Err() != nil })
		if !strings.Contains(out.String(), inDoubt) || c.Err() == nil || !strings.Contains(c.Err().Error(), "lost synced entries") {
			t.Errorf("seed %d: %v", seed, c.Err())
		}
	}
}

// forgeHeartbeat sends a heartbeat that one node has not sent to another, with more committed
// than there is.
func forgeHeartbeat(t *testing.T, c *Cluster, from, to, by *Host, term uint64) {
	t.Helper()
	img := c.Nodes[0].Process.(*node.Node).Image()
	identity := func(h *Host) nodewire.Identity {
		return nodewire.Identity{NodeID: h.Node, DirectoryID: img.Broker(h.Node).Directories[0], Address: h.Address(ControllerDoor)}
	}
	member := func(h *Host) uint64 { return quorum.MemberOf(identity(h)).ID() }
	kind := raftpb.MsgHeartbeat
	b, err := proto.Marshal(&raftpb.Message{Type: &kind, From: proto.Uint64(member(from)), To: proto.Uint64(member(to)), Term: &term, Commit: proto.Uint64(1 << 40)})
	if err != nil {
		t.Fatal(err)
	}
	by.Caller().Send(peer.Target{Node: -1, Address: to.Address(ControllerDoor)}, peer.Raft,
		&nodewire.RaftRequest{ClusterID: img.ClusterID(), From: identity(from), To: member(to), Messages: [][]byte{b}})
}

// TestForgedHeartbeats: many of them do not fill the log, nor keep a node from its work.
func TestForgedHeartbeats(t *testing.T) {
	c, out := voters(t, 1)
	for i := range 20 {
		for k, to := range c.Nodes {
			forgeHeartbeat(t, c, c.Nodes[(k+1)%3], to, c.Nodes[(k+2)%3], 1<<20+uint64(3*i+k))
		}
		c.RunUntil(time.Second, func() bool { return false })
	}
	if n := strings.Count(out.String(), inDoubt); n < 2 || n > 6 || c.serving() != 3 || c.Err() != nil {
		t.Errorf("%d lines, %d serve, %v", n, c.serving(), c.Err())
	}
}

// TestForgedHeartbeat: a stranger on the controllers' listener says that it is a voter, and
// tells another of entries that nobody has. The leader knows better.
func TestForgedHeartbeat(t *testing.T) {
	for seed := uint64(1); seed <= 3; seed++ {
		c, out := voters(t, seed)
		for i, to := range c.Nodes {
			from := c.Nodes[(i+1)%3]
			forgeHeartbeat(t, c, from, to, c.Nodes[(i+2)%3], 1<<20+uint64(i))
			c.RunUntil(3*time.Second, func() bool { return false })
		}
		if n := strings.Count(out.String(), inDoubt); n != 2 { // the leader is in none
			t.Errorf("seed %d: %d in doubt", seed, n)
		}
		made := false
		c.admin.create(TopicSettings{Name: "after", Partitions: 1, RF: 3, MinISR: 2, SegmentBytes: 1 << 20}, func() { made = true })
		if !c.RunUntil(forming, func() bool {
			for _, h := range c.Nodes {
				n, ok := h.Process.(*node.Node)
				if !ok || n.Image().Topic("after") == nil {
					return false
				}
			}
			return made && c.serving() == 3
		}) || c.Err() != nil || c.Count["start failed"]+c.Count["start refused"]+c.Count["node failed"] > 0 {
			t.Errorf("seed %d: %v, %v", seed, c.Err(), c.Count)
		}
	}
}
