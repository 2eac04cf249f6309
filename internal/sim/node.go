package sim

import (
	"errors"
	"fmt"

	"github.com/leat-stream/leat/internal/api"
	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/node"
)

// bootNode makes the nodes of a cluster: the production code, all of it above sockets.
func bootNode(c *Cluster) func(*Host) (Process, error) {
	return func(h *Host) (Process, error) {
		cfg, _, err := config.Load(config.Sources{Sets: append(c.Settings.node(int(h.Node)), c.place(h)...)})
		if err != nil {
			return nil, err
		}
		life := h.life
		return node.Open(node.Options{
			Config: cfg, Log: c.Log.With("node", h.Node), FS: h.Disk, Clock: h.Clock, Exec: h.Exec,
			Seed: h.Rand.Uint64, DataDir: "/data", RequestMemory: 1 << 30, MemberMemory: 1 << 30, BootID: h.BootID,
			Loops: 2, SyncParallel: 1, JournalBytes: 256 << 10, SegmentBytes: 64 << 10,
			Caller: h.Caller(), Version: "sim", Controllers: c.controllerAt(h),
			Failed: func(err error) {
				if h.life != life || h.Disk.Crashed() { // a machine without power, in its last moment
					return
				}
				c.Count["node failed"]++
				c.Tracef("%s ends: %v", h.Name, err)
				if !errors.Is(err, errDisk) {
					c.Failf("%s ends by itself: %w", h.Name, err)
				}
				h.Exec.Go("end", func() {
					h.Kill() // what a failed sync left in the page cache is there for the next process
					c.Clock.AfterFunc(h.restartAfter(), h.startIfDown)
				})
			},
			Doors:    func() []node.Door { return c.clientDoors(h) },
			Endpoint: func(*api.Conn) (string, int32, bool) { return h.Name, 9092, true },
		})
	}
}

// node is the settings of one node.
func (s *Settings) node(id int) []string {
	return append([]string{
		fmt.Sprint("node.id=", id),
		fmt.Sprint("broker.session.timeout.ms=", s.SessionTimeout.Milliseconds()),
		fmt.Sprint("broker.heartbeat.interval.ms=", s.SessionTimeout.Milliseconds()/4),
		fmt.Sprint("replica.lag.time.max.ms=", s.ReplicaLag.Milliseconds()),
		fmt.Sprint("metadata.log.max.record.bytes.between.snapshots=", s.SnapshotBytes),
		"offsets.topic.num.partitions=3",
		fmt.Sprint("offsets.topic.replication.factor=", s.OffsetsRF),
		"num.recovery.threads.per.data.dir=1", "insecure=true",
		"group.initial.rebalance.delay.ms=500",
	}, s.More...)
}
