package replica

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/log"
	"github.com/leat-stream/leat/internal/metadata"
)

func lostParts(refs []Ref) (all []metadata.TopicPartition) {
	for _, r := range refs {
		all = append(all, metadata.TopicPartition{TopicID: r.TopicID, Partition: r.Index})
	}
	return all
}

// lost is what a registration tells.
func (b *broker) lost() (all []metadata.TopicPartition) {
	for _, id := range b.dir.Damaged() {
		all = append(all, metadata.TopicPartition{TopicID: id.TopicID, Partition: id.Partition})
	}
	return all
}

// found is told what the log directory finds, as a node is.
func (b *broker) found(e log.Event) {
	switch e := e.(type) {
	case log.DamageMet, log.Suspected:
		b.later(0, func() { b.scrub(0) })
	case log.Quarantined:
		if b.dir != nil {
			b.later(0, func() { b.m.Damaged(e.Log) })
		}
	}
}

// scrub checks the disk: a whole pass, or what a reader has met when rate is 0.
func (b *broker) scrub(rate int64) {
	now := b.c.clock.Now()
	next := b.scrubber.Step(now, log.ScrubOptions{BytesPerSecond: rate, Interval: 100 * time.Hour})
	if rest := next.Sub(now); rest < time.Minute {
		b.later(rest, func() { b.scrub(rate) })
	}
}

const wholePass = 1 << 30

// filled is a trio with some segments, all in sync.
func filled(t *testing.T, records int) *cluster {
	t.Helper()
	c := trio(t, "2")
	c.fill40(records)
	c.until("all are in sync", c.inSync)
	return c
}

func (c *cluster) fill40(records int) {
	c.t.Helper()
	for i := range records {
		c.acked("t", 0, fmt.Sprintf("%d-%s", i, strings.Repeat("x", 500)))
	}
}

// segments are the files of the partition's segments, oldest first.
func (b *broker) segments() (names []string) {
	b.c.t.Helper()
	list, err := b.disk.ReadDir("data/t-0")
	if err != nil {
		b.c.t.Fatal(err)
	}
	for _, e := range list {
		if strings.HasSuffix(e.Name(), ".log") {
			names = append(names, filepath.Join("data/t-0", e.Name()))
		}
	}
	slices.Sort(names)
	if len(names) < 3 {
		b.c.t.Fatalf("only %d segments", len(names))
	}
	return names
}

// flip changes a bit of a value in the second segment.
func (b *broker) flip() {
	b.c.t.Helper()
	if err := b.disk.FlipBit(b.segments()[1], 700); err != nil {
		b.c.t.Fatal(err)
	}
}

// same fails unless all replicas hold the same records, n of them.
func (c *cluster) same(n int) {
	c.t.Helper()
	var first []stored
	for _, b := range c.nodes {
		p := b.part("t", 0)
		all, err := p.stored(0, p.log.EndOffset())
		if err != nil {
			c.t.Fatalf("broker %d: %v", b.id, err)
		}
		if len(all) != n {
			c.t.Fatalf("broker %d has %d records, want %d", b.id, len(all), n)
		}
		if first == nil {
			first = all
		}
		if !slices.Equal(all, first) {
			c.t.Fatalf("broker %d has other records", b.id)
		}
		if d := p.log.Damaged(); len(d) > 0 || p.Mending() {
			c.t.Fatalf("broker %d: %v is damaged still", b.id, d)
		}
	}
}

