//go:build mutants

package sim

import (
	"bufio"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/leat-stream/leat/internal/mutant"
)

var (
	oneMutant = flag.String("mutant", "", "look for this mutant alone, or for a list of them with commas")
	within    = flag.Int("within", 2000, "how many seeds TestMutants spends on one mutant")
	firstLong = flag.Int("first-long", 200, "from this seed on TestMutants' runs are long")
	table     = flag.String("table", "", "TestMutants adds what it found to this file")
)

// mutated runs a seed with a mutant switched on; "" is none. A crash of the code is a
// finding as any other.
func mutated(t *testing.T, name string, seed uint64, d time.Duration) (err error) {
	mutant.Switch(name)
	defer mutant.Switch("")
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	cryptotest.SetGlobalRandom(t, seed)
	return NewCluster(seed, nil, slog.New(slog.DiscardHandler), bootNode).Simulate(d)
}

// length is how long the faults last in the run of a seed: the short runs come first.
func length(seed int) time.Duration {
	if seed >= *firstLong {
		return faulty
	}
	return 20 * time.Second
}

// quick are mutants that nearly every seed notices.
var quick = []string{
	"replica/reads-above-hw", "replica/follower-raises-alone", "replica/follower-appends", "replica/acks-at-append",
	"metadata/same-epoch-for-next-leader", "log/duplicate-out-of-order", "log/duplicate-appended",
	"log/duplicate-new-offset", "log/followers-forget-producers",
	"replica/states-unsynced", "replica/hw-below-min-isr", "metadata/restart-keeps-epoch", "quorum/forgets-votes",
}

// TestMutantsQuickly is the part of TestMutants that `make test` runs.
func TestMutantsQuickly(t *testing.T) {
	for _, name := range quick {
		if seed, _ := look(t, name, 30, func(int) time.Duration { return 20 * time.Second }); seed == 0 {
			t.Errorf("%s is not noticed any more", name)
		}
	}
}

// TestMutants looks, for every mutant, for a seed that notices it, or runs the test that
// does (noticedIn). It takes long; `make mutants` and `make soak` run it.
func TestMutants(t *testing.T) {
	for _, m := range mutant.All {
		if *oneMutant != "" && !slices.Contains(strings.Split(*oneMutant, ","), m.Name) {
			continue
		}
		t.Run(strings.ReplaceAll(m.Name, "/", ":"), func(t *testing.T) {
			if in, ok := noticedIn[m.Name]; ok {
				by := lookIn(t, m.Name, in)
				if by == "" {
					t.Fatalf("%s was not noticed by %v (%s)", m.Name, in, m.Guard)
				}
				t.Logf("%s: %v: %s", m.Name, in, by)
				note(t, fmt.Sprintf("%s\t%v\t\t%s\n", m.Name, in, by))
				return
			}
			seed, by := look(t, m.Name, *within, length)
			if seed == 0 {
				t.Fatalf("%s was not noticed within %d seeds (%s)", m.Name, *within, m.Guard)
			}
			t.Logf("%s: seed %d, faults for %v: %s", m.Name, seed, length(seed), by)
			note(t, fmt.Sprintf("%s\t%d\t%v\t%s\n", m.Name, seed, length(seed), by))
		})
	}
}

// look gives a seed that notices a mutant, and what noticed it: one that fails with the
// mutant and not without. 0 is none. It begins with the seed that was the first one once.
func look(t *testing.T, name string, within int, length func(seed int) time.Duration) (seed int, by string) {
	first := noticedBy[name]
	for n := range within + 1 {
		if seed = n; n == 0 {
			seed = first
		}
		if seed == 0 || n == first && n > 0 {
			continue
		}
		err := mutated(t, name, uint64(seed), length(seed))
		if err == nil {
			continue
		}
		if clean := unmutated(t, seed, length(seed)); clean != nil {
			t.Logf("seed %d fails without a mutant too: %v", seed, clean)
			continue
		}
		return seed, firstLine(err)
	}
	return 0, ""
}

// run is one without a mutant, which many of them share.
type run struct {
	seed   int
	length time.Duration
}

var clean = map[run]error{}

func unmutated(t *testing.T, seed int, d time.Duration) error {
	r := run{seed, d}
	err, ran := clean[r]
	if !ran {
		err = mutated(t, "", uint64(seed), d)
		clean[r] = err
	}
	return err
}

func firstLine(err error) string {
	s := bufio.NewScanner(strings.NewReader(err.Error()))
	s.Scan()
	return s.Text()
}

func note(t *testing.T, line string) {
	if *table == "" {
		return
	}
	f, err := os.OpenFile(*table, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(line); err != nil {
		t.Fatal(err)
	}
}
