package quorum

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/goleak"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/machine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder keeps what the hooks were told.
type recorder struct {
	mu       sync.Mutex
	log      []string
	entries  []string
	term     uint64
	restored string
	fail     error
}

func (r *recorder) hooks() Hooks {
	note := func(format string, args ...any) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.log = append(r.log, fmt.Sprintf(format, args...))
	}
	return Hooks{
		Restore: func(m SnapshotMeta, data io.Reader) error {
			b, err := io.ReadAll(data)
			r.mu.Lock()
			r.restored, r.entries = string(b), nil
			r.mu.Unlock()
			return err
		},
		Commit: func(e Entry) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.entries = append(r.entries, string(e.Data))
			return r.fail
		},
		Lead:        func(term uint64) { note("lead %d", term); r.mu.Lock(); r.term = term; r.mu.Unlock() },
		Resign:      func(term uint64) { note("resign %d", term); r.mu.Lock(); r.term = 0; r.mu.Unlock() },
		SnapshotDue: func(index uint64) { note("due %d", index) },
	}
}

func (r *recorder) leads() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.term
}

func (r *recorder) seen() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.entries)
}

func (r *recorder) said() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.log)
}

func options(fs env.FS, h Hooks) Options {
	return Options{FS: fs, Dir: crashDir, Clock: env.Real, Self: self, Voters: []Member{self}, Hooks: h, SegmentBytes: 4096}
}

func start(t *testing.T, o Options) *Node {
	t.Helper()
	n, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	n.Start()
	return n
}

func mustAppend(t *testing.T, n *Node, term uint64, data string) uint64 {
	t.Helper()
	index, err := n.Append(term, []byte(data))
	if err != nil {
		t.Fatal(err)
	}
	return index
}

// TestOrderOfOperations pins what the disk sees: nothing is told before its sync.
func TestOrderOfOperations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newDisk(t)
		disk.Record()
		r := &recorder{}
		n := start(t, options(disk, r.hooks()))
		synctest.Wait()
		mustAppend(t, n, r.leads(), "one")
		synctest.Wait()
		if err := n.TakeSnapshot(n.Status().Applied, func(w io.Writer) error { _, err := io.WriteString(w, "state"); return err }); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		got := strings.Join(disk.Recorded(), "\n") + "\n"
		golden(t, "testdata/operations.txt", []byte(got))
	})
}

func TestNodeLeadsAloneAndRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newDisk(t)
		var want []string
		for round := range 4 {
			r := &recorder{}
			n := start(t, options(disk, r.hooks()))
			begun := time.Now()
			synctest.Wait()
			if r.leads() == 0 || time.Since(begun) != 0 {
				t.Fatalf("round %d: no leader at once: %v", round, n.Status())
			}
			if !slices.Equal(r.seen(), want) {
				t.Fatalf("round %d: restored %d entries, want %d", round, len(r.seen()), len(want))
			}
			for i := range 40 {
				s := fmt.Sprintf("%d-%d %100d", round, i, 0)
				mustAppend(t, n, r.leads(), s)
				want = append(want, s)
			}
			synctest.Wait()
			if !slices.Equal(r.seen(), want) {
				t.Fatalf("round %d: committed %d entries, want %d", round, len(r.seen()), len(want))
			}
			if err := n.Close(); err != nil {
				t.Fatal(err)
			}
			if round%2 == 1 {
				disk = disk.CrashClone(nil)
			}
		}
	})
}

func TestNodeRefusesAppends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{}
		n := start(t, options(newDisk(t), r.hooks()))
		synctest.Wait()
		if _, err := n.Append(r.leads()+1, []byte("x")); !errors.Is(err, ErrNotLeader) {
			t.Fatalf("a term to come: %v", err)
		}
		if _, err := n.Append(r.leads()-1, []byte("x")); !errors.Is(err, ErrNotLeader) {
			t.Fatalf("a passed term: %v", err)
		}
		if _, err := n.Append(r.leads(), make([]byte, MaxEntryBytes+1)); !errors.Is(err, ErrTooLarge) {
			t.Fatalf("too large: %v", err)
		}
		if _, err := n.Append(r.leads(), nil); err == nil {
			t.Fatal("an entry without data was taken")
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := n.Append(1, []byte("x")); !errors.Is(err, ErrClosed) {
			t.Fatalf("closed: %v", err)
		}
	})
}

func TestNodeFailsForGoodOnFailedSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newDisk(t)
		r := &recorder{}
		n := start(t, options(disk, r.hooks()))
		synctest.Wait()
		disk.FailSyncs(syscall.EIO)
		mustAppend(t, n, r.leads(), "lost")
		<-n.Failed()
		disk.FailSyncs(nil)
		synctest.Wait()
		if err := n.Err(); !errors.Is(err, ErrFailed) || !errors.Is(err, syscall.EIO) {
			t.Fatalf("failed with %v", err)
		}
		if _, err := n.Append(r.leads(), []byte("x")); !errors.Is(err, ErrFailed) {
			t.Fatalf("append: %v", err)
		}
		if len(r.seen()) != 0 {
			t.Fatal("an entry was committed whose sync failed")
		}
		disk.Record()
		if err := n.Close(); !errors.Is(err, syscall.EIO) {
			t.Fatalf("close: %v", err)
		}
		if ops := disk.Recorded(); len(ops) != 0 {
			t.Fatalf("written after the failure: %v", ops)
		}
	})
}

// TestNodeFailsForGoodOnAnyFailedSync: of a snapshot or of a new segment as well, and
// also when the sync says that the disk is full, which a write may wait out.
func TestNodeFailsForGoodOnAnyFailedSync(t *testing.T) {
	for name, at := range map[string]func(env.Op) bool{
		"snapshot":                func(op env.Op) bool { return op.Kind == env.OpSync && strings.HasSuffix(op.Path, tmpSuffix) },
		"directory of a snapshot": func(op env.Op) bool { return op.Kind == env.OpSyncDir },
		"new segment":             func(op env.Op) bool { return op.Kind == env.OpSync && strings.HasSuffix(op.Path, segmentName(2)) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk := newDisk(t)
				r := &recorder{}
				n := start(t, options(disk, r.hooks()))
				synctest.Wait()
				disk.OnOp(func(op env.Op) error {
					if at(op) {
						return syscall.ENOSPC
					}
					return nil
				})
				if name == "new segment" {
					for i := range 100 {
						if _, err := n.Append(r.leads(), fmt.Appendf(nil, "%d %100d", i, 0)); err != nil {
							break
						}
						synctest.Wait()
					}
				} else if err := n.TakeSnapshot(n.Status().Applied, func(io.Writer) error { return nil }); !errors.Is(err, syscall.ENOSPC) {
					t.Fatalf("the snapshot was written: %v", err)
				}
				synctest.Wait()
				if err := n.Err(); !errors.Is(err, ErrFailed) || !errors.Is(err, syscall.ENOSPC) {
					t.Errorf("failed with %v", err)
				}
				disk.OnOp(nil)
				if err := n.Close(); !errors.Is(err, syscall.ENOSPC) {
					t.Errorf("close: %v", err)
				}
			})
		})
	}
}

