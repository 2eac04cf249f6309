package replica

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestAnswersThatComeAfterTheStop are no trouble: a follower whose log directory is closed
// tells of none of its partitions that it cannot follow.
func TestAnswersThatComeAfterTheStop(t *testing.T) {
	for _, diverging := range []bool{false, true} {
		t.Run(fmt.Sprint("diverging ", diverging), func(t *testing.T) {
			const parts = 100
			c := newCluster(t, 1, 2)
			c.start()
			c.create("t", parts, "1")
			for i := range int32(parts) {
				c.acked("t", i, "a")
			}
			c.until("all are in sync", c.inSync)
			victim, late := c.nodes[0], 0
			c.mangle = func(to int32, resp *kmsg.FetchResponse) {
				if to != victim.id {
					return
				}
				for i := range resp.Topics {
					for j := range resp.Topics[i].Partitions {
						if p := &resp.Topics[i].Partitions[j]; len(p.RecordBatches) > 0 {
							late++
							if diverging {
								p.RecordBatches, p.DivergingEpoch.Epoch, p.DivergingEpoch.EndOffset = nil, 0, 0
							}
						}
					}
				}
				if late > 0 {
					victim.m.Stop()
					if err := victim.dir.Close(true); err != nil {
						t.Fatal(err)
					}
				}
			}
			c.events = nil
			for i := range int32(parts) {
				if l := c.leader("t", i); l != victim {
					l.send("t", i, 1, "b")
				}
			}
			c.run(time.Second)
			if n := c.told("ReplicaFailed"); late == 0 || n > 0 {
				t.Fatalf("%d answers came late, of %d of which was complained", late, n)
			}
		})
	}
}