// TestDamagedReplicaIsMended: whatever is damaged, on whatever replica, all are whole and
// equal again, and who was damaged did not lead meanwhile.
func TestDamagedReplicaIsMended(t *testing.T) {
	cut := func(at int64) func(*broker) {
		return func(b *broker) {
			f, err := b.disk.OpenFile(b.segments()[1], os.O_RDWR, 0)
			if err == nil {
				err = f.Truncate(at)
			}
			if err != nil {
				b.c.t.Fatal(err)
			}
		}
	}
	for _, leads := range []bool{false, true} {
		for name, harm := range map[string]func(*broker){"a bit": (*broker).flip, "a cut segment": cut(900), "an empty segment": cut(0)} {
			t.Run(fmt.Sprintf("%s, leads %v", name, leads), func(t *testing.T) {
				c := filled(t, 40)
				lead := c.leader("t", 0)
				b := lead
				if !leads {
					b = c.others()[0]
				}
				harm(b)
				b.scrub(wholePass)
				c.until("it is noticed", func() bool { return b.part("t", 0).Mending() })
				c.until("it is mended", func() bool {
					p := c.img().Partition("t", 0)
					if b.part("t", 0).Mending() && leads && p.Leader == b.id && p.LeaderEpoch > 0 {
						t.Fatal("a damaged replica was elected")
					}
					return b.m.Stats().Mended == 1
				})
				if got := c.leader("t", 0) == lead; got == leads {
					t.Fatalf("the leader is the one of before: %v", got)
				}
				c.until("all are in sync", c.inSync)
				c.acked("t", 0, "more")
				c.until("all are in sync", c.inSync)
				c.same(41)
				if n := c.told("Refetched"); n != 1 {
					t.Errorf("told %d times", n)
				}
			})
		}
	}
}

// TestDamageMetByAReader: a reader is told to come again, and finds what it wants at another
// replica; nothing is scrubbed that nobody complained of.
func TestDamageMetByAReader(t *testing.T) {
	c := filled(t, 200) // too many to know where each is
	lead := c.leader("t", 0)
	name := lead.segments()[1]
	if err := lead.disk.FlipBit(name, 8); err != nil { // the length: a read looks at it
		t.Fatal(err)
	}
	read := func(b *broker, offset int64) (f Fetched) {
		b.m.Fetch([]FetchPart{from("t", 0, offset)}, FetchLimits{Replica: Consumer, MaxBytes: 1 << 20}, func(op *FetchOp) { f = op.Collect()[0] })
		f.Release()
		return f
	}
	var base int64
	fmt.Sscanf(filepath.Base(name), "%d", &base)
	if got := read(lead, base+1); got.Err != kerr.KafkaStorageError {
		t.Fatalf("told %v", got.Err)
	}
	c.until("another one leads", func() bool { return c.leader("t", 0) != lead })
	next := c.leader("t", 0)
	c.until("and serves", func() bool { return next.part("t", 0).Leading() })
	if got := read(next, base+1); got.Err != nil {
		t.Fatalf("the new leader: %v", got.Err)
	}
	c.until("all are in sync", func() bool { return lead.m.Stats().Mended == 1 && c.inSync() })
	c.same(200)
}

// TestDamageThatOnlyAFollowerSees: a leader sends records without a look at checksums; it
// checks them when a follower asks for the same again and again.
func TestDamageThatOnlyAFollowerSees(t *testing.T) {
	c := filled(t, 10)
	away := c.others()[1]
	away.crash(false)
	c.fill40(40)
	lead := c.leader("t", 0)
	c.until("the other two are in sync", func() bool { return len(c.img().Partition("t", 0).ISR) == 2 })
	names := lead.segments()
	if err := lead.disk.FlipBit(names[len(names)-2], 300); err != nil {
		t.Fatal(err)
	}
	away.open()
	c.until("all are in sync", func() bool { return lead.m.Stats().Mended == 1 && c.inSync() })
	if lead.m.Stats().Suspected == 0 {
		t.Error("nothing was suspected")
	}
	c.same(50)
}

// flippedAlone is a cluster with 40 records of which one is damaged at the leader, which is
// alone in sync: the other broker is cut off.
func flippedAlone(t *testing.T) (c *cluster, b *broker) {
	t.Helper()
	c = newCluster(t, 1, 2)
	c.start()
	c.create("t", 1, "1")
	b = c.leader("t", 0)
	c.until("all are in sync", c.inSync)
	c.fill40(40)
	c.until("all are in sync", c.inSync)
	c.isolate(c.others()[0].id, true)
	c.until("it is alone", func() bool { return len(c.img().Partition("t", 0).ISR) == 1 })
	b.flip()
	return c, b
}

