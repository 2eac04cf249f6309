package broker

import (
	"errors"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/group"
	"github.com/leat-stream/leat/internal/machine"
)

const (
	lost  = "replicas may lack records that were acknowledged"
	led   = "led from here on by a replica that may lack records"
	stray = "data of a topic that the metadata does not know is left alone"
)

func TestPowerCutOfARelaxedTopicIsReported(t *testing.T) {
	n := start(t)
	c := n.dial()
	c.createTopic("relaxed", "leat.durability=relaxed")
	c.createTopic("durable")
	c.produce("relaxed", []byte("v"))
	c.produce("durable", []byte("v"))
	n.power()
	if !n.log.has(lost, "topic=relaxed") || !n.log.has(led, "topic=relaxed") {
		t.Fatalf("the log:\n%s", n.log)
	}
	if n.log.has(lost, "topic=durable") || n.log.has(led, "topic=durable") {
		t.Fatalf("a durable topic is suspected:\n%s", n.log)
	}
	n.eventually("the controller knows of the recovery", func() bool {
		return !n.b.node.Image().Partition("relaxed", 0).Recovering()
	})
	c = n.dial()
	c.produce("relaxed", []byte("w")) // it is served
	if got := c.fetch("durable", 0); len(got) != 1 {
		t.Fatalf("the durable topic has %q", got)
	}
	n.kill()
	if n.log.has(lost) || n.log.has(led) {
		t.Fatalf("reported again:\n%s", n.log)
	}
}

func TestKilledProcessLosesNothing(t *testing.T) {
	n := start(t)
	c := n.dial()
	c.createTopic("relaxed", "leat.durability=relaxed")
	c.produce("relaxed", []byte("v"))
	n.kill()
	if n.log.has(lost) || n.log.has(led) {
		t.Fatalf("the page cache is taken for lost:\n%s", n.log)
	}
	if got := n.dial().fetch("relaxed", 0); len(got) != 1 {
		t.Fatalf("fetched %q", got)
	}
	if e := n.b.node.Image().Partition("relaxed", 0).LeaderEpoch; e != 1 {
		t.Fatalf("leads in epoch %d after a restart", e)
	}
}

func TestCleanStopBeforeARebootLosesNothing(t *testing.T) {
	n := start(t)
	c := n.dial()
	c.createTopic("relaxed", "leat.durability=relaxed")
	c.produce("relaxed", []byte("v"))
	n.stop()
	n.power()
	if n.log.has(lost) || n.log.has(led) {
		t.Fatalf("the log:\n%s", n.log)
	}
	if got := n.dial().fetch("relaxed", 0); len(got) != 1 {
		t.Fatalf("fetched %q", got)
	}
}

// TestLossIsReportedUntilItIsRegistered: a start that dies before its registration
// leaves the report to the next one.
func TestLossIsReportedUntilItIsRegistered(t *testing.T) {
	n := start(t)
	c := n.dial()
	c.createTopic("relaxed", "leat.durability=relaxed")
	c.produce("relaxed", []byte("v"))
	n.boot = "boot-2"
	n.fs = n.disk().CrashClone(nil)
	n.open() // opens the directories, and dies
	n.restartOn(n.disk().KillClone())
	if !n.log.has(lost, "topic=relaxed") {
		t.Fatalf("the log:\n%s", n.log)
	}
}