func TestNodeWaitsForSpace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newDisk(t)
		r := &recorder{}
		n := start(t, options(disk, r.hooks()))
		synctest.Wait()
		disk.SetFree(0)
		for i := range 100 { // fills the segment, which cannot be followed by another
			mustAppend(t, n, r.leads(), fmt.Sprintf("%d %100d", i, 0))
			synctest.Wait()
		}
		if got := len(r.seen()); got == 0 || got == 100 {
			t.Fatalf("%d entries committed on a full disk", got)
		}
		time.Sleep(time.Minute)
		if n.Err() != nil {
			t.Fatal(n.Err())
		}
		disk.SetFree(-1)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := len(r.seen()); got != 100 {
			t.Fatalf("%d entries committed once there was space", got)
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		r2 := &recorder{}
		n = start(t, options(disk.CrashClone(nil), r2.hooks()))
		synctest.Wait()
		if !slices.Equal(r2.seen(), r.seen()) {
			t.Fatal("another log after the disk was full")
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestNodeWaitsForQuota: a quota that is used up is a full disk.
func TestNodeWaitsForQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newDisk(t)
		r := &recorder{}
		n := start(t, options(disk, r.hooks()))
		synctest.Wait()
		disk.OnOp(func(op env.Op) error {
			if op.Kind == env.OpWrite || op.Kind == env.OpCreate {
				return syscall.EDQUOT
			}
			return nil
		})
		for i := range 100 {
			mustAppend(t, n, r.leads(), fmt.Sprintf("%d %100d", i, 0))
			synctest.Wait()
		}
		if got := len(r.seen()); got == 100 || n.Err() != nil {
			t.Fatalf("%d entries committed beyond the quota, %v", got, n.Err())
		}
		disk.OnOp(nil)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := len(r.seen()); got != 100 {
			t.Fatalf("%d entries committed once there was space", got)
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestNodeClosesOnFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newDisk(t)
		r := &recorder{}
		o := options(disk, r.hooks())
		o.SegmentBytes = 1
		n := start(t, o)
		synctest.Wait()
		disk.SetFree(0)
		mustAppend(t, n, r.leads(), "waits")
		synctest.Wait()
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestNodeFailsOnHookError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{fail: errors.New("unknown record")}
		n := start(t, options(newDisk(t), r.hooks()))
		synctest.Wait()
		mustAppend(t, n, r.leads(), "x")
		<-n.Failed()
		if err := n.Close(); !errors.Is(err, r.fail) {
			t.Fatalf("close: %v", err)
		}
	})
}

