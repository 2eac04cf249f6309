package replica

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/env"
)

// TestManyLogsAreCutBackTogether: a former leader of more partitions than are locked
// together cuts each back to what its new leader has, and records that for all of them at
// once. One that cannot be cut does not keep the others, and one that is told of twice is cut once.
func TestManyLogsAreCutBackTogether(t *testing.T) {
	const parts = 2*maxDiverging + 40 // over two leaders
	c := newCluster(t, 1, 2)
	c.start()
	c.create("t", parts, "1")
	old := c.leader("t", 0)
	var led []int32
	for i := range int32(parts) {
		if c.leader("t", i) == old {
			led = append(led, i)
			c.acked("t", i, "a")
		}
	}
	if len(led) <= maxDiverging {
		t.Fatalf("leads %d", len(led))
	}
	c.isolate(old.id, true)
	for _, i := range led {
		old.send("t", i, 1, "x", "y")
	}
	c.until("another leads", func() bool {
		for _, i := range led {
			if l := c.leader("t", i); l == nil || l == old || !l.part("t", i).Leading() {
				return false
			}
		}
		return true
	})
	for _, i := range led {
		c.acked("t", i, "b")
	}
	diverging, saves := 0, 0
	c.mangle = func(to int32, resp *kmsg.FetchResponse) {
		var all []*kmsg.FetchResponseTopic // which have one partition each
		for j := range resp.Topics {
			if resp.Topics[j].Partitions[0].DivergingEpoch.EndOffset >= 0 {
				all = append(all, &resp.Topics[j])
			}
		}
		if to != old.id || len(all) <= maxDiverging || diverging > 0 {
			return
		}
		diverging = len(all)
		all[0].Partitions[0].DivergingEpoch.Epoch = -1 // which nobody knows
		all[1].Partitions = append(all[1].Partitions, all[1].Partitions[0])
		old.disk.OnOp(func(op env.Op) error {
			if op.Kind == env.OpSync && strings.HasSuffix(op.Path, ".state") {
				saves++
			}
			return nil
		})
	}
	before := old.m.Stats()
	clear(c.cut)
	c.until("they are cut", func() bool { return old.m.Stats().Truncations > before.Truncations })
	if s := old.m.Stats(); int(s.Truncations-before.Truncations) != diverging-1 || saves > 2+1 {
		t.Fatalf("%d of %d were cut, and that was recorded %d times", s.Truncations-before.Truncations, diverging, saves)
	}
	c.until("all are in sync", c.inSync)
	for _, b := range c.nodes {
		for _, i := range led {
			all, err := b.part("t", i).stored(0, 2)
			if err != nil || len(all) != 2 || all[0].value != "a" || all[1].value != "b" || b.part("t", i).HighWatermark() != 2 {
				t.Fatalf("broker %d has %v of partition %d, %v", b.id, all, i, err)
			}
		}
	}
	if s := old.m.Stats(); s.TruncatedBelowHW != 0 {
		t.Fatalf("%+v", s)
	}
}

// TestEndsInsideABatchWhereTheLeaderStarts: a former leader's log went another way, and ends
// where that of its leader starts now, which is inside a batch: the epochs tell nothing of it.
func TestEndsInsideABatchWhereTheLeaderStarts(t *testing.T) {
	c := trio(t, "2")
	old := c.leader("t", 0)
	c.isolate(old.id, false)
	old.send("t", 0, 1, "x")
	old.send("t", 0, 1, "y")
	c.run(100 * time.Millisecond)
	old.crash(false)
	c.until("another one leads", func() bool { l := c.leader("t", 0); return l != nil && l != old && l.part("t", 0).Leading() })
	c.acked("t", 0, "a", "b", "c")
	deleted := false
	lead := c.leader("t", 0)
	lead.m.DeleteRecords([]DeletePart{{lead.part("t", 0), 2}}, time.Minute, func(op *DeleteOp) { deleted = op.Results[0].Err == nil })
	c.until("two records are deleted", func() bool { return deleted })
	clear(c.cut)
	old.open()
	if end := func() int64 {
		c.until("it is there", func() bool { return old.part("t", 0) != nil })
		return old.part("t", 0).log.EndOffset()
	}(); end != 2 {
		t.Fatalf("it ends at %d", end)
	}
	c.until("all are in sync", c.inSync)
	got, err := old.part("t", 0).stored(2, 3)
	if err != nil || len(got) != 1 || got[0].value != "c" {
		t.Errorf("it has %v, %v", got, err)
	}
}
