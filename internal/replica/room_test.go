package replica

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/log"
)

// roomy is three brokers in sync under the usual replica.lag.time.max.ms, and a topic of one
// partition.
func roomy(t *testing.T, minISR string) *cluster {
	t.Helper()
	c := newCluster(t, 1, 3)
	c.start()
	c.create("t", 1, minISR)
	c.acked("t", 0, "first")
	c.until("all are in sync", c.inSync)
	return c
}

func (c *cluster) isr() []int32 { return c.img().Partition("t", 0).ISR }

// within is until, for so long at most.
func (c *cluster) within(limit time.Duration, what string, so func() bool) {
	c.t.Helper()
	began := c.clock.Now()
	c.until(what, so)
	if took := c.clock.Now().Sub(began); took > limit {
		c.t.Fatalf("%s: after %v, not within %v", what, took, limit)
	}
}

// write sends until a write is acknowledged, as a producer does.
func (c *cluster) write(limit time.Duration, value string) {
	c.t.Helper()
	var a *produced
	next := c.clock.Now()
	c.within(limit, "a write is acknowledged", func() bool {
		if a != nil && a.answered && a.results[0].Err == nil {
			return true
		}
		if l := c.leader("t", 0); (a == nil || a.answered) && l != nil && !c.clock.Now().Before(next) {
			next = c.clock.Now().Add(100 * time.Millisecond)
			a = l.send("t", 0, -1, value)
		}
		return false
	})
}

// TestFollowerWithoutRoom: writes go on without it at once, nobody suspects damage, and it
// joins again when there is room.
func TestFollowerWithoutRoom(t *testing.T) {
	c := roomy(t, "2")
	lead, full := c.leader("t", 0), c.others()[0]
	full.disk.SetFree(0)
	c.write(100*time.Millisecond, "a")
	if slices.Contains(c.isr(), full.id) {
		t.Fatalf("in sync: %v", c.isr())
	}
	for i := range 20 {
		c.write(100*time.Millisecond, fmt.Sprint("v", i))
		c.run(time.Second)
		if slices.Contains(c.isr(), full.id) {
			t.Fatalf("joined without room: %v", c.isr())
		}
	}
	if s := full.m.Stats(); s.Full != 1 || s.FoundFull != 1 || c.told("NoRoom") != 1 || c.told("ReplicaFailed") != 0 {
		t.Errorf("%+v, told %d times; %d complaints", s, c.told("NoRoom"), c.told("ReplicaFailed"))
	}
	if n := lead.m.Stats().Suspected; n != 0 {
		t.Errorf("the leader suspected its log %d times", n)
	}
	full.disk.SetFree(-1)
	c.until("it is in sync again", c.inSync)
	if s := full.m.Stats(); s.Full != 0 || c.leader("t", 0) != lead {
		t.Errorf("%+v", s)
	}
}

// noEpochs has a disk whose blocks are all in use: files grow within theirs, and none can be
// made, such as the one that the sync of a leader's first records needs.
func noEpochs(op env.Op) error {
	if op.Kind == env.OpCreate && strings.Contains(op.Path, "leader-epoch-checkpoint") {
		return syscall.ENOSPC
	}
	return nil
}

// TestFollowerThatCannotSync: what was appended, and finds no room to be made durable, holds up
// neither the writes to its partition nor those to others.
func TestFollowerThatCannotSync(t *testing.T) {
	c := newCluster(t, 1, 3)
	c.start()
	c.create("t", 1, "2")
	c.create("u", 12, "2")
	for i := range int32(12) {
		c.acked("u", i, "first")
	}
	c.until("all are in sync", c.inSync)
	full := c.others()[0]
	full.disk.OnOp(noEpochs)
	for i := range 20 {
		c.write(200*time.Millisecond, fmt.Sprint("v", i))
		for u := range int32(12) {
			a := c.leader("u", u).send("u", u, -1, "more")
			c.within(200*time.Millisecond, "others are written", func() bool { return a.answered && a.results[0].Err == nil })
		}
		c.run(time.Second)
		if slices.Contains(c.isr(), full.id) {
			t.Fatalf("joined without room: %v", c.isr())
		}
	}
	for u := range int32(12) {
		if isr := c.img().Partition("u", u).ISR; len(isr) != 3 {
			t.Errorf("u-%d: in sync %v", u, isr)
		}
	}
	if s := full.m.Stats(); s.Full != 1 || s.FoundFull != 1 || c.told("NoRoom") != 1 || c.told("ReplicaFailed") != 0 || full.part("t", 0).HighWatermark() != 0 {
		t.Errorf("%+v, told %d times; %d complaints", s, c.told("NoRoom"), c.told("ReplicaFailed"))
	}
	full.disk.OnOp(nil)
	c.until("it is in sync again", c.inSync)
}

