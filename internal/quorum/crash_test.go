package quorum

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/sim/syncs"
)

// promise is what a store has acknowledged, or is about to.
type promise struct {
	hard    hardState
	base    uint64 // the snapshot that entries follow
	entries []*raftpb.Entry
}

func (p promise) last() uint64 { return p.base + uint64(len(p.entries)) }

func (p promise) clone() promise {
	p.entries = slices.Clone(p.entries)
	return p
}

func (p promise) at(index uint64) *raftpb.Entry {
	if index <= p.base || index > p.last() {
		return nil
	}
	return p.entries[index-p.base-1]
}

// apply is the promise after a write.
func (p promise) apply(w write, snap SnapshotMeta) promise {
	p = p.clone()
	if w.hard != nil {
		p.hard = *w.hard
	}
	if w.snapshot.index != 0 {
		p.base, p.entries = snap.Index, nil
	}
	for _, e := range w.entries {
		p.entries = append(p.entries[:e.GetIndex()-p.base-1], e)
	}
	return p
}

// crasher makes up writes as the library does, and keeps what was promised.
type crasher struct {
	t       failer
	rng     *rand.Rand
	disk    *env.Disk
	st      *store
	acked   promise
	pending promise // with the write under way
	serial  int
	saved   uint64 // newest snapshot
}

type failer interface {
	Helper()
	Fatalf(string, ...any)
}

const crashDir = "d/meta"

// open recovers, and checks what was recovered against the promises.
func (c *crasher) open() error {
	l, err := list(c.disk, crashDir)
	if err == nil && len(l.segments) == 0 && len(l.snapshots) == 0 && !l.marker {
		if c.acked.hard.term != 0 {
			c.t.Fatalf("the whole log is gone")
		}
		if err := bootstrap(c.disk, crashDir, []Member{self}); err != nil {
			return err
		}
	}
	st, r, err := openStore(c.disk, crashDir, self.ID(), 1500)
	if err != nil {
		if !errors.Is(err, env.ErrPowerOff) {
			c.t.Fatalf("open: %v", err)
		}
		return err
	}
	c.check(r)
	c.st, c.saved = st, r.snapshot.Index
	c.acked = promise{r.hard, r.baseIndex, r.entries}.clone()
	c.pending = c.acked
	return nil
}

// check compares a recovered log with what was promised before the crash.
func (c *crasher) check(r *recovered) {
	c.t.Helper()
	a, p := c.acked, c.pending
	if r.hard.term < a.hard.term || r.hard.term > max(p.hard.term, 1) {
		c.t.Fatalf("term %d, promised %d, under way %d", r.hard.term, a.hard.term, p.hard.term)
	}
	if r.hard.term == a.hard.term && a.hard.vote != 0 && r.hard.vote != a.hard.vote {
		c.t.Fatalf("vote %d in term %d, promised %d", r.hard.vote, r.hard.term, a.hard.vote)
	}
	if r.hard.commit > r.lastIndex() {
		c.t.Fatalf("commit %d above the last entry %d", r.hard.commit, r.lastIndex())
	}
	for i := max(a.base, r.baseIndex) + 1; i <= a.last(); i++ {
		// A promised entry is there, unless the write under way replaced it.
		want, other := a.at(i), p.at(i)
		if got := entryAt(r, i); !same(got, want) && !(other != want && (same(got, other) || got == nil)) && i > r.snapshot.Index {
			c.t.Fatalf("entry %d is %v, promised %v", i, got, want)
		}
	}
	for i := r.baseIndex + 1; i <= r.lastIndex(); i++ {
		if got := entryAt(r, i); !same(got, a.at(i)) && !same(got, p.at(i)) && i > a.base && i > p.base {
			c.t.Fatalf("entry %d is %v: nobody wrote it (promised %v, under way %v)", i, got, a.at(i), p.at(i))
		}
	}
	if r.snapshot.Index < c.saved {
		c.t.Fatalf("snapshot %d, promised %d", r.snapshot.Index, c.saved)
	}
}

