//go:build conformance

package cluster

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leat-stream/leat/internal/sim/history"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// ends asks where the partitions end.
func (l *load) ends(reading context.Context, cl *kgo.Client) {
	ctx, cancel := context.WithTimeout(reading, 10*time.Second)
	defer cancel()
	begin := now()
	listed, err := kadm.NewClient(cl).ListEndOffsets(ctx, loadTopic)
	end := now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil { // it is asked again
		if reading.Err() == nil {
			l.saw("franz ends", "list offsets", err.Error())
		}
		return
	}
	listed.Each(func(o kadm.ListedOffset) {
		if o.Err != nil {
			l.saw("franz ends", "list offsets", fmt.Sprintf("%s-%d: %v", o.Topic, o.Partition, o.Err))
			return
		}
		l.h.Latests = append(l.h.Latests, history.Latest{
			Consumer: "ends", Partition: history.Partition{Topic: o.Topic, Number: o.Partition}, Begin: begin, End: end, Offset: o.Offset,
		})
	})
}

// finish ends the producers, each with all it began, reads everything, waits until
// the groups have read it, too, and judges.
func (l *load) finish(t *testing.T, seeds []string) {
	t.Helper()
	l.stop()
	ctx, cancel := context.WithTimeout(t.Context(), settle)
	defer cancel()
	l.sending.Wait()
	for _, cl := range l.clients {
		if err := cl.Flush(ctx); err != nil {
			t.Errorf("a producer does not come to an end: %v", err)
		}
	}
	for _, p := range l.running {
		p.stop(t, ctx)
	}
	logs := readAll(t, seeds)
	l.awaitGiven(t, logs)
	for _, p := range l.running {
		p.end(t)
	}
	l.leave()
	l.reading.Wait()
	committed(t, l, seeds)
	l.abandon()

	l.mu.Lock()
	defer l.mu.Unlock()
	l.h.Logs = logs
	if len(l.failures) > 0 {
		t.Errorf("%d sends failed, such as:\n%s", len(l.failures), strings.Join(l.failures[:min(len(l.failures), 10)], "\n"))
	}
	l.tellErrors(t)
	found := history.Check(&l.h)
	for _, f := range found[:min(len(found), 30)] {
		t.Error(f)
	}
	ok, slowest := 0, history.Produce{}
	for _, o := range l.h.Produces {
		if o.Outcome == history.OK {
			ok++
			if o.End-o.Begin > slowest.End-slowest.Begin {
				slowest = o
			}
		}
	}
	t.Logf("%d of %d records acknowledged; %d reads, %d commits, %d fetches of committed offsets, %d findings",
		ok, len(l.h.Produces), len(l.h.Reads), len(l.h.Commits), len(l.h.Fetches), len(found))
	t.Logf("the slowest acknowledgement took %v, from %s on, for %s to %v", time.Duration(slowest.End-slowest.Begin).Round(time.Millisecond),
		time.Unix(0, int64(slowest.Begin)).UTC().Format("15:04:05.000"), slowest.Value, slowest.Partition)
}

// awaitGiven waits until every group and the reader of the tail were given all there is.
func (l *load) awaitGiven(t *testing.T, logs []history.Log) {
	t.Helper()
	deadline := time.Now().Add(settle)
	for {
		l.mu.Lock()
		lag := ""
		for _, who := range slices.Sorted(maps.Keys(l.given)) {
			for _, log := range logs {
				if n := l.given[who][log.Partition]; len(log.Records) > 0 && n < log.End {
					lag += who + " " + log.Partition.String() + " "
				}
			}
		}
		l.mu.Unlock()
		if lag == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("not read to the end: %s", lag)
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// committed asks for every group's offsets from outside of it.
func committed(t *testing.T, l *load, seeds []string) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(seeds...))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	groups := map[string]bool{}
	for _, c := range l.h.Commits {
		groups[c.Group] = true
	}
	for _, g := range slices.Sorted(maps.Keys(groups)) {
		begin := now()
		got, err := kadm.NewClient(cl).FetchOffsets(t.Context(), g)
		if err != nil {
			t.Errorf("the offsets of %s: %v", g, err)
			continue
		}
		end := now()
		got.Each(func(o kadm.OffsetResponse) {
			l.h.Fetches = append(l.h.Fetches, history.Fetched{
				Group: g, Generation: math.MaxInt32, Partition: history.Partition{Topic: o.Topic, Number: o.Partition},
				Offset: o.At, ID: o.Metadata, Begin: begin, End: end,
			})
		})
	}
}

// readAll reads every partition from its start to its end.
func readAll(t *testing.T, seeds []string) []history.Log {
	t.Helper()
	from := map[int32]kgo.Offset{}
	for p := range int32(loadPartitions) {
		from[p] = kgo.NewOffset().AtStart()
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(seeds...), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{loadTopic: from}))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*settle)
	defer cancel()
	starts, err := kadm.NewClient(cl).ListStartOffsets(ctx, loadTopic)
	if err != nil {
		t.Fatal(err)
	}
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, loadTopic)
	if err != nil {
		t.Fatal(err)
	}
	logs := make([]history.Log, loadPartitions)
	left := map[int32]bool{}
	ends.Each(func(o kadm.ListedOffset) {
		first, _ := starts.Lookup(o.Topic, o.Partition)
		if o.Err != nil || first.Err != nil {
			t.Fatal(o.Err, first.Err)
		}
		logs[o.Partition] = history.Log{Partition: history.Partition{Topic: loadTopic, Number: o.Partition}, Start: first.Offset, End: o.Offset}
		if o.Offset > first.Offset {
			left[o.Partition] = true
		}
	})
	for len(left) > 0 {
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("reading back: %v; partitions left: %v", fetches.Err(), left)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			l := &logs[r.Partition]
			l.Records = append(l.Records, history.Record{Offset: r.Offset, Value: valueOf(r)})
			if r.Offset+1 >= l.End {
				delete(left, r.Partition)
			}
		})
	}
	return logs
}
