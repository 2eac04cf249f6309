package replica

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// named counts what a request names.
func named(req *kmsg.FetchRequest) (asked, forgotten int) {
	for _, t := range req.Topics {
		asked += len(t.Partitions)
	}
	for _, t := range req.ForgottenTopics {
		forgotten += len(t.Partitions)
	}
	return asked, forgotten
}

func TestRequestsNameWhatChanged(t *testing.T) {
	c := newCluster(t, 1, 2)
	c.start()
	c.create("t", 40, "2")
	c.until("all are in sync", c.inSync)
	c.run(3 * time.Second) // what is told once more after the start is told
	var most, requests int
	c.asked = func(_, _ int32, req *kmsg.FetchRequest) {
		n, _ := named(req)
		most, requests = max(most, n), requests+1
		if req.SessionID == 0 || req.SessionEpoch == 0 {
			t.Error("a new session")
		}
	}
	c.run(10 * time.Second)
	if most != 0 || requests > 2*7 || requests < 2*4 { // the last of them wait for 2 s
		t.Fatalf("idle: %d requests in 10 s, which name up to %d partitions", requests, most)
	}
	c.acked("t", 7, "a")
	c.run(time.Second)
	if most != 1 {
		t.Fatalf("after one write a request names %d partitions", most)
	}
}

// TestFailoverDoesNotWaitForALongPoll: what a follower turns to is asked for at once,
// though its fetch from the same leader waits for records elsewhere.
func TestFailoverDoesNotWaitForALongPoll(t *testing.T) {
	c := newCluster(t, 1, 3)
	c.start()
	c.create("t", 12, "2")
	c.until("all are in sync", c.inSync)
	c.run(3 * time.Second)
	dead := c.leader("t", 0)
	dead.crash(false)
	c.until("another leads", func() bool { l := c.leader("t", 0); return l != nil && l != dead && l.part("t", 0).Leading() })
	began := c.clock.Now()
	c.acked("t", 0, "a")
	if took := c.clock.Now().Sub(began); took > 100*time.Millisecond {
		t.Fatalf("the first write took %v of virtual time", took)
	}
}

func TestLostSessionIsOpenedAnew(t *testing.T) {
	c := newCluster(t, 1, 2)
	c.start()
	c.create("t", 5, "2")
	c.run(3 * time.Second)
	for _, b := range c.nodes {
		clear(b.sessions)
	}
	var full int
	c.asked = func(_, _ int32, req *kmsg.FetchRequest) {
		if n, _ := named(req); req.SessionEpoch == 0 && n > 0 {
			full++
		}
	}
	c.run(3 * time.Second)
	if full != 2 || c.nodes[0].m.Stats().SessionsLost != 1 {
		t.Fatalf("%d new sessions, %+v", full, c.nodes[0].m.Stats())
	}
	c.acked("t", 0, "a")
}

// TestUnreachableLeaderIsTriedAtOnceOnceAndThenWithPauses counts requests to a leader
// that does not answer, each of which takes a second to fail here.
func TestUnreachableLeaderIsTriedAtOnceOnceAndThenWithPauses(t *testing.T) {
	w := newLead(t, 1, 1, 2)
	var at []time.Duration
	began := w.clock.Now()
	var done []func(*kmsg.FetchResponse, error)
	w.m.opt.Fetch = func(leader int32, _ *kmsg.FetchRequest, d func(*kmsg.FetchResponse, error)) {
		if leader != 2 {
			t.Errorf("broker %d was asked", leader)
		}
		at = append(at, w.clock.Now().Sub(began))
		done = append(done, d)
	}
	w.change(2, 1, 2)
	w.clock.Advance(0)
	for range 4 {
		d := done[len(done)-1]
		done = done[:0]
		d(nil, errLost)
		if len(done) == 0 {
			w.clock.Step()
		}
	}
	if fmt.Sprint(at) != "[0s 0s 50ms 150ms 350ms]" {
		t.Fatal(at)
	}
	w.broker(2, 20) // it has registered anew
	done[0](nil, errLost)
	n := len(at)
	w.must(w.apply())
	w.clock.Advance(0)
	if len(at) != n+1 {
		t.Fatal("it was not tried at once")
	}
}

func TestPartitionWithTroubleRestsAndTheOthersGoOn(t *testing.T) {
	c := newCluster(t, 1, 2)
	c.start()
	c.create("t", 2, "1")
	c.run(3 * time.Second)
	sick := c.leader("t", 0)
	follower := c.nodes[2-sick.id]
	c.mangle = func(to int32, resp *kmsg.FetchResponse) {
		for i := range resp.Topics {
			if p := &resp.Topics[i].Partitions[0]; to == follower.id && p.Partition == 0 && len(p.RecordBatches) > 0 {
				p.RecordBatches[len(p.RecordBatches)-1] ^= 1
			}
		}
	}
	forgot := 0
	c.asked = func(from, _ int32, req *kmsg.FetchRequest) {
		if _, n := named(req); from == follower.id {
			forgot += n
		}
	}
	sick.send("t", 0, 1, "a")
	c.run(5 * time.Second)
	if forgot < 3 || forgot > 12 {
		t.Fatalf("it rested %d times", forgot)
	}
	if n := c.told("CorruptFetched"); n < 3 || n >= forgot {
		t.Fatalf("it was told %d times", n)
	}
	c.acked("t", 1, "b")
	c.mangle = nil
	c.until("all are in sync", c.inSync)
}

func TestFollowerIsHeldToItsRate(t *testing.T) {
	for _, most := range []int32{500, 4000} { // bytes of a fetch: half a second's, and four
		followerIsHeld(t, most)
	}
}

func followerIsHeld(t *testing.T, most int32) {
	c := newCluster(t, 1, 2)
	c.tuning.FollowerRate, c.tuning.PartitionMaxBytes, c.tuning.LagMax = 1000, most, time.Second
	c.topics["t"] = func(s *Settings) { s.FollowerThrottled = ParseThrottled("*") }
	c.start()
	c.create("t", 1, "1")
	l := c.leader("t", 0)
	f := c.nodes[2-l.id]
	c.isolate(l.id, false)
	for range 100 {
		l.send("t", 0, 1, "0123456789012345678901234567890") // 100 bytes
	}
	c.until("it is out of sync", func() bool { return len(c.img().Partition("t", 0).ISR) == 1 })
	clear(c.cut)
	c.run(5 * time.Second)
	if end := f.part("t", 0).log.EndOffset(); end < 20 || end > 90 {
		t.Fatalf("after 5 s at 1000 bytes a second, %d at once, it has %d records of 100 bytes", most, end)
	}
	c.until("all are in sync", c.inSync)
}

// BenchmarkIdleFetch is what a follower's fetch of 10,000 idle partitions costs the
// leader: one look, and the waiting.
func BenchmarkIdleFetch(b *testing.B) {
	c := newCluster(&testing.T{}, 1, 1)
	c.start()
	c.create("t", 1000, "1")
	n := c.nodes[0]
	var parts []FetchPart
	for i := range int32(10_000) {
		p := n.part("t", i%1000)
		r := *p.st.Load()
		r.replicas = []int32{1, 2}
		p.st.Store(&r)
		parts = append(parts, FetchPart{Ref{TopicID: p.id.TopicID, Index: i % 1000}, 0, 1 << 20, r.leaderEpoch, -1, 0, false})
	}
	b.ReportAllocs()
	for b.Loop() {
		n.m.Fetch(parts, FetchLimits{Replica: 2, MinBytes: 1, MaxBytes: 1 << 20, MaxWait: time.Minute}, func(op *FetchOp) { op.Collect() }).end()
	}
}
