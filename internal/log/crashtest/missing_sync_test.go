//go:build !race

package crashtest

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/leat-stream/leat/internal/env"
)

// The race detector has nothing to find here and makes it take ten times as long: the
// tests of the tree run this package once more without it (.ci/test).

// helpers are functions that sync for their callers.
var helpers = []string{"writeSmall", "replaceSmall", "syncFile", "syncData", "syncIndexes", "syncSealed", "cutTxns", "copyOut"}

// surveyed is how many cases look for places.
const surveyed = 300

// survey runs cases to find the places.
func survey(t *testing.T) {
	t.Helper()
	for seed := uint64(1); seed <= surveyed; seed++ {
		if err := runCase(seed, &mutation{note: places.Note}); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
	for _, s := range stories {
		if err := tellTo(s, places.Note); err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
	}
}

// cameTo tells, for each place, the cases that come to it.
var cameTo = sync.OnceValue(func() map[string][]uint64 {
	seeds := map[string][]uint64{}
	for seed := uint64(1); seed <= surveyed; seed++ {
		met := map[string]bool{}
		note := func(op env.Op) bool { met[places.Name(op)] = true; return false }
		if runCase(seed, &mutation{note: note}) != nil {
			continue // survey tells
		}
		for place := range met {
			seeds[place] = append(seeds[place], seed)
		}
	}
	return seeds
})

// Every sync that a log directory makes is needed: without it some case fails. The
// places are found by running cases and stories, and held against the source; each is
// taken out alone. The journal's own syncs are taken out by its own test.
func TestEveryMissingSyncIsNoticed(t *testing.T) {
	survey(t)
	places.RequireAll(t, "..", helpers, nil)
	hints := readHints(t)
	found := map[string]hint{}
	for _, place := range slices.Sorted(maps.Keys(places.Found())) {
		t.Run(place, func(t *testing.T) {
			if h, ok := hints[place]; ok && !*updateFlag && noticed(place, h) {
				found[place] = h
				return
			}
			for i, s := range stories {
				if h := (hint{story: i + 1}); noticed(place, h) {
					t.Logf("noticed by %s", s.name)
					found[place] = h
					return
				}
			}
			seeds := cameTo()[place]
			for n := range *triesFlag {
				if len(seeds) == 0 {
					break
				}
				h := hint{seed: seeds[n%uint64(len(seeds))], try: n}
				if noticed(place, h) {
					t.Logf("noticed by try %d", n+1)
					found[place] = h
					return
				}
			}
			t.Errorf("never noticed in %d tries; made %d times", *triesFlag, places.Found()[place])
		})
	}
	if *updateFlag {
		writeHints(t, found)
	}
}

var (
	triesFlag  = flag.Uint64("tries", 3000, "most cases to run without one place's syncs")
	updateFlag = flag.Bool("update", false, "write testdata/noticed.txt anew")
)

// hint is a case that notices a missing sync. It spares the search for one; when the
// code has changed so that it no longer does, the search is made.
type hint struct {
	story     int // by number from 1; 0: a random case
	seed, try uint64
}

func noticed(place string, h hint) bool {
	if h.story > len(stories) {
		return false
	}
	if h.story > 0 {
		return tell(stories[h.story-1], place) != nil
	}
	return runCase(h.seed, &mutation{place: place, rng: env.NewRand(h.try)}) != nil
}

const hintFile = "testdata/noticed.txt"

func readHints(t *testing.T) map[string]hint {
	b, err := os.ReadFile(hintFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	m := map[string]hint{}
	for line := range strings.Lines(string(b)) {
		var h hint
		numbers, place, _ := strings.Cut(strings.TrimSpace(line), " | ")
		if _, err := fmt.Sscan(numbers, &h.story, &h.seed, &h.try); err != nil {
			t.Fatalf("%s: %q: %v", hintFile, line, err)
		}
		m[place] = h
	}
	return m
}

func writeHints(t *testing.T, m map[string]hint) {
	var b strings.Builder
	for _, place := range slices.Sorted(maps.Keys(m)) {
		fmt.Fprintf(&b, "%d %d %d | %s\n", m[place].story, m[place].seed, m[place].try, place)
	}
	if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(hintFile, []byte(b.String()), 0o644)); err != nil {
		t.Fatal(err)
	}
}
