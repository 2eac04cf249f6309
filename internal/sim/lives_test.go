package sim

import (
	"log/slog"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/api"
	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/log"
	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/replica"
)

// TestStartWithoutRoomForANote: a node that cannot note that it is about to register does not
// register. It would be taken for an old copy of its directory when it is started again, and
// report all that it has as lost.
func TestStartWithoutRoomForANote(t *testing.T) {
	for seed := uint64(1); seed <= 2; seed++ {
		c, out := voters(t, seed)
		victim := c.Nodes[2]
		c.admin.create(TopicSettings{Name: "t", Partitions: 3, RF: 3, MinISR: 2, SegmentBytes: 1 << 20}, func() {})
		serves := func() bool { return victim.Serving }
		startFull := func(served bool) {
			t.Helper()
			victim.Kill()
			victim.Disk.OnOp(func(op env.Op) error {
				if strings.Contains(op.Path, "registered.properties") {
					return syscall.ENOSPC
				}
				return nil
			})
			victim.Start()
			if got := c.RunUntil(forming, serves); got != served {
				t.Fatalf("seed %d: full, it serves: %v", seed, got)
			}
		}
		startFull(false)
		victim.Disk.OnOp(nil)
		if !c.RunUntil(forming, serves) {
			t.Fatalf("seed %d: it does not serve once there is room", seed)
		}
		startFull(false)
		victim.Kill()
		victim.Start()
		if !c.RunUntil(forming, serves) {
			t.Fatalf("seed %d: it does not serve", seed)
		}
		if said := out.String(); strings.Contains(said, "old copy") || c.Err() != nil {
			t.Errorf("seed %d: %v\n%.2000s", seed, c.Err(), said[max(0, strings.Index(said, "old copy")-500):])
		}
	}
}

// TestLossIsToldThoughTheRegistrationIsAskedAgain: a node that lost logs registers before it
// knows what it has to hold, the answer is lost, and by the time it asks again it knows. That
// it lacks records is heard all the same: none of them may be led by it (seed 130001046).
func TestLossIsToldThoughTheRegistrationIsAskedAgain(t *testing.T) {
	for seed := uint64(1); seed <= 4; seed++ {
		cryptotest.SetGlobalRandom(t, seed)
		c := newCluster(NewWorld(seed, nil), Settings{
			Nodes: 4, SyncTime: 10 * time.Millisecond, SessionTimeout: 4 * time.Second, ReplicaLag: 500 * time.Millisecond, SnapshotBytes: 1 << 20, OffsetsRF: 3, Producers: 3,
			Topics: []TopicSettings{{Name: "t0", Partitions: 8, RF: 4, MinISR: 4, SegmentBytes: 1 << 20}},
			More:   []string{"log.flush.offset.checkpoint.interval.ms=1000"},
		}, slog.New(slog.DiscardHandler), bootNode)
		c.load = Load{}
		until := func(limit time.Duration, what string, ok func() bool) {
			t.Helper()
			if !c.RunUntil(limit, ok) || c.Err() != nil {
				t.Fatalf("seed %d: not within %v: %s: %v", seed, limit, what, c.Err())
			}
		}
		for _, h := range c.Nodes {
			h.Start()
		}
		until(forming, "the cluster forms", func() bool { return c.serving() == 4 })
		made := false
		c.admin.create(c.Settings.Topics[0], func() { made = true })
		until(forming, "the topic is made", func() bool { return made })
		c.startClients()
		parts := func() []*metadata.Partition { return c.inv.newest.Topic("t0").Partitions }
		victim := c.Nodes[3] // it has no vote, and has to ask for the metadata
		recorded := func() (ids []log.LogID) {
			victim.Process.(insides).Replicas().Each(func(p *replica.Partition) {
				if id := p.ID(); id.Topic == "t0" && p.Log().RecordedPoint() > 0 {
					ids = append(ids, id)
				}
			})
			return ids
		}
		until(forming, "it has records", func() bool { return len(recorded()) >= 3 })
		gone := recorded()
		victim.Kill()
		until(forming, "it is eligible", func() bool {
			return !slices.ContainsFunc(gone, func(id log.LogID) bool { return !slices.Contains(parts()[id.Partition].ELR(), victim.Node) })
		})
		for _, id := range gone {
			if err := victim.Disk.RemoveAll("/data/" + id.String()); err != nil {
				t.Fatal(err)
			}
			c.inv.vanishes(victim.Node, id)
		}
		told, blocked := 0, (*Host)(nil)
		c.Returning = func(req *kmsg.BrokerRegistrationRequest) {
			c.inv.returns(req)
			reg, err := api.UnpackRegistration(req)
			if err != nil {
				t.Fatal(err)
			}
			told = len(reg.Lost)
		}
		c.Registering = func(_, to *Host) {
			switch {
			case blocked == nil: // it asks for the first time
				blocked = to
				c.SetPath(to, victim, Path{Blocked: true})
			case told > 0:
				c.Registering = nil
				for _, l := range slices.Clone(c.links) {
					if l.from == victim && l.to == blocked {
						l.Reset()
					}
				}
				c.SetPath(blocked, victim, fast)
			}
		}
		victim.Start()
		until(forming, "it serves, and was looked at", func() bool {
			return victim.Serving && len(c.inv.vanished) == 0
		})
		if told == 0 {
			t.Errorf("seed %d: its registration was never asked again", seed)
		}
	}
}