func TestDamagedReplicaIsReported(t *testing.T) {
	n := start(t)
	c := n.dial()
	c.createTopic("t")
	for range 3 {
		c.produce("t", []byte("v"))
	}
	n.stop() // else the journal has what is missing
	n.start()
	d := n.disk().KillClone()
	// Synced bytes vanish: the file is shorter than what was recorded.
	f, err := d.OpenFile("data/t-0/00000000000000000000.log", 2, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(100); err != nil {
		t.Fatal(err)
	}
	n.restartOn(d)
	if !n.log.has(lost, "topic=t", "missing or damaged") || !n.log.has(led, "topic=t") {
		t.Fatalf("the log:\n%s", n.log)
	}
	if got := n.dial().produce("t", []byte("w")); got != 3 {
		t.Fatalf("an acknowledged offset was given to another record: %d", got)
	}
}

func TestVanishedDirectoryIsReported(t *testing.T) {
	n := start(t)
	c := n.dial()
	c.createTopic("t")
	c.produce("t", []byte("v"))
	n.kill()
	n.stop()
	if err := n.fs.RemoveAll("data/t-0"); err != nil {
		t.Fatal(err)
	}
	n.start()
	if !n.log.has(lost, "topic=t", "the directory is gone") {
		t.Fatalf("the log:\n%s", n.log)
	}
	if missing := n.b.node.Dir().Missing(); len(missing) > 0 {
		t.Fatalf("reported, and not forgotten: %v", missing)
	}
	n.kill()
	if n.log.has(lost) || n.log.has("LogMissing") {
		t.Fatalf("reported again:\n%s", n.log)
	}
}

// TestLossWithoutAStateFileIsReportedUntilItIsRegistered: what vanished together with the state
// file is not forgotten because a start died that had written another one.
func TestLossWithoutAStateFileIsReportedUntilItIsRegistered(t *testing.T) {
	n := start(t)
	c := n.dial()
	c.createTopic("t")
	c.produce("t", []byte("v"))
	n.kill() // it leads in a second epoch now
	d := n.disk().KillClone()
	for _, name := range []string{"data/t-0", "data/leat.state"} {
		if err := d.RemoveAll(name); err != nil {
			t.Fatal(err)
		}
	}
	n.fs = d
	n.open() // opens the directories, and dies
	n.restartOn(n.disk().KillClone())
	if !n.log.has(lost, "topic=t", "the directory is gone") {
		t.Fatalf("the log:\n%s", n.log)
	}
	n.kill()
	if n.log.has(lost) {
		t.Fatalf("reported again:\n%s", n.log)
	}
}

// TestDamageWhileASingleNodeRuns: what is damaged is refused and told, the rest is served.
func TestDamageWhileASingleNodeRuns(t *testing.T) {
	n := start(t, "leat.scrub.interval.ms=1000")
	c := n.dial()
	c.createTopic("t")
	for range 3 {
		c.produce("t", []byte("value"))
	}
	if err := n.disk().FlipBit("data/t-0/00000000000000000000.log", 65); err != nil {
		t.Fatal(err)
	}
	n.eventually("it is found, and told that nobody can mend it", func() bool {
		n.clock.Advance(time.Second)
		return n.log.has("NOBODY ELSE HAS WHAT IS DAMAGED: offsets 0 to 0")
	})
	n.eventually("the controller knows of the recovery", func() bool { return !n.b.node.Image().Partition("t", 0).Recovering() })
	if got := c.produce("t", []byte("w")); got != 3 {
		t.Fatalf("written at %d", got)
	}
	if got := c.fetch("t", 1); len(got) != 3 {
		t.Fatalf("around the damage: %q", got)
	}
	if s := n.b.node.Replicas().Stats(); s.Damaged != 1 || s.LostReports != 1 {
		t.Fatalf("%+v", s)
	}
}

// TestVanishedDirectoryIsReportedAfterAPowerCut: that of a topic without records is as
// it may be; what was recorded as synced must not be missing without a word.
func TestVanishedDirectoryIsReportedAfterAPowerCut(t *testing.T) {
	n := start(t)
	c := n.dial()
	c.createTopic("full")
	c.createTopic("empty")
	c.produce("full", []byte("v"))
	if err := n.b.node.Dir().Checkpoint(); err != nil {
		t.Fatal(err)
	}
	disk := n.disk().CrashClone(env.NewRand(5))
	for _, name := range []string{"data/full-0", "data/empty-0"} {
		if err := disk.RemoveAll(name); err != nil {
			t.Fatal(err)
		}
	}
	n.boot += "+"
	n.restartOn(disk)
	if !n.log.has(lost, "topic=full", "the directory is gone") {
		t.Fatalf("the log:\n%s", n.log)
	}
	if n.log.has(lost, "topic=empty") {
		t.Fatalf("an empty topic is suspected:\n%s", n.log)
	}
}

// TestFailedSyncAtTheRegistration: a disk that cannot write the note of the boot is no
// reason not to start, one that cannot sync is.
func TestFailedSyncAtTheRegistration(t *testing.T) {
	noMedium := errors.New("no medium")
	for _, c := range []struct {
		kind, path string
		refused    bool
	}{
		{env.OpWrite, "data/registered.properties" + ".tmp", false},
		{env.OpSync, "data/registered.properties" + ".tmp", true},
		{env.OpSyncDir, "data", true},
	} {
		n := prepare(t)
		n.open()
		noted := false
		n.disk().OnOp(func(op env.Op) error {
			noted = noted || strings.HasPrefix(op.Path, "data/registered.properties")
			if noted && op.Kind == c.kind && op.Path == c.path {
				return noMedium
			}
			return nil
		})
		if err := n.b.Start(t.Context()); errors.Is(err, noMedium) != c.refused {
			t.Errorf("%s of %s fails: the start says %v", c.kind, c.path, err)
		}
		n.disk().OnOp(nil)
	}
}

// partitionDirs lists the directories of partitions of user topics.
func (n *testNode) partitionDirs() string {
	n.t.Helper()
	list, err := n.fs.ReadDir("data")
	if err != nil {
		n.t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		if e.IsDir() && strings.Contains(e.Name(), "-") && !strings.HasSuffix(e.Name(), "-delete") && !strings.HasPrefix(e.Name(), "__") {
			names = append(names, e.Name())
		}
	}
	return strings.Join(names, " ")
}

// TestDeletionOutlivesTheProcess: the deletion is committed, and the process dies
// before the files go.
func TestDeletionOutlivesTheProcess(t *testing.T) {
	n := start(t)
	c := n.dial()
	c.createTopic("gone")
	c.createTopic("kept")
	c.produce("gone", []byte("v"))
	c.produce("kept", []byte("v"))
	n.failRenames("data/gone-0")
	c.deleteTopic("gone") // committed
	if got := n.partitionDirs(); got != "gone-0 kept-0" {
		t.Fatalf("directories: %s", got)
	}
	n.kill()
	if got := n.partitionDirs(); got != "kept-0" {
		t.Fatalf("directories after the restart: %s", got)
	}
	if n.log.has(stray) {
		t.Fatalf("the log:\n%s", n.log)
	}
	if got := n.dial().fetch("kept", 0); len(got) != 1 {
		t.Fatalf("fetched %q", got)
	}
}

// TestPowerCutInTheMiddleOfADeletion: at whatever operation on the disk the power goes,
// afterwards the topic is there with its records, or gone with its directory.
func TestPowerCutInTheMiddleOfADeletion(t *testing.T) {
	for cut := 1; ; cut++ {
		n := start(t)
		c := n.dial()
		c.createTopic("t")
		c.produce("t", []byte("v"))
		n.dead.Store(true)
		disk := n.disk()
		disk.CrashAt(cut)
		answered := make(chan struct{})
		go func() {
			defer close(answered)
			name := "t"
			req := kmsg.NewPtrDeleteTopicsRequest()
			req.Version = 6
			topic := kmsg.NewDeleteTopicsRequestTopic()
			topic.Topic = &name
			req.Topics = append(req.Topics, topic)
			c.try(req) // may never be answered
		}()
		over := false
		n.eventually("the power goes, or the deletion is done", func() bool {
			select {
			case <-answered:
				over = !disk.Crashed()
				return true
			default:
				return disk.Crashed()
			}
		})
		n.power()
		known := n.b.node.Image().Topic("t") != nil
		switch dirs := n.partitionDirs(); {
		case known && dirs != "t-0", !known && dirs != "":
			t.Fatalf("power cut at operation %d: the topic is known: %v, directories: %q", cut, known, dirs)
		case known:
			if got := n.dial().fetch("t", 0); len(got) != 1 {
				t.Fatalf("power cut at operation %d: fetched %q", cut, got)
			}
		case n.log.has(stray):
			t.Fatalf("power cut at operation %d:\n%s", cut, n.log)
		}
		if over {
			return
		}
	}
}

func (n *testNode) failRenames(path string) {
	n.disk().OnOp(func(o env.Op) error {
		if o.Kind == env.OpRename && o.Path == path {
			return syscall.ENOSPC
		}
		return nil
	})
}

// TestNoSnapshotStandsForAnUnfinishedDeletion: a snapshot forgets the topic, and with
// it that its files may go.
func TestNoSnapshotStandsForAnUnfinishedDeletion(t *testing.T) {
	n := start(t, "metadata.log.max.record.bytes.between.snapshots=1")
	newest := func() string {
		list, err := n.fs.ReadDir("data/metadata")
		if err != nil {
			t.Fatal(err)
		}
		name := ""
		for _, e := range list {
			if strings.Contains(e.Name(), "snap") {
				name = e.Name()
			}
		}
		return name
	}
	c := n.dial()
	c.createTopic("gone")
	c.createTopic("other")
	c.produce("gone", []byte("v"))
	c.produce("other", []byte("v"))
	n.eventually("snapshots are taken", func() bool { return newest() != "" })
	due := n.b.node.SnapshotDue
	n.failRenames("data/gone-0")
	c.deleteTopic("gone")
	n.eventually("a snapshot has to wait", due)
	c.createTopic("more")
	n.clock.Advance(2 * time.Second)
	if !due() {
		t.Fatal("a snapshot was taken while the deleted files are there")
	}
	n.disk().OnOp(nil)
	n.eventually("the deletion is carried out", func() bool { return n.partitionDirs() == "other-0" })
	n.eventually("the snapshot is taken", func() bool { return !due() })
}

// TestUnknownDataIsLeftAlone: data is never deleted because metadata is missing.
func TestUnknownDataIsLeftAlone(t *testing.T) {
	n := start(t)
	c := n.dial()
	c.createTopic("a")
	c.produce("a", []byte("v"))
	n.stop()
	if err := n.fs.MkdirAll("data/foreign-3", 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := n.fs.OpenFile("data/foreign-3/partition.metadata", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("version: 0\ntopic_id: AAECAwQFBgcICQoLDA0ODw"), 0); err != nil {
		t.Fatal(err)
	}
	if err := n.fs.Rename("data/a-0", "data/moved-0"); err != nil {
		t.Fatal(err)
	}
	n.start()
	if !n.log.has(stray, "path=data/foreign-3", "AAECAwQFBgcICQoLDA0ODw") || !n.log.has(stray, "path=data/moved-0") {
		t.Fatalf("the log:\n%s", n.log)
	}
	c = n.dial()
	c.createTopic("gone")
	c.deleteTopic("gone")
	n.clock.Advance(time.Hour)
	n.kill()
	n.stop()
	n.start()
	if got := n.partitionDirs(); got != "foreign-3 moved-0" { // nobody wrote to what is a-0 now
		t.Fatalf("directories: %s", got)
	}
}

func TestMissingMetadataRefusesTheStart(t *testing.T) {
	n := start(t)
	c := n.dial()
	c.createTopic("a")
	c.produce("a", []byte("v"))
	n.stop()
	if err := n.fs.RemoveAll("data/metadata"); err != nil {
		t.Fatal(err)
	}
	wants(t, n.refused(), "data directory data", "metadata log", "missing")
	if got := n.partitionDirs(); got != "a-0" {
		t.Fatalf("directories: %s", got)
	}
}

// committed lists the topics of which the groups have offsets.
func (n *testNode) committed(shard string) (names []string) {
	n.t.Helper()
	done := make(chan []string, 1)
	n.b.node.Groups().View(shard, func(m machine.Machine) any { return m.(*group.Machine).Topics() }, func(body any, _ error) {
		var names []string
		topics, _ := body.([]group.Topic)
		for _, t := range topics {
			names = append(names, t.Name)
		}
		done <- names
	})
	return <-done
}

// TestOffsetsOfTopicsDeletedMeanwhile: a coordinator that comes back after a topic was
// deleted removes its offsets.
func TestOffsetsOfTopicsDeletedMeanwhile(t *testing.T) {
	n := start(t, "offsets.topic.num.partitions=1")
	c := n.dial()
	c.createTopic("kept")
	n.coordinator(c, "g")
	commit := func(name string, id [16]byte) {
		req := kmsg.NewPtrOffsetCommitRequest()
		req.Version, req.Group, req.Generation = 7, "g", -1
		topic := kmsg.NewOffsetCommitRequestTopic()
		topic.Topic, topic.TopicID = name, id
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Offset = 1
		topic.Partitions = append(topic.Partitions, p)
		req.Topics = append(req.Topics, topic)
		done := make(chan error, 1)
		n.b.node.Groups().Submit("groups-0", group.CommitOffsets{Req: req}, func(_ any, err error) { done <- err })
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	img := n.b.node.Image()
	commit("kept", img.Topic("kept").ID)
	commit("unnamed", [16]byte{})
	commit("gone", [16]byte{1})
	n.kill()
	n.eventually("the offsets are gone", func() bool { return slices.Equal(n.committed("groups-0"), []string{"kept"}) })
	c = n.dial()
	c.deleteTopic("kept")
	n.eventually("and those of a topic deleted now", func() bool { return len(n.committed("groups-0")) == 0 })
}
