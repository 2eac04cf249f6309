package crashtest

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/leat-stream/leat/internal/env"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "run this case alone and show its trace")
	opsFlag   = flag.Bool("ops", false, "show the disk's operations in the trace")
	casesFlag = flag.Uint64("cases", 0, "number of random cases")
)

// lives is how often the power fails in one case.
const lives = 5

// runCase is one case. Its syncs are shown to m, which may take some out; nil: none.
func runCase(seed uint64, m *mutation) error {
	w := newWorld(seed)
	for life := range lives {
		w.hook(m)
		// Often while it starts, as recovery must bear a crash as well; now and then not at
		// all, so that the life ends by itself.
		if within := []int{8, 50, 300, 0}[w.rng.IntN(4)]; within > 0 {
			w.disk.CrashAt(1 + w.rng.IntN(within))
		}
		if err := w.live(); err != nil {
			return w.failure(life, err)
		}
		n := 1
		if m != nil && m.fired {
			n, m.fired = 12, false
		}
		if err := w.otherEnds(n); err != nil {
			return w.failure(life, err)
		}
		w.die()
	}
	err := w.open()
	if err == nil {
		err = w.verify()
	}
	if err != nil {
		return w.failure(lives, err)
	}
	totals.add(w.seen)
	return nil
}

// hook lets the mutation, and the trace if that is wanted, see the disk's operations.
func (w *world) hook(m *mutation) {
	if m != nil {
		w.skip = m.skip
	}
	w.disk.OnOp(func(op env.Op) error {
		if *opsFlag {
			w.trace = append(w.trace, fmt.Sprintf("      %d %v", op.N, op))
		}
		if m != nil {
			return m.cut()
		}
		return nil
	})
}

// live is one life of the process; nil when it ended by the power cut or by itself.
func (w *world) live() error {
	err := w.open()
	if err == nil {
		err = w.verify()
	}
	for n := 20 + w.rng.IntN(150); err == nil && n > 0; n-- {
		err = w.step()
	}
	if err == nil && len(w.logs) > 0 && w.rng.IntN(4) == 0 {
		err = w.failSyncs()
	} else if err == nil && w.rng.IntN(2) == 0 {
		err = w.close()
	}
	if w.alarm != nil {
		return w.alarm
	}
	if w.disk.Crashed() {
		return nil
	}
	return err
}

// close ends a life cleanly: all that was appended is durable then.
func (w *world) close() error {
	w.note("close")
	w.stopped = unsure
	if err := w.dir.Close(true); err != nil {
		return err
	}
	w.stopped = isClean
	for _, p := range w.logs {
		p.acked, p.startLow = p.end(), p.start
		p.durable = p.durable || p.end() > 0 // nothing is kept of a log that nobody wrote to
	}
	return nil
}

// restart is a clean end and a new start.
func (w *world) restart() error {
	if err := w.close(); err != nil {
		return err
	}
	if err := w.open(); err != nil {
		return err
	}
	return w.verify()
}

// otherEnds looks at n more disks that the power cut might have left, and goes no
// further with them.
func (w *world) otherEnds(n int) error { return w.ends(n, (*world).verify) }

func (w *world) ends(n int, check func(*world) error) error {
	if w.dir != nil {
		_ = w.dir.Close(false) // as in die
		w.dir = nil
	}
	for range n {
		o := w.branch()
		err := o.open()
		if err == nil {
			err = check(o)
			err = errors.Join(err, o.dir.Close(false))
		}
		if err != nil {
			w.trace = o.trace
			return err
		}
	}
	return nil
}

// branch is a copy of the world after a power cut.
func (w *world) branch() *world {
	o := *w
	o.rng = rand.New(rand.NewPCG(w.rng.Uint64(), 0))
	o.disk = w.disk.CrashClone(o.rng)
	o.boot++
	o.trace = append(slices.Clone(w.trace), "another end")
	o.logs = make([]*partition, len(w.logs))
	for i, p := range w.logs {
		c := *p
		c.batches, c.maybe = slices.Clone(p.batches), slices.Clone(p.maybe)
		c.wrote, c.records, c.must = maps.Clone(p.wrote), maps.Clone(p.records), maps.Clone(p.must)
		c.firm, c.found, c.kept = maps.Clone(p.firm), maps.Clone(p.found), maps.Clone(p.kept)
		c.producers = map[int64]*client{}
		o.logs[i] = &c
	}
	return &o
}

// die takes the disk as a power cut or a kill leaves it.
func (w *world) die() {
	if w.dir != nil {
		_ = w.dir.Close(false) // lets go of files; there is no power to fail with
		w.dir = nil
	}
	if w.rng.IntN(5) == 0 {
		w.disk = w.disk.KillClone()
		w.seen.kills++
	} else {
		w.disk = w.disk.CrashClone(w.rng)
		w.boot++
		w.seen.crashes++
	}
}

func (w *world) failure(life int, err error) error {
	return fmt.Errorf("life %d: %w\n%s", life, err, strings.Join(w.trace, "\n"))
}

func TestCrash(t *testing.T) {
	if *seedFlag != 0 {
		if err := runCase(*seedFlag, nil); err != nil {
			t.Fatal(err)
		}
		return
	}
	totals = coverage{}
	n := cases(2000)
	for seed := uint64(1); seed <= n; seed++ {
		if err := runCase(seed, nil); err != nil {
			t.Fatalf("seed %d: %v\n\ngo test ./internal/log/crashtest -run 'TestCrash$' -seed %d", seed, err, seed)
		}
	}
	t.Logf("%+v", totals)
	least := int(n / 20)
	for what, n := range map[string]int{
		"power cuts": totals.crashes, "kills": totals.kills, "rolls": totals.rolls, "replayed entries": totals.replayed,
		"compactions": totals.compacted, "torn tails": totals.cut, "full disks": totals.full, "failed syncs": totals.failed,
	} {
		if n < least {
			t.Errorf("only %d %s in all cases: they test less than they say", n, what)
		}
	}
}

// totals are what all cases of TestCrash met.
var totals coverage

func cases(n uint64) uint64 {
	if *casesFlag != 0 {
		return *casesFlag
	}
	if raceEnabled || testing.Short() {
		n /= 10
	}
	return n
}

// One workload, and a crash at every one of its operations.
func TestCrashAtEveryOperation(t *testing.T) {
	for seed := uint64(1); seed <= cases(10); seed++ {
		for n := 1; ; n++ {
			w := newWorld(seed)
			w.disk.CrashAt(n)
			err := w.live()
			crashed := w.disk.Crashed()
			if err == nil {
				w.die()
				if err = w.open(); err == nil {
					err = w.verify()
				}
			}
			if err != nil {
				t.Fatalf("seed %d, operation %d: %v", seed, n, w.failure(1, err))
			}
			if !crashed {
				break
			}
			if n > 40 {
				n += int(seed % 7)
			}
		}
	}
}