// TestLeaderThatCannotSync: it hands over, though it can append.
func TestLeaderThatCannotSync(t *testing.T) {
	c := newCluster(t, 1, 3)
	c.start()
	c.create("t", 1, "2")
	full := c.leader("t", 0)
	full.disk.OnOp(noEpochs)
	c.write(time.Second, "a")
	if c.leader("t", 0) == full || slices.Contains(c.isr(), full.id) {
		t.Fatalf("leader %d, in sync %v", c.leader("t", 0).id, c.isr())
	}
	full.disk.OnOp(nil)
	c.until("it is in sync again", c.inSync)
}

// TestStuckFollowerTakesNothingForCommitted: a former leader has a record that nobody else has,
// and cannot sync it. It states what it has synced, hears of a high watermark behind that, and
// must not take its own record for committed when it is synced at last.
func TestStuckFollowerTakesNothingForCommitted(t *testing.T) {
	c := newCluster(t, 1, 3)
	c.start()
	c.create("t", 1, "2")
	full := c.leader("t", 0)
	full.disk.OnOp(noEpochs)
	c.isolate(full.id, false)
	full.send("t", 0, 1, "mine")
	c.within(time.Second, "another one leads", func() bool { return c.leader("t", 0) != full })
	clear(c.cut)
	c.write(time.Second, "theirs")
	p := full.part("t", 0)
	c.run(5 * time.Second) // it is told of the high watermark
	if p.log.SyncedOffset() != 0 || p.log.EndOffset() != 1 {
		t.Fatalf("synced to %d of %d", p.log.SyncedOffset(), p.log.EndOffset())
	}
	full.disk.OnOp(nil)
	c.until("all are in sync", func() bool {
		if p.HighWatermark() > 0 {
			if got, err := p.stored(0, 1); err != nil || got[0].value != "theirs" {
				t.Fatalf("committed is %v, %v", got, err)
			}
		}
		return c.inSync()
	})
}

// TestFollowerAtTheBrim: one that has room for a batch now and then does not come and go with
// every one.
func TestFollowerAtTheBrim(t *testing.T) {
	c := roomy(t, "2")
	full := c.others()[0]
	for range 50 {
		full.disk.SetFree(0)
		c.write(time.Second, strings.Repeat("v", 100))
		c.run(100 * time.Millisecond)
		full.disk.SetFree(-1)
		c.write(time.Second, "small")
		c.run(100 * time.Millisecond)
	}
	if n := c.leader("t", 0).m.Stats().ISRShrinks; n > 6 {
		t.Errorf("it left %d times in some ten seconds", n)
	}
	c.until("it is in sync again", c.inSync)
}

// TestTooFewWithoutTheFull: a follower without room stays in sync when writes would stop
// without it: nobody is helped.
func TestTooFewWithoutTheFull(t *testing.T) {
	c := roomy(t, "2")
	lead, full := c.leader("t", 0), c.others()[0]
	c.others()[1].crash(false)
	c.until("two are in sync", func() bool { return len(c.isr()) == 2 })
	full.disk.SetFree(0)
	a := lead.send("t", 0, -1, "a")
	c.run(3 * time.Second)
	if len(c.isr()) != 2 || a.answered {
		t.Fatalf("in sync: %v; answered %v", c.isr(), a.answered)
	}
	full.disk.SetFree(-1)
	c.within(2*time.Second, "it is written", func() bool { return a.answered })
	if a.results[0].Err != nil {
		t.Fatal(a.results[0].Err)
	}
}

