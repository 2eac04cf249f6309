//go:build conformance

package crash

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/leat-stream/leat/conformance/harness"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	killTopic      = "crash"
	killGroup      = "crash"
	killPartitions = 6
	killProducers  = 4
	killMembers    = 2
	// settle bounds what must happen once no more kills come.
	settle = time.Minute
)

// kills is how often the broker is killed in a round: 30, or LEAT_KILLS.
func kills(t *testing.T) int {
	t.Helper()
	s := os.Getenv("LEAT_KILLS")
	if s == "" {
		return 30
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("LEAT_KILLS: %v", err)
	}
	return n
}

// soak is how long rounds follow each other: LEAT_SOAK, a duration; else there is one.
func soak(t *testing.T) time.Duration {
	t.Helper()
	s := os.Getenv("LEAT_SOAK")
	if s == "" {
		return 0
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatalf("LEAT_SOAK: %v", err)
	}
	return d
}

// seed is that of the moments of the kills and of the values: LEAT_SEED, or new.
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

// TestKill: idempotent producers and a group, while the broker is killed and
// started again. Afterwards no acknowledged record is lost, none is doubled, the
// order of each key holds, each stands at the offset that was acknowledged, and
// no committed offset went back.
func TestKill(t *testing.T) {
	kind, err := harness.Chosen()
	if err != nil {
		t.Fatal(err)
	}
	until := time.Now().Add(soak(t))
	for round, first := 1, seed(t); round == 1 || time.Now().Before(until); round++ {
		s := first + uint64(round) - 1
		if !t.Run(fmt.Sprintf("seed %d", s), func(t *testing.T) { killRound(t, kind, s) }) {
			return
		}
	}
}

// killRound is one broker's life under one load. LEAT_SEED repeats its choices.
func killRound(t *testing.T, kind harness.Kind, s uint64) {
	rng := rand.New(rand.NewPCG(s, 1))
	broker := harness.StartFor(t, kind, harness.Options{})
	admin := createTopic(t, broker.Addr)

	load, err := newLoad(broker.Addr, s)
	if err != nil {
		t.Fatal(err)
	}
	defer load.close()
	await(t, "every producer's first record", load.allStarted)
	var slowest time.Duration
	for i := range kills(t) {
		before := load.acknowledged()
		// A moment that has nothing to do with what the broker is at.
		pause(t, time.Duration(50+rng.IntN(700))*time.Millisecond)
		committed := load.committed()
		if i%6 == 5 {
			err = broker.Stop(30 * time.Second) // a clean stop between the others
		} else {
			err = broker.Kill()
		}
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := broker.Restart(t.Context()); err != nil {
			t.Fatalf("start %d: %v", i+1, err)
		}
		slowest = max(slowest, time.Since(began))
		checkCommitted(t, admin, committed)
		if t.Failed() {
			return
		}
		// At least one record is acknowledged between two kills: the load goes on.
		await(t, fmt.Sprintf("an acknowledged record after start %d", i+1), func() bool { return load.acknowledged() > before })
	}
	sent := load.finish(t)
	t.Logf("%d records acknowledged over %d kills; the slowest start took %v", len(sent), kills(t), slowest.Round(time.Millisecond))
	log := readAll(t, broker.Addr)
	check(t, sent, log)
	load.awaitConsumed(t, log)
}

func createTopic(t *testing.T, addr string) *kadm.Client {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	admin := kadm.NewClient(cl)
	// Small segments, so that kills fall into rolls, too.
	size := "1048576"
	created, err := admin.CreateTopic(t.Context(), killPartitions, 1, map[string]*string{"segment.bytes": &size}, killTopic)
	if err != nil {
		t.Fatal(err)
	}
	if created.Err != nil {
		t.Fatal(created.Err)
	}
	return admin
}

// checkCommitted: what the broker says is committed is not before what it acknowledged.
func checkCommitted(t *testing.T, admin *kadm.Client, want map[int32]int64) {
	t.Helper()
	var got kadm.OffsetResponses
	await(t, "the group's coordinator", func() bool {
		var err error
		got, err = admin.FetchOffsets(t.Context(), killGroup)
		return err == nil
	})
	for p, offset := range want {
		o, ok := got.Lookup(killTopic, p)
		if !ok || o.Err != nil || o.At < offset {
			t.Errorf("partition %d: the group committed %d, and after the start it is %v (found: %v)", p, offset, o.At, ok)
		}
	}
}

// readAll reads every partition from its start to its end, without the group.
func readAll(t *testing.T, addr string) map[position]record {
	t.Helper()
	from := map[int32]kgo.Offset{}
	for p := range int32(killPartitions) {
		from[p] = kgo.NewOffset().AtStart()
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{killTopic: from}))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*settle)
	defer cancel()
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, killTopic)
	if err != nil {
		t.Fatal(err)
	}
	left := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Err != nil {
			t.Fatal(o.Err)
		}
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	log := map[position]record{}
	for len(left) > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("reading back: %v; partitions left: %v", err, left)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			log[position{r.Partition, r.Offset}] = parse(t, r)
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		})
	}
	return log
}

// check lays what was acknowledged beside what the log holds.
func check(t *testing.T, sent map[record]position, log map[position]record) {
	t.Helper()
	var c complaints
	defer func() { c.report(t) }()
	at := map[record]position{}
	next := map[int32]int64{}
	for p := range log {
		next[p.partition] = max(next[p.partition], p.offset+1)
	}
	for partition, end := range next {
		last := map[string]int64{} // of each key, the number of its last record
		for offset := range end {
			p := position{partition, offset}
			r, ok := log[p]
			if !ok {
				c.add("partition %d has no record at %d, though it ends at %d", partition, offset, end)
				continue
			}
			if first, doubled := at[r]; doubled {
				c.add("%v stands at %v and again at %v", r, first, p)
			}
			at[r] = p
			if r.number <= last[r.key] {
				c.add("%v: key %s goes from %d back to %d", p, r.key, last[r.key], r.number)
			}
			last[r.key] = r.number
		}
	}
	for r, p := range sent {
		if got, ok := at[r]; !ok {
			c.add("%v was acknowledged at %v and is lost", r, p)
		} else if got != p {
			c.add("%v was acknowledged at %v and stands at %v", r, p, got)
		}
	}
	for r := range maps.Keys(at) {
		if _, ok := sent[r]; !ok {
			c.add("%v stands in the log and was never acknowledged, though every send ended well", r)
		}
	}
}