func entryAt(r *recovered, i uint64) *raftpb.Entry {
	if i <= r.baseIndex || i > r.lastIndex() {
		return nil
	}
	return r.entries[i-r.baseIndex-1]
}

func same(a, b *raftpb.Entry) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.GetTerm() == b.GetTerm() && a.GetIndex() == b.GetIndex() && bytes.Equal(a.GetData(), b.GetData())
}

// step makes one random change; an error is the power cut.
func (c *crasher) step() error {
	switch n := c.rng.IntN(20); {
	case n < 10:
		return c.append(false)
	case n < 12:
		return c.append(true) // over uncommitted entries
	case n < 15:
		h := c.acked.hard
		h.term, h.vote = h.term+1, c.rng.Uint64N(3)
		return c.write(write{hard: &h, sync: true}, SnapshotMeta{})
	case n < 17:
		h := c.acked.hard
		h.commit += c.rng.Uint64N(c.acked.last() - h.commit + 1)
		return c.write(write{hard: &h}, SnapshotMeta{})
	case n < 19:
		return c.snapshot()
	default:
		return c.install()
	}
}

func (c *crasher) append(over bool) error {
	h := c.acked.hard
	first := c.acked.last() + 1
	if over && first > h.commit+1 {
		first = h.commit + 1 + c.rng.Uint64N(first-h.commit-1)
		h.term++
		h.vote = 0
	}
	var es []*raftpb.Entry
	for i := range 1 + c.rng.Uint64N(3) {
		c.serial++
		data := fmt.Appendf(nil, "%d:%s", c.serial, strings.Repeat("x", c.rng.IntN(300)))
		es = append(es, &raftpb.Entry{Term: new(h.term), Index: new(first + i), Data: data})
	}
	w := write{entries: es, sync: true}
	if h != c.acked.hard || c.rng.IntN(2) == 0 {
		if c.rng.IntN(2) == 0 {
			h.commit = first + uint64(len(es)) - 1 // as a follower that hears of both at once
		}
		w.hard = &h
	}
	return c.write(w, SnapshotMeta{})
}

func (c *crasher) write(w write, snap SnapshotMeta) error {
	ws := []write{w}
	c.pending = c.acked.apply(w, snap)
	if err := c.st.write(ws); err != nil {
		return err
	}
	hard := c.acked.hard
	c.acked = c.pending
	if !w.sync && len(w.entries) == 0 {
		c.acked.hard = hard // a commit index alone is not promised
		c.acked.hard.commit = w.hard.commit
	}
	return nil
}

// snapshot takes one at the commit index, and compacts.
func (c *crasher) snapshot() error {
	index := c.acked.hard.commit
	e := c.acked.at(index)
	if e == nil || index <= c.saved {
		return nil
	}
	m := SnapshotMeta{Index: index, Term: e.GetTerm(), Conf: &raftpb.ConfState{Voters: []uint64{self.ID()}}, Members: []Member{self}}
	err := saveSnapshot(c.disk, crashDir, index, func(w io.Writer) error {
		return encodeSnapshot(w, m, func(w io.Writer) error { _, err := fmt.Fprintf(w, "state at %d", index); return err })
	})
	if err != nil {
		return err
	}
	c.saved = index
	return c.st.compact(index-min(index, c.rng.Uint64N(4)), index)
}