// TestWithoutRoomAndDeletion: what is deleted at the leader is deleted where there is no room
// for more: that may make some.
func TestWithoutRoomAndDeletion(t *testing.T) {
	c := roomy(t, "2")
	lead, full := c.leader("t", 0), c.others()[0]
	c.write(time.Second, "a")
	c.until("all are in sync", c.inSync)
	full.disk.SetFree(1000)
	c.write(time.Second, strings.Repeat("b", 2000))
	deleted := false
	lead.m.DeleteRecords([]DeletePart{{lead.part("t", 0), 2}}, time.Minute, func(op *DeleteOp) { deleted = op.Results[0].Err == nil })
	c.within(5*time.Second, "the records are deleted", func() bool { return deleted })
	if start := full.part("t", 0).log.StartOffset(); start != 2 {
		t.Errorf("it starts at %d", start)
	}
}

// TestDeletionMakesRoom: on disks that have no room at all, not even to note that something is
// deleted, a deletion makes some. It is said to be done once all have noted it.
func TestDeletionMakesRoom(t *testing.T) {
	for name, all := range map[string]bool{"a follower": false, "everybody": true} {
		t.Run(name, func(t *testing.T) {
			c := roomy(t, "2")
			for range 5 { // each a segment
				c.write(time.Second, strings.Repeat("a", 3000))
			}
			c.until("all are in sync", c.inSync)
			full := c.others()[:1]
			if all {
				full = c.nodes
			}
			for _, b := range full {
				if err := b.dir.Checkpoint(); err != nil {
					t.Fatal(err)
				}
				b.disk.SetFree(0)
			}
			c.leader("t", 0).send("t", 0, -1, strings.Repeat("b", 3000))
			c.run(time.Second)
			var d *deletion
			for asked := 0; ; asked++ {
				if d == nil || d.answered > 0 {
					d = c.leader("t", 0).deleteRecords("t", 0, 5, 10*time.Second)
				}
				c.run(10 * time.Second)
				if d.answered > 0 && d.results[0].Err == nil {
					break
				}
				if asked == 20 {
					t.Fatalf("the deletion is %q\n%s", d, c.dump())
				}
				for _, b := range c.nodes {
					b.m.Retain(c.clock.Now(), func(_ log.LogID, err error) { t.Fatal(err) })
					if err := b.dir.Tick(c.clock.Now()); err != nil && !log.IsFull(err) {
						t.Fatal(err)
					}
				}
			}
			c.write(time.Second, "c")
			c.until("all are in sync", c.inSync)
			for _, b := range c.nodes {
				if start := b.part("t", 0).log.RecordedStart(); start != 5 {
					t.Errorf("broker %d starts at %d", b.id, start)
				}
			}
		})
	}
}

// TestLeaderWithoutRoom: another one leads at once, and goes on without it.
func TestLeaderWithoutRoom(t *testing.T) {
	c := roomy(t, "2")
	full := c.leader("t", 0)
	full.disk.SetFree(0)
	a := full.send("t", 0, -1, "a")
	if !a.answered || a.results[0].Err != kerr.KafkaStorageError {
		t.Fatalf("answered %v: %+v", a.answered, a.results)
	}
	c.write(time.Second, "b")
	if c.leader("t", 0) == full || slices.Contains(c.isr(), full.id) {
		t.Fatalf("leader %d, in sync %v", c.leader("t", 0).id, c.isr())
	}
	if s := full.m.Stats(); c.told("HandsOver") != 1 || c.told("NoRoom") != 1 || s.Full != 1 || s.FoundFull != 2 {
		t.Errorf("told %d and %d times: %+v", c.told("HandsOver"), c.told("NoRoom"), s)
	}
	full.disk.SetFree(-1)
	c.until("it is in sync again", c.inSync)
}

// TestLeaderOfACoordinatorWithoutRoom: what a coordinator writes asks for another leader as
// what a producer does.
func TestLeaderOfACoordinatorWithoutRoom(t *testing.T) {
	c := roomy(t, "2")
	full := c.leader("t", 0)
	full.disk.SetFree(0)
	p := full.part("t", 0)
	if _, err := p.AppendIn(p.Leadership().LeaderEpoch, batchAt(c.clock.Now(), "a")); err == nil {
		t.Fatal("it was appended")
	}
	c.within(100*time.Millisecond, "another one leads", func() bool { return c.leader("t", 0) != full })
}