// TestDamageOfTheOnlyReplica: it leads on, serves what is around the damage, and hands over
// once another one is in sync.
func TestDamageOfTheOnlyReplica(t *testing.T) {
	c, b := flippedAlone(t)
	b.scrub(wholePass)
	c.until("it is told that nobody else has it", func() bool { return c.told("DamagedAlone") == 1 })
	c.until("it has recovered", func() bool { return !c.img().Partition("t", 0).Recovering() })
	c.acked("t", 0, "more")
	p := b.part("t", 0)
	d := p.log.Damaged()
	if len(d) != 1 || d[0].To-d[0].From != 1 {
		t.Fatalf("damaged: %v", d)
	}
	for offset, want := range map[int64]*kerr.Error{d[0].From - 1: nil, d[0].From: kerr.CorruptMessage, d[0].To: nil, p.log.EndOffset() - 1: nil} {
		b.m.Fetch([]FetchPart{from("t", 0, offset)}, FetchLimits{Replica: Consumer, MaxBytes: 100}, func(op *FetchOp) {
			got := op.Collect()[0]
			got.Release()
			if got.Err != want {
				t.Errorf("read at %d: %v, want %v", offset, got.Err, want)
			}
		})
	}
	c.run(5 * time.Second)
	if n := c.calls["lost"]; n != 1 {
		t.Errorf("%d reports", n)
	}
	clear(c.cut)
	c.until("the other one has what it lacked, and all is whole", func() bool { return b.m.Stats().Mended == 1 && c.inSync() })
	c.same(41)
}

// TestDamagedReplicaIsElectedAlone: it was told that others have what it lacks; they do not come
// back, and somebody has it lead all the same. Then it is to be told that it is alone.
func TestDamagedReplicaIsElectedAlone(t *testing.T) {
	c := newCluster(t, 1, 2)
	c.start()
	c.create("t", 1, "2")
	c.fill40(40)
	c.until("all are in sync", c.inSync)
	b, other := c.leader("t", 0), c.others()[0]
	other.crash(false)
	c.until("it is alone", func() bool { return len(c.img().Partition("t", 0).ISR) == 1 })
	b.flip()
	b.scrub(wholePass)
	c.until("nobody leads", func() bool { return c.leader("t", 0) == nil && c.calls["lost"] == 1 })
	c.run(time.Second)
	if n := c.told("DamagedAlone"); n != 0 {
		t.Fatalf("told %d times", n)
	}
	req := kmsg.NewPtrElectLeadersRequest()
	req.Version, req.ElectionType = 2, 1 // unclean
	req.Topics = []kmsg.ElectLeadersRequestTopic{{Topic: "t", Partitions: []int32{0}}}
	c.decide(&metadata.Request{Req: req})
	c.until("it leads, and knows that nobody else does", func() bool { return c.leader("t", 0) == b && c.told("DamagedAlone") == 1 })
	if n, err := b.loaded(); n != 39 || err != nil {
		t.Fatalf("%d records, %v", n, err)
	}
}

// TestStaleFetchOfADamagedReplica: a fetch that says what a replica had before it was
// damaged, and comes late, does not bring it back among those in sync.
func TestStaleFetchOfADamagedReplica(t *testing.T) {
	c := filled(t, 40)
	b, lead := c.others()[0], c.leader("t", 0)
	p := b.part("t", 0)
	late := FetchPart{Ref: Ref{TopicID: topicOf(c), Index: 0}, Offset: p.log.EndOffset(), MaxBytes: 1, LeaderEpoch: p.Leadership().LeaderEpoch, LastFetchedEpoch: p.log.LatestEpoch()}
	b.flip()
	b.scrub(wholePass)
	c.until("it is noticed", func() bool { return p.Mending() })
	c.cut[[2]int32{b.id, lead.id}] = true // it cannot catch up
	c.until("it is cut back", func() bool { return b.m.Stats().Mended == 1 })
	for range 10 {
		lead.m.Fetch([]FetchPart{late}, FetchLimits{Replica: b.id, ReplicaEpoch: b.epoch, MaxBytes: 1}, func(op *FetchOp) { op.Collect()[0].Release() })
		c.run(300 * time.Millisecond)
		if slices.Contains(c.img().Partition("t", 0).ISR, b.id) {
			t.Fatalf("in sync with %d of %d records", p.log.EndOffset(), late.Offset)
		}
	}
	clear(c.cut)
	c.until("all are in sync", c.inSync)
	c.same(40)
}

