package sim

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/leat-stream/leat/internal/replica"
)

// harm is one thing that happens to the disk of a replica.
type harm struct {
	leads bool // to that of the leader
	cut   bool // the file is cut, else a bit is flipped
	then  func(*Host)
}

// harmer damages one replica after the other, each when all are whole.
type harmer struct {
	c     *Cluster
	part  tp
	harms []harm
	done  int
	at    time.Duration // of the last
	log   *bytes.Buffer
}

func (d *harmer) replica(h *Host) *replica.Partition {
	p, ok := h.Process.(insides)
	if !ok || !h.Serving {
		return nil
	}
	r, _ := p.Replicas().Find(replica.Ref{Topic: d.part.topic, Index: d.part.part})
	return r
}

// whole tells whether all replicas are there, in sync, and know of no damage.
func (d *harmer) whole() bool {
	for _, h := range d.c.Nodes {
		r := d.replica(h)
		if r == nil || r.Mending() || len(r.Log().Damaged()) > 0 || len(d.segments(h)) < 4 {
			return false
		}
		if p := h.Process.(insides).Image().Partition(d.part.topic, d.part.part); len(p.ISR) < 3 {
			return false
		}
	}
	return true
}

// mended is how many replicas have dropped what was damaged.
func (d *harmer) mended() int { return strings.Count(d.log.String(), "event=Refetched") }

func (d *harmer) segments(h *Host) (names []string) {
	dir := fmt.Sprintf("/data/%s-%d", d.part.topic, d.part.part)
	list, _ := h.Disk.ReadDir(dir)
	for _, e := range list {
		if strings.HasSuffix(e.Name(), ".log") {
			names = append(names, filepath.Join(dir, e.Name()))
		}
	}
	slices.Sort(names)
	return names
}

// unnoticed is how long damage is waited for that may be gone: the replay of the journal
// after a restart writes what is newest anew.
const unnoticed = 10 * time.Second

func (d *harmer) tick() {
	d.c.Clock.AfterFunc(300*time.Millisecond, d.tick)
	if d.done == len(d.harms) || d.mended() < d.done && d.c.Now() < d.at+unnoticed || !d.whole() {
		return
	}
	k := d.harms[d.done]
	i := slices.IndexFunc(d.c.Nodes, func(h *Host) bool { return d.replica(h).Leading() == k.leads })
	if i < 0 {
		return
	}
	d.done, d.at = d.done+1, d.c.Now()
	h := d.c.Nodes[i]
	name := d.segments(h)[1+d.done%2]
	d.c.Tracef("%s at %s is damaged", name, h.Name)
	h.flipped = true
	err := h.Disk.FlipBit(name, 200)
	if k.cut {
		f, oerr := h.Disk.OpenFile(name, os.O_RDWR, 0)
		if err = oerr; err == nil {
			err = errors.Join(f.Truncate(500), f.Sync(), f.Close())
		}
	}
	if err != nil {
		d.c.Failf("damaging %s: %w", name, err)
	}
	if k.then != nil {
		d.c.Clock.AfterFunc(100*time.Millisecond, func() { k.then(h) })
	}
}

// TestDamageIsMended: bits flip and files are cut on the disks of leaders and followers
// while clients work, and nodes die before they have told anybody; nothing that was
// acknowledged is lost, and in the end all replicas hold the same bytes.
func TestDamageIsMended(t *testing.T) {
	kill := func(h *Host) {
		if h.Up() {
			h.Kill()
			h.w.Clock.AfterFunc(time.Second, h.startIfDown)
		}
	}
	power := func(h *Host) {
		if h.Up() {
			h.Crash()
			h.w.Clock.AfterFunc(time.Second, h.startIfDown)
		}
	}
	for seed := uint64(1); seed <= 2; seed++ {
		cryptotest.SetGlobalRandom(t, seed)
		var out bytes.Buffer
		c := newCluster(NewWorld(seed, nil), Settings{
			Nodes: 3, SessionTimeout: 2 * time.Second, ReplicaLag: 3 * time.Second, SnapshotBytes: 16 << 10, OffsetsRF: 3,
			GroupSession: 6 * time.Second, Producers: 3, Consumers: 2, Groups: 1, Members: 2,
			Topics: []TopicSettings{{Name: "t0", Partitions: 1, RF: 3, MinISR: 2, SegmentBytes: 16 << 10}},
			More:   []string{"leat.scrub.bytes.per.second=100000000", "leat.scrub.interval.ms=1000"},
		}, slog.New(slog.NewTextHandler(&out, nil)), bootNode)
		c.load = Load{} // nobody deletes what is damaged
		d := &harmer{c: c, log: &out, part: tp{"t0", 0}, harms: []harm{
			{}, {leads: true}, {cut: true}, {leads: true, cut: true}, {then: kill}, {leads: true, then: kill}, {leads: true, then: power}, {cut: true, then: power},
		}}
		d.tick()
		if err := c.Simulate(100 * time.Second); err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, c.Report())
		}
		if n := d.mended(); d.done != len(d.harms) || n < d.done-2 {
			t.Fatalf("seed %d: %d replicas were damaged, of %d; %d were mended", seed, d.done, len(d.harms), n)
		}
		if !c.RunUntil(recovery, d.whole) {
			t.Fatalf("seed %d: not all replicas are whole", seed)
		}
		var first []byte
		for i, h := range c.Nodes {
			r := d.replica(h)
			all, err := contents(r, r.Log().StartOffset(), r.HighWatermark())
			if err != nil {
				t.Fatalf("seed %d, %s: %v", seed, h.Name, err)
			}
			if i == 0 {
				first = all
			}
			if n := min(len(all), len(first)); n == 0 || len(all) != len(first) || !bytes.Equal(all, first) {
				t.Errorf("seed %d: %s holds %d bytes, %s %d, or others", seed, h.Name, len(all), c.Nodes[0].Name, len(first))
			}
		}
		t.Logf("seed %d: %s", seed, c.Report())
	}
}