// TestHandOverThatCameToNothing: a leader without room whose wish is overtaken, or refused, asks
// again with the next append. One whose wish was heard, and could not be granted, waits.
func TestHandOverThatCameToNothing(t *testing.T) {
	l := newLead(t, 1, 1, 2, 3)
	l.disk.SetFree(0)
	asks := func(want int) {
		t.Helper()
		l.send("t", 0, -1, "a")
		if len(l.asked) != want {
			t.Fatalf("it has asked %d times, not %d", len(l.asked), want)
		}
	}
	asks(1)
	l.answer(kerr.InvalidUpdateVersion.Code, 0)
	l.change(-2, 1, 2)
	asks(2)
	l.answer(kerr.IneligibleReplica.Code, 0)
	l.clock.Advance(isrRefused)
	asks(3)
	l.answer(0, l.part("t", 0).st.Load().partitionEpoch)
	l.m.turns.take(l.clock.Now().Add(time.Minute)) // it has not led in vain
	l.clock.Advance(yieldPause - time.Millisecond)
	asks(3)
	l.clock.Advance(time.Millisecond)
	asks(4)
}

// TestHandOverThatHelpsNobody: a leader without room that could not leave the in-sync set leads
// on, and says so at once, to those who need all in sync; with more in sync, or for who needs the
// leader alone, another one is asked for.
func TestHandOverThatHelpsNobody(t *testing.T) {
	for name, stuck := range map[string]bool{"no append": false, "no sync": true} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, 1, 3)
			c.start()
			c.create("t", 1, "2")
			lead, away := c.leader("t", 0), c.others()[0]
			away.crash(false)
			c.until("two are in sync", func() bool { return len(c.isr()) == 2 })
			if stuck {
				lead.disk.OnOp(noEpochs)
			} else {
				lead.disk.SetFree(0)
			}
			for range 20 {
				a := lead.send("t", 0, -1, "a")
				if !stuck && (!a.answered || a.results[0].Err != kerr.KafkaStorageError) {
					t.Fatalf("answered %v: %+v", a.answered, a.results)
				}
				c.run(time.Second)
				if c.leader("t", 0) != lead || len(c.isr()) != 2 {
					t.Fatalf("it handed over, or left the in-sync set:\n%s", c.dump())
				}
			}
			away.open()
			c.until("three are in sync", func() bool { return len(c.isr()) == 3 })
			c.write(time.Second, "b")
			if c.leader("t", 0) == lead || slices.Contains(c.isr(), lead.id) {
				t.Errorf("leader %d, in sync %v", c.leader("t", 0).id, c.isr())
			}
		})
	}
}

// TestHandOverForThoseWhoNeedOne: with two in sync that have to be, a write that needs the leader
// alone finds one that has room.
func TestHandOverForThoseWhoNeedOne(t *testing.T) {
	for acks := range int16(2) {
		l := newLead(t, 2, 1, 2)
		l.disk.SetFree(0)
		p := l.part("t", 0)
		l.send("t", 0, -1, "a")
		if _, err := p.AppendIn(p.Leadership().LeaderEpoch, batchAt(l.clock.Now(), "a")); err == nil || len(l.asked) != 0 {
			t.Errorf("%v; it has asked %d times", err, len(l.asked))
		}
		if l.send("t", 0, acks, "a"); len(l.asked) != 1 {
			t.Errorf("acks=%d: it has asked %d times", acks, len(l.asked))
		}
	}
}

// TestNobodyHasRoom: leadership goes round, no faster than by a report in some seconds of each.
func TestNobodyHasRoom(t *testing.T) {
	c := roomy(t, "2")
	for _, b := range c.nodes {
		b.disk.SetFree(0)
	}
	epoch := c.img().Partition("t", 0).LeaderEpoch
	for range 300 {
		c.leader("t", 0).send("t", 0, -1, "a")
		c.run(100 * time.Millisecond)
	}
	const rounds = 30*time.Second/yieldPause + 1
	if n := c.img().Partition("t", 0).LeaderEpoch - epoch; n < 3 || n > int32(rounds)*3 || len(c.isr()) != 3 {
		t.Errorf("%d elections in 30 seconds, in sync %v", n, c.isr())
	}
	for _, b := range c.nodes {
		b.disk.SetFree(-1)
	}
	c.write(time.Second, "a")
	c.until("all are in sync", c.inSync)
}