func topicOf(c *cluster) [16]byte { return c.img().Topic("t").ID }

// TestDamageOutlivesARestart: a broker that ends before it could tell anybody tells it when
// it comes back, and is not elected in between.
func TestDamageOutlivesARestart(t *testing.T) {
	for _, power := range []bool{false, true} {
		c := filled(t, 40)
		b := c.others()[0]
		c.isolate(b.id, true)
		b.flip()
		b.scrub(wholePass)
		c.until("it is noticed", func() bool { return b.part("t", 0).Mending() })
		c.run(time.Second)
		b.crash(power)
		clear(c.cut)
		b.open()
		c.until("all are in sync", func() bool { return b.m.Stats().Mended == 1 && c.inSync() })
		c.same(40)
	}
}

// TestNothingIsDroppedBeforeTheControllerKnows: until it does, a damaged replica keeps what
// it has, since others may count on it, and takes nothing more.
func TestNothingIsDroppedBeforeTheControllerKnows(t *testing.T) {
	for name, change := range map[string]func(c *cluster, b *broker){
		"in sync": func(*cluster, *broker) {},
		"in sync, in a new leader epoch": func(c *cluster, b *broker) {
			l := c.leader("t", 0)
			l.crash(false)
			c.until("another one leads", func() bool { return c.leader("t", 0) != nil && c.leader("t", 0) != l })
			l.open()
		},
		"not in sync, and may have asked to be": func(c *cluster, b *broker) {
			c.until("it is out", func() bool { return !slices.Contains(c.img().Partition("t", 0).ISR, b.id) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := filled(t, 40)
			b := c.nodes[c.img().Partition("t", 0).Replicas[2]-1] // the last to be elected
			p := b.part("t", 0)
			c.deaf = true
			b.flip()
			b.scrub(wholePass)
			c.until("it is noticed", func() bool { return p.Mending() })
			end := p.log.EndOffset()
			sent := c.leader("t", 0).send("t", 0, 1, "more")
			c.until("the leader has more", func() bool { return sent.answered })
			change(c, b)
			c.run(3 * time.Second)
			if got := p.log.EndOffset(); got != end || !p.Mending() {
				t.Fatalf("it ends at %d, before %d", got, end)
			}
			if c.calls["lost"] < 2 {
				t.Fatal("a report that failed is not sent again")
			}
			c.deaf = false
			c.until("all are in sync", func() bool { return b.m.Stats().Mended == 1 && c.inSync() })
			c.same(int(c.leader("t", 0).part("t", 0).log.EndOffset()))
		})
	}
}

// TestUnreadableAtTheLeader: a disk that does not give a leader's bytes any more is as bad
// as damage: whoever reads is told to come again, and another replica leads.
func TestUnreadableAtTheLeader(t *testing.T) {
	c := filled(t, 200)
	lead := c.leader("t", 0)
	bad := lead.segments()[1]
	lead.disk.FailReads(func(name string, off int64, n int) error {
		if strings.HasSuffix(name, filepath.Base(bad)) && off <= 1000 && off+int64(n) > 1000 {
			return syscall.EIO
		}
		return nil
	})
	var base int64
	fmt.Sscanf(filepath.Base(bad), "%d", &base)
	lead.m.Fetch([]FetchPart{from("t", 0, base)}, FetchLimits{Replica: Consumer, MaxBytes: 1 << 20}, func(op *FetchOp) {
		got := op.Collect()[0]
		defer got.Release()
		if got.Err == kerr.KafkaStorageError { // the look-up met it
			return
		}
		if got.Err != nil {
			t.Fatal(got.Err)
		}
		if _, err := got.Run.ReadAt(make([]byte, got.Run.Len()), 0); err == nil { // as the connection does
			t.Fatal("it was read")
		}
	})
	c.until("another one leads", func() bool { return c.leader("t", 0) != lead })
	lead.disk.FailReads(nil) // what is written anew lies elsewhere
	c.until("all are in sync", func() bool { return lead.m.Stats().Mended == 1 && c.inSync() })
	c.same(200)
}