// install receives a snapshot beyond the log.
func (c *crasher) install() error {
	h := c.acked.hard
	index := c.acked.last() + 1 + c.rng.Uint64N(5)
	h.term++
	h.vote, h.commit = 0, index
	m := SnapshotMeta{Index: index, Term: h.term, Conf: &raftpb.ConfState{Voters: []uint64{self.ID()}}, Members: []Member{self}}
	var b bytes.Buffer
	if err := encodeSnapshot(&b, m, nil); err != nil {
		c.t.Fatalf("%v", err)
	}
	f, err := c.disk.OpenFile(crashDir+"/"+fetchedName(index), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(b.Bytes(), 0); err == nil {
		_, err = sealFetched(f, int64(b.Len()), &raftpb.SnapshotMetadata{Index: &m.Index, Term: &m.Term})
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := c.write(write{snapshot: fetched{m.Index, m.Term}, hard: &h, sync: true}, m); err != nil {
		return err
	}
	c.saved = index
	return nil
}

// life runs n steps from one seed, with a power cut or a kill at the k-th disk
// operation (0: never), then recovers and goes on a little, to be cut again and to
// recover once more. skip leaves syncs out. It returns the first round's operations.
func life(t failer, seed uint64, n, k int, skip func(env.Op) bool) (ops int) {
	c := &crasher{t: t, rng: env.NewRand(seed), disk: env.NewDisk(seed)}
	if err := errors.Join(c.disk.MkdirAll("d", 0o755), c.disk.SyncDir(".")); err != nil {
		t.Fatalf("%v", err)
	}
	random := env.NewRand(seed<<32 | uint64(k))
	for round := range 3 {
		kill := random.IntN(3) == 0
		end := c.plan(k, skip)
		err := c.open()
		for i := 0; err == nil && i < n; i++ {
			err = c.step()
		}
		if err != nil && !errors.Is(err, env.ErrPowerOff) {
			t.Fatalf("%v", err)
		}
		if round == 0 {
			ops = end()
		}
		if kill {
			c.disk = c.disk.KillClone()
		} else {
			c.disk = c.disk.CrashClone(random)
		}
		n, k = 10, 1+random.IntN(60)
	}
	c.plan(0, nil)
	if err := c.open(); err != nil {
		t.Fatalf("%v", err)
	}
	return ops
}

// plan lets the k-th operation from now be the last. The function that it returns
// counts the operations since.
func (c *crasher) plan(k int, skip func(env.Op) bool) func() int {
	disk := c.disk
	start := disk.Ops()
	disk.CrashAt(k)
	disk.SkipSync(skip)
	return func() int { return disk.Ops() - start }
}

// TestStoreCrash cuts the power, or kills the process, at every operation of
// several lives.
func TestStoreCrash(t *testing.T) {
	cases := 0
	for seed := range uint64(8) {
		ops := life(t, seed, 40, 0, nil)
		for k := 1; k <= ops; k++ {
			life(t, seed, 40, k, nil)
			cases++
		}
	}
	t.Logf("%d crashes", cases)
	if cases < 1000 {
		t.Fatalf("only %d crashes", cases)
	}
}

// noted is a failer that ends the life and keeps the word.
type noted struct{ failure *string }

func (noted) Helper() {}
func (n noted) Fatalf(format string, args ...any) {
	*n.failure = fmt.Sprintf(format, args...)
	panic(n)
}

// kindOf is the sort of file behind a path.
func kindOf(path string) string {
	switch ext := filepath.Ext(path); {
	case path == "d", path == crashDir:
		return path
	case ext != "":
		return ext
	}
	return filepath.Base(path)
}

// TestEveryMissingSyncIsNoticed takes out the syncs of one place in the code at a time:
// without them some case fails. The places are found by running cases, and held against
// the source.
func TestEveryMissingSyncIsNoticed(t *testing.T) {
	places := syncs.NewPlaces("internal/quorum", kindOf)
	for seed := range uint64(8) {
		life(t, seed, 40, 0, places.Note)
	}
	places.RequireAll(t, ".", nil, nil)
	for place := range places.Found() {
		t.Run(place, func(t *testing.T) {
			failure := ""
			skip := func(op env.Op) bool { return places.Name(op) == place }
			for seed := uint64(0); seed < 8 && failure == ""; seed++ {
				for k := 1; k <= 200 && failure == ""; k++ {
					failure = failureOf(seed, k, skip)
				}
			}
			if failure == "" {
				t.Fatal("no crash noticed that this sync was left out")
			}
			t.Log(failure)
		})
	}
}

// failureOf is why a life without some syncs fails, "" if it does not.
func failureOf(seed uint64, k int, skip func(env.Op) bool) (failure string) {
	defer func() {
		if v := recover(); v != nil {
			if _, ok := v.(noted); !ok {
				panic(v)
			}
		}
	}()
	life(noted{&failure}, seed, 40, k, skip)
	return failure
}