// TestNobodyHasRoomForMany: where nobody has room, leadership of many partitions goes round no
// faster than by a turn in a second of each broker, however often they are written to; when two
// have some again all are written at once, those that the third one leads as well.
func TestNobodyHasRoomForMany(t *testing.T) {
	const parts, waited = 40, 30 * time.Second
	c := newCluster(t, 1, 3)
	c.start()
	c.create("t", parts, "2")
	var sent [parts]*produced
	write := func() (acked int) { // to each partition, until it is acknowledged
		for i, a := range sent {
			switch {
			case a != nil && a.answered && a.results[0].Err == nil:
				acked++
			case a == nil || a.answered:
				sent[i] = c.leader("t", int32(i)).send("t", int32(i), -1, "a")
			}
		}
		c.run(100 * time.Millisecond)
		return acked
	}
	elections := func() (n int32) {
		for i := range int32(parts) {
			n += c.img().Partition("t", i).LeaderEpoch
		}
		return n
	}
	for _, b := range c.nodes {
		b.disk.SetFree(0)
	}
	for range 10 {
		write()
	}
	began := elections()
	if began < 3*parts {
		t.Errorf("%d elections: not all were asked for room", began)
	}
	for range waited / (100 * time.Millisecond) {
		write()
	}
	const most = int32(3 * (waited/turnSpace + 1))
	if n := elections() - began; n < most/2 || n > most {
		t.Errorf("%d elections in %v, not up to %d", n, waited, most)
	}
	for _, b := range c.nodes[1:] {
		b.disk.SetFree(-1)
	}
	acked := 0
	for range 10 { // a second
		acked = write()
	}
	if acked < parts {
		t.Errorf("%d of %d are acknowledged", acked, parts)
	}
}

// TestTurns: one in a second, none behind five minutes, and none saved up.
func TestTurns(t *testing.T) {
	var turns turns
	began := time.UnixMilli(1_700_000_000_000)
	after := func(now, want time.Duration) {
		t.Helper()
		if got := turns.take(began.Add(now)).Sub(began); got != want {
			t.Errorf("the turn is after %v, not %v", got, want)
		}
	}
	after(0, 0)
	after(0, turnSpace)
	for range 1000 {
		turns.take(began)
	}
	after(0, turnMost)
	after(time.Hour, time.Hour)
}

// TestWhoWaitsForATurn: a partition that comes back as it was does, while none of those in sync was
// seen to have room since; each hand-over shows that once.
func TestWhoWaitsForATurn(t *testing.T) {
	for name, c := range map[string]struct {
		since func(*lead, *Partition)
		waits bool
	}{
		"nothing": {func(*lead, *Partition) {}, true},
		"written here": {func(l *lead, p *Partition) {
			l.disk.SetFree(-1)
			l.send("t", 0, -1, "a")
			l.mustSync()
			l.fetch(2, 12, 2)
			l.fetch(3, 13, 2)
			l.expectHW(2)
			l.disk.SetFree(0)
		}, false},
		"what was on its way is committed": {func(l *lead, p *Partition) {
			l.fetch(2, 12, 1)
			l.fetch(3, 13, 1)
			l.expectHW(1)
		}, true},
		"written elsewhere":   {func(_ *lead, p *Partition) { p.heard(2, 2) }, false},
		"told of the old end": {func(_ *lead, p *Partition) { p.heard(2, 1) }, true},
		"another written by one in sync": {func(l *lead, _ *Partition) {
			other := &Partition{m: l.m}
			other.yielded.Store(&yielded{at: l.clock.Now()})
			other.heard(3, 1)
		}, false},
		"another written by a stranger": {func(l *lead, _ *Partition) {
			other := &Partition{m: l.m}
			other.yielded.Store(&yielded{at: l.clock.Now()})
			other.heard(4, 1)
		}, true},
		"another written, and told before": {func(l *lead, p *Partition) {
			other := &Partition{m: l.m}
			other.yielded.Store(&yielded{at: l.clock.Now()})
			other.heard(3, 1)
			y := *p.yielded.Load()
			y.at = l.clock.Now()
			p.yielded.Store(&y)
			l.clock.Advance(time.Second)
			other.heard(3, 2)
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLead(t, 1, 1, 2, 3)
			p := l.part("t", 0)
			for range 1000 { // others are in turn first
				l.m.turns.take(l.clock.Now())
			}
			l.send("t", 0, -1, "on its way")
			l.mustSync()
			l.disk.SetFree(0)
			l.send("t", 0, -1, "a")
			l.answer(kerr.NewLeaderElected.Code, 0)
			l.change(self, 1, 2, 3) // as if the others had led, and given it up
			l.clock.Advance(time.Second)
			c.since(l, p)
			l.clock.Advance(yieldPause)
			if l.send("t", 0, -1, "a"); len(l.asked) == 2 == c.waits {
				t.Errorf("it has asked %d times", len(l.asked))
			}
		})
	}
}