func TestNodeSnapshots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newDisk(t)
		r := &recorder{}
		o := options(disk, r.hooks())
		o.SnapshotBytes, o.KeepEntries = 5000, 3
		n := start(t, o)
		synctest.Wait()
		for i := range 60 {
			mustAppend(t, n, r.leads(), fmt.Sprintf("%d %100d", i, 0))
			synctest.Wait()
		}
		if said := r.said(); len(said) != 2 || !strings.HasPrefix(said[1], "due ") {
			t.Fatalf("told %v, want one snapshot due", said)
		}
		at := n.Status().Applied
		state := func(w io.Writer) error { _, err := io.WriteString(w, strings.Repeat("state", 50_000)); return err }
		if err := n.TakeSnapshot(at+1, state); err == nil {
			t.Fatal("a snapshot of what is not applied")
		}
		for range 2 { // the second does nothing
			if err := n.TakeSnapshot(at, state); err != nil {
				t.Fatal(err)
			}
		}
		failed := errors.New("cannot write it")
		mustAppend(t, n, r.leads(), "last")
		synctest.Wait()
		if err := n.TakeSnapshot(at+1, func(io.Writer) error { return failed }); !errors.Is(err, failed) {
			t.Fatalf("failed snapshot: %v", err)
		}
		if st := n.Status(); st.Snapshot != at || st.First != at-2 || st.Last != at+1 {
			t.Fatalf("status %+v, snapshot at %d", st, at)
		}
		if _, err := n.ReadCommitted(at-3, 1<<20); !errors.Is(err, ErrCompacted) {
			t.Fatalf("read behind the snapshot: %v", err)
		}
		es, err := n.ReadCommitted(at-2, 150)
		if err != nil || len(es) != 1 || es[0].Index != at-2 {
			t.Fatalf("read %v, %v", es, err)
		}
		es, err = n.ReadCommitted(at-2, 1<<20)
		if err != nil || len(es) != 4 || string(es[3].Data) != "last" {
			t.Fatalf("read %v, %v", es, err)
		}
		if es, err = n.ReadCommitted(at+2, 1<<20); err != nil || len(es) != 0 {
			t.Fatalf("read ahead: %v, %v", es, err)
		}
		f, err := n.OpenSnapshot()
		if err != nil || f.Meta().Index != at {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(f); err != nil || len(b) != 250_000 {
			t.Fatalf("snapshot of %d bytes, %v", len(b), err)
		}
		if err := errors.Join(f.Close(), n.Close()); err != nil {
			t.Fatal(err)
		}
		l, err := list(disk, crashDir)
		if err != nil || len(l.segments) > 2 || len(l.leftovers) > 0 {
			t.Fatalf("left: %+v, %v", l, err)
		}
		r = &recorder{}
		n = start(t, options(disk.CrashClone(nil), r.hooks()))
		synctest.Wait()
		if len(r.restored) != 250_000 || !slices.Equal(r.seen(), []string{"last"}) {
			t.Fatalf("restored %d bytes and %v", len(r.restored), r.seen())
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// group starts nodes that are connected by function calls.
type group struct {
	nodes []*Node
	recs  []*recorder
	disks []*env.Disk
	mu    sync.Mutex
	alive map[uint64]*Node
}

func (g *group) send(ms []*raftpb.Message) {
	for _, m := range ms {
		g.mu.Lock()
		n, from := g.alive[m.GetTo()], g.alive[m.GetFrom()]
		g.mu.Unlock()
		if n != nil && from != nil {
			n.Step(m)
		}
	}
}

func (g *group) leader(t *testing.T) int {
	t.Helper()
	time.Sleep(10 * time.Second)
	synctest.Wait()
	for i, n := range g.nodes {
		if n != nil && g.recs[i].leads() != 0 {
			return i
		}
	}
	t.Fatal("no leader")
	return -1
}

func (g *group) start(t *testing.T, i int, voters []Member) {
	t.Helper()
	o := options(g.disks[i], g.recs[i].hooks())
	o.Self, o.Voters, o.Send = voters[i], voters, g.send
	n, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	g.nodes[i] = n
	g.mu.Lock()
	g.alive[n.ID()] = n
	g.mu.Unlock()
	n.Start()
}

func (g *group) stop(t *testing.T, i int) {
	t.Helper()
	g.mu.Lock()
	delete(g.alive, g.nodes[i].ID())
	g.mu.Unlock()
	if err := g.nodes[i].Close(); err != nil {
		t.Fatal(err)
	}
	g.nodes[i] = nil
}

// TestNodesFailOver runs three shells: what the leader committed is there after it
// went away, on the next leader and on itself when it comes back.
func TestNodesFailOver(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 1)
	synctest.Test(t, func(t *testing.T) {
		g := &group{nodes: make([]*Node, 3), alive: map[uint64]*Node{}}
		var voters []Member
		for i := range 3 {
			voters = append(voters, Member{NodeID: int32(i)})
			g.disks, g.recs = append(g.disks, newDisk(t)), append(g.recs, &recorder{})
		}
		for i := range 3 {
			g.start(t, i, voters)
		}
		var want []string
		for round := range 3 {
			lead := g.leader(t)
			for i := range 10 {
				s := fmt.Sprint(round, "-", i)
				mustAppend(t, g.nodes[lead], g.recs[lead].leads(), s)
				want = append(want, s)
			}
			time.Sleep(time.Second)
			g.stop(t, lead)
			next := g.leader(t)
			if next == lead || !slices.Equal(g.recs[next].seen(), want) {
				t.Fatalf("round %d: leader %d has %v, want %v", round, next, g.recs[next].seen(), want)
			}
			g.recs[lead] = &recorder{}
			g.start(t, lead, voters)
			time.Sleep(5 * time.Second)
			synctest.Wait()
			for i, r := range g.recs {
				if !slices.Equal(r.seen(), want) {
					t.Fatalf("round %d: node %d has %v, want %v", round, i, r.seen(), want)
				}
			}
		}
		// A leader that is cut off resigns.
		lead := g.leader(t)
		g.mu.Lock()
		delete(g.alive, g.nodes[lead].ID())
		g.mu.Unlock()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if g.recs[lead].leads() != 0 {
			t.Fatal("a leader without a quorum did not resign")
		}
		for _, n := range g.nodes {
			if err := n.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestOpenLogKeepsOffsetsApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &owner{}
		l := openLog(t, newDisk(t), o, nil)
		defer l.Close()
		synctest.Wait()
		if _, err := l.Append(o.epoch+1, time.Now(), []machine.Record{{Value: []byte("x")}}); !errors.Is(err, machine.ErrNotLeader) {
			t.Fatalf("another epoch: %v", err)
		}
		last, err := l.Append(o.epoch, time.UnixMilli(77), []machine.Record{{Key: []byte("a"), Value: []byte{}}, {Key: nil, Value: nil}, {Value: []byte("v")}})
		if err != nil || last != 3 {
			t.Fatalf("last %d, %v", last, err)
		}
		// Load sees it whether or not it is committed yet.
		var got []string
		end, err := l.Load(o.epoch, func(offset, ts int64, r machine.Record) error {
			got = append(got, fmt.Sprintf("%d@%d %v %v", offset, ts, r.Key, r.Value))
			return nil
		})
		if want := []string{"1@77 [97] []", "2@77 [] []", "3@77 [] [118]"}; err != nil || end != 4 || !slices.Equal(got, want) {
			t.Fatalf("loaded %v to %d, %v", got, end, err)
		}
		synctest.Wait()
		if l.End() != 4 {
			t.Fatalf("end %d", l.End())
		}
		none := iter.Seq[machine.Record](func(func(machine.Record) bool) {})
		if err := l.TakeSnapshot(2, none); err == nil {
			t.Fatal("a snapshot within a batch")
		}
		if err := l.TakeSnapshot(3, none); err != nil {
			t.Fatal(err)
		}
		if err := l.TakeSnapshot(3, none); err != nil {
			t.Fatal(err)
		}
	})
}

// TestLoadSeesWhatIsNotSynced: the speculative state of a leader is everything that
// it appended.
func TestLoadSeesWhatIsNotSynced(t *testing.T) {
	disk := newDisk(t)
	if err := bootstrap(disk, crashDir, []Member{self}); err != nil {
		t.Fatal(err)
	}
	st, r, err := openStore(disk, crashDir, self.ID(), 4096)
	if err != nil {
		t.Fatal(err)
	}
	c, err := newCore(self.ID(), r, coreOptions{electionTicks: 10, heartbeatTicks: 1, logger: raftLogger{discard}})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.campaign(); err != nil {
		t.Fatal(err)
	}
	for c.leading == 0 {
		d, err := c.ready()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range d.writes {
			if err := errors.Join(st.write([]write{writeOf(m)}), c.persisted(m)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range 3 {
		if _, err := c.propose(c.leading, fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.ready(); err != nil { // the write is left lying
			t.Fatal(err)
		}
	}
	es, err := c.tail(c.leading)
	if err != nil || len(es) != 4 || string(es[3].GetData()) != "2" {
		t.Fatalf("tail %v, %v", es, err)
	}
	if _, err := c.tail(c.leading - 1); !errors.Is(err, ErrNotLeader) {
		t.Fatalf("tail of another term: %v", err)
	}
	if err := st.close(); err != nil {
		t.Fatal(err)
	}
}

func TestLogRefusesGapsInOffsets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &owner{}
		l := openLog(t, newDisk(t), o, nil)
		synctest.Wait()
		if _, err := l.Node().Append(uint64(o.epoch), appendBatch(nil, 7, 1, []machine.Record{{Key: []byte("k")}})); err != nil {
			t.Fatal(err)
		}
		<-l.Node().Failed()
		if err := l.Close(); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("close: %v", err)
		}
	})
}

// TestCompactionKeepsLittle: by number and by bytes.
func TestCompactionKeepsLittle(t *testing.T) {
	l := &memLog{}
	for i := range uint64(10) {
		l.entries = append(l.entries, &raftpb.Entry{Term: new(uint64(1)), Index: new(i + 1), Data: make([]byte, 68)})
	}
	for _, c := range []struct {
		index, entries uint64
		bytes          int64
		want           uint64
	}{{8, 3, 1000, 5}, {8, 100, 1000, 0}, {8, 100, 250, 6}, {8, 0, 1000, 8}} {
		if got := l.keepFrom(c.index, c.entries, c.bytes); got != c.want {
			t.Errorf("keepFrom%v = %d", c, got)
		}
	}
}
