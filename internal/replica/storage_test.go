package replica

import (
	"strings"
	"syscall"
	"testing"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/log"
)

func TestFullDiskRefusesProducersAndHealsAlone(t *testing.T) {
	w := newWorld(t)
	w.create("t", 1, durable())
	w.create("u", 1, durable())
	w.send("t", 0, -1, "a")
	w.mustSync()
	w.disk.SetFree(0)
	w.expect(w.send("t", 0, -1, "b"), storage)
	w.expect(w.send("u", 0, 1, "b"), storage)
	w.expectRead("t", 0, 0, "a, hw 1") // reads go on
	w.remove("u")                      // deletions go on
	if w.m.Failed() != nil {
		t.Fatal("a full disk took the directory offline")
	}
	w.disk.SetFree(-1)
	a := w.send("t", 0, -1, "c")
	w.mustSync()
	w.expect(a, "1-1")
	w.expectRead("t", 0, 0, "a,c, hw 2")
	w.power(nil)
	w.expectRead("t", 0, 0, "a,c, hw 2")
}

func TestRetentionGoesOnWhenTheDiskIsFull(t *testing.T) {
	w := newWorld(t)
	s := durable()
	s.Log.SegmentBytes, s.Log.RetentionBytes = 1000, 2000
	w.create("t", 1, s)
	for range 10 {
		w.send("t", 0, 1, strings.Repeat("x", 700))
	}
	w.mustSync()
	if err := w.dir.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	w.disk.SetFree(0)
	w.m.Retain(w.clock.Now(), func(id logID, err error) { t.Fatalf("%v: %v", id, err) })
	if start := w.part("t", 0).Log().StartOffset(); start == 0 {
		t.Fatal("nothing was deleted")
	}
}

// TestTopicCreatedOnAFullDisk takes writes once there is room: nothing of it is made before.
func TestTopicCreatedOnAFullDisk(t *testing.T) {
	w := newWorld(t)
	w.disk.OnOp(func(o env.Op) error {
		if strings.HasPrefix(o.Path, "data/u-") {
			return syscall.ENOSPC
		}
		return nil
	})
	w.create("u", 2, durable())
	w.expect(w.send("u", 1, -1, "a"), storage)
	w.disk.OnOp(nil)
	a := w.send("u", 1, -1, "a")
	w.mustSync()
	w.expect(a, "0-0")
	if got := w.dirs(); got != "u-1" {
		t.Fatalf("directories: %s", got)
	}
}

// TestPartitionThatCannotBeOpened is opened by Retry: another topic has left records there,
// and its directory cannot be put aside at first.
func TestPartitionThatCannotBeOpened(t *testing.T) {
	w := newWorld(t)
	other := log.LogID{Topic: "u", Partition: 1, TopicID: [16]byte{1: 7}}
	l, err := w.dir.OpenLog(other, durable().Log, log.Hooks{})
	if err == nil {
		_, err = l.Append(w.batch("x"), log.AppendOptions{Now: w.clock.Now()})
	}
	if err != nil {
		t.Fatal(err)
	}
	w.disk.OnOp(func(o env.Op) error {
		if strings.HasPrefix(o.Path, "data/u-") {
			return syscall.ENOSPC
		}
		return nil
	})
	w.topics["u"] = durable()
	w.topicRecords("u", 2)
	if err := w.apply(); err == nil {
		t.Fatal("the partitions were opened")
	}
	if _, err := w.m.Find(Ref{Topic: "u", Index: 1}); err == nil {
		t.Fatal("the partition is there")
	}
	if err := w.m.Retry(w.img); err == nil {
		t.Fatal("a retry on a full disk succeeded")
	}
	w.disk.OnOp(nil)
	if err := w.m.Retry(w.img); err != nil {
		t.Fatal(err)
	}
	a := w.send("u", 1, -1, "a")
	w.mustSync()
	w.expect(a, "0-0")
	if len(w.m.unopened) != 0 {
		t.Fatalf("still to be opened: %v", w.m.unopened)
	}
}

func TestFailedSyncTakesTheDirectoryOffline(t *testing.T) {
	w := newWorld(t)
	w.create("t", 2, durable())
	w.send("t", 0, -1, "a")
	w.mustSync()
	pending := w.send("t", 0, -1, "b")
	other := w.send("t", 1, -1, "c")
	poll := w.poll(1, from("t", 0, 1))
	w.disk.FailSyncs(syscall.EIO)
	if err := w.sync(); err == nil {
		t.Fatal("the sync round succeeded")
	}
	w.expect(pending, storage)
	w.expect(other, storage)
	w.expect(poll, "nothing, hw 1")
	if w.m.Failed() == nil {
		t.Fatal("the directory is online")
	}
	w.disk.FailSyncs(nil)
	if err := w.sync(); err == nil {
		t.Fatal("a failed sync was tried again")
	}
	w.expect(w.send("t", 0, -1, "d"), storage)
	w.expect(w.send("t", 0, 1, "d"), storage)
	w.expectRead("t", 0, 0, "a, hw 1") // reads go on, of what is known to be safe
	w.power(nil)
	if got := w.read("t", 0, 0); got != "a, hw 1" && got != "a,b, hw 2" {
		t.Fatalf("after the restart: %q", got)
	}
	a := w.send("t", 0, -1, "e")
	w.mustSync()
	if !a.answered || a.results[0].Err != nil {
		t.Fatalf("after the restart: %v", a)
	}
}

func TestReadErrorIsAStorageErrorOfItsPartition(t *testing.T) {
	w := newWorld(t)
	w.create("t", 2, durable())
	w.send("t", 0, 1, "a")
	w.send("t", 1, 1, "b")
	w.mustSync()
	w.disk.FailReads(func(name string, _ int64, _ int) error {
		if strings.Contains(name, "t-0/") && strings.HasSuffix(name, ".log") {
			return syscall.EIO
		}
		return nil
	})
	f := w.poll(1, from("t", 0, 0), from("t", 1, 0)).String()
	if !strings.HasSuffix(f, "; b, hw 1") {
		t.Fatalf("the healthy partition was not read: %q", f)
	}
}