// TestTwoHaveNoRoom: the one that has leads at last, though the others are in sync.
func TestTwoHaveNoRoom(t *testing.T) {
	c := roomy(t, "1")
	free := c.nodes[(c.leader("t", 0).id+1)%3] // the last in turn
	for _, b := range c.nodes {
		if b != free {
			b.disk.SetFree(0)
		}
	}
	c.write(2*time.Second, "a")
	if c.leader("t", 0) != free || len(c.isr()) != 1 {
		t.Errorf("leader %d, in sync %v", c.leader("t", 0).id, c.isr())
	}
}

// TestLeaderAloneWithoutRoom: it leads on, asks nobody, and heals.
func TestLeaderAloneWithoutRoom(t *testing.T) {
	c := roomy(t, "1")
	lead := c.leader("t", 0)
	for _, b := range c.others() {
		b.crash(false)
	}
	c.until("it is alone", func() bool { return len(lead.part("t", 0).st.Load().isr) == 1 })
	lead.disk.SetFree(0)
	asked := c.calls["alter"]
	for range 10 {
		lead.send("t", 0, -1, "a")
		c.run(time.Second)
	}
	if n := c.calls["alter"] - asked; n != 0 {
		t.Errorf("the controller was asked %d times", n)
	}
	lead.disk.SetFree(-1)
	c.write(time.Second, "b")
}

// TestStrangersCannotSayThatThereIsNoRoom: of a fetch without a replica, of another
// incarnation, or of another leader epoch it counts for nothing.
func TestStrangersCannotSayThatThereIsNoRoom(t *testing.T) {
	c := roomy(t, "2")
	lead, other := c.leader("t", 0), c.others()[0]
	p := lead.part("t", 0)
	part := FetchPart{Ref: Ref{TopicID: topicOf(c)}, Offset: p.log.EndOffset(), MaxBytes: 1, LeaderEpoch: p.Leadership().LeaderEpoch, LastFetchedEpoch: -1, NoRoom: true}
	late := part
	late.LeaderEpoch++
	for _, f := range []struct {
		part FetchPart
		by   FetchLimits
	}{
		{part, FetchLimits{Replica: Consumer, MaxBytes: 1}},
		{part, FetchLimits{Replica: other.id, ReplicaEpoch: other.epoch - 1, MaxBytes: 1}},
		{part, FetchLimits{Replica: 9, ReplicaEpoch: 99, MaxBytes: 1}},
		{late, FetchLimits{Replica: other.id, ReplicaEpoch: other.epoch, MaxBytes: 1}},
	} {
		lead.m.Fetch([]FetchPart{f.part}, f.by, func(op *FetchOp) { op.Collect()[0].Release() })
		c.run(20 * time.Millisecond)
		if len(c.isr()) != 3 {
			t.Fatalf("%+v: in sync %v", f.by, c.isr())
		}
	}
	lead.m.Fetch([]FetchPart{part}, FetchLimits{Replica: other.id, ReplicaEpoch: other.epoch, MaxBytes: 1}, func(op *FetchOp) { op.Collect()[0].Release() })
	c.within(20*time.Millisecond, "the replica itself says so", func() bool { return len(c.isr()) == 2 })
}

// TestNoRoomOnTheWire: it survives the wire, in the versions that followers speak.
func TestNoRoomOnTheWire(t *testing.T) {
	for _, says := range []bool{false, true} {
		req := kmsg.NewPtrFetchRequest()
		req.Version = req.MaxVersion()
		topic, part := kmsg.NewFetchRequestTopic(), kmsg.NewFetchRequestTopicPartition()
		if says {
			sayNoRoom(&part)
		}
		topic.Partitions = append(topic.Partitions, part)
		req.Topics = append(req.Topics, topic)
		got := kmsg.NewPtrFetchRequest()
		got.Version = req.Version
		if err := got.ReadFrom(req.AppendTo(nil)); err != nil || SaysNoRoom(&got.Topics[0].Partitions[0]) != says {
			t.Errorf("%v: read as %v, %v", says, !says, err)
		}
	}
}
