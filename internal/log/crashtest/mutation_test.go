package crashtest

import (
	"flag"
	"maps"
	"math/rand/v2"
	"path"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/leat-stream/leat/internal/env"
)

// site names the place in the code that asked for a sync, and of what kind of file:
// "Log.reach < Dir.syncLogs: sync .log". It is called on the stack of that place.
func site(op env.Op) string {
	var pcs [32]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	var names []string
	for {
		f, more := frames.Next()
		_, name, ours := strings.Cut(f.Function, "leat/internal/log")
		if ours && !strings.HasPrefix(name, "/crashtest") {
			name = strings.TrimPrefix(name[strings.Index(name, ".")+1:], "(*")
			name, _, _ = strings.Cut(strings.ReplaceAll(name, ")", ""), ".func")
			if n := len(names); n == 0 || names[n-1] != name {
				names = append(names, name)
			}
		}
		if !more || len(names) == 3 {
			break
		}
	}
	return strings.Join(names[:min(2, len(names))], " < ") + ": " + op.Kind + " " + kind(op.Path)
}

// kind is what sort of file or directory a path of the directory names.
func kind(name string) string {
	base := path.Base(name)
	switch {
	case name == ".", name == dataDir:
		return base
	case strings.HasSuffix(base, "-delete"):
		return "deleted partition"
	case strings.Count(name, "/") == 1 && base[0] == 't' && !strings.Contains(base, "."):
		return "partition"
	case strings.HasPrefix(base, "journal-"):
		return "journal"
	case base[0] >= '0' && base[0] <= '9':
		return path.Ext(base)
	}
	return base
}

// needless are the syncs whose absence no reader can notice, with the reason why they
// are made all the same.
var needless = map[string]string{
	"Dir.openLogs < Dir.open: syncdir data":                                  "the journal syncs the same directory before anything is written",
	"Journal.Reset < Dir.openJournal: syncdir data":                          "the state file syncs the same directory; the journal's own tests miss it",
	"writeSmall < Dir.openMeta: syncdir data":                                "the journal syncs the same directory before anything is written",
	"Dir.remove < Dir.emptyTrash: syncdir data":                              "a deleted partition that comes back is removed again",
	"Dir.remove < Dir.emptyTrash: syncdir partition":                         "segments below the start that come back are removed again",
	"recovery.dropDeleted < recovery.run: syncdir partition":                 "what comes back is removed again by the next recovery",
	"recovery.copyOut < recovery.keep: syncdir partition":                    "copies for inspection of bytes that were never acknowledged",
	"recovery.copyOut < recovery.withFile: sync .tmp":                        "copies for inspection of bytes that were never acknowledged",
	"syncFile < Log.reach: sync .snapshot":                                   "a snapshot that is lost is built again from the log; the sync bounds that work",
	"syncFile < segment.syncSealed: sync .snapshot":                          "a snapshot that is lost is built again from the log; the sync bounds that work",
	"syncFile < segment.syncSealed: sync .txnindex":                          "synced before, when it was written",
	"writeSmall < Log.reach: sync leader-epoch-checkpoint.tmp":               "an epoch file that is damaged is built again from the batches; the sync bounds that work",
	"writeSmall < Dir.closeClean: sync .kafka_cleanshutdown.tmp":             "without the marker the next start reads more",
	"writeSmall < Dir.closeClean: syncdir data":                              "without the marker the next start reads more",
	"writeSmall < Dir.openBoot: sync leat.properties.tmp":                    "without the boot id the page cache is trusted less",
	"writeSmall < Dir.openBoot: syncdir data":                                "without the boot id the page cache is trusted less",
	"writeSmall < Dir.writeTexts: sync cleaner-offset-checkpoint.tmp":        "for Kafka's tools; leat.state has the same",
	"writeSmall < Dir.writeTexts: sync log-start-offset-checkpoint.tmp":      "for Kafka's tools; leat.state has the same",
	"writeSmall < Dir.writeTexts: sync recovery-point-offset-checkpoint.tmp": "for Kafka's tools; leat.state has the same",
	"writeSmall < Dir.writeTexts: sync replication-offset-checkpoint.tmp":    "for Kafka's tools; leat.state has the same",
	"writeSmall < Dir.writeTexts: syncdir data":                              "for Kafka's tools; leat.state has the same",
	"completeSwap < recovery.completeSwaps: syncdir partition":               "a swap that comes back is completed again",
}

// mutation takes the syncs of one place out, and likes to cut the power soon after.
type mutation struct {
	place string
	rng   *rand.Rand
	wait  int            // operations until the cut; 0: none is planned
	seen  map[string]int // places met, if not nil: then nothing is taken out
}

func (m *mutation) skip(op env.Op) bool {
	place := site(op)
	if m.seen != nil {
		m.seen[place]++
		return false
	}
	if place != m.place {
		return false
	}
	if m.wait == 0 && m.rng.IntN(3) == 0 {
		m.wait = 1 + m.rng.IntN([]int{4, 20, 80}[m.rng.IntN(3)])
	}
	return true
}

// cut is called before every operation.
func (m *mutation) cut() error {
	if m.wait > 0 {
		if m.wait--; m.wait == 0 {
			return env.ErrPowerOff
		}
	}
	return nil
}

// Every sync that a log directory makes is needed: without it some case fails. The
// places are found by running cases, not listed here; each is tried with the cases
// that come to it.
func TestEveryMissingSyncIsNoticed(t *testing.T) {
	if raceEnabled {
		t.Skip("the same without the race detector is enough")
	}
	count, seeds := map[string]int{}, map[string][]uint64{}
	for seed := uint64(1); seed <= 300; seed++ {
		m := &mutation{seen: map[string]int{}}
		if err := runCase(seed, m); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		for place, n := range m.seen {
			count[place] += n
			seeds[place] = append(seeds[place], seed)
		}
	}
	for _, place := range slices.Sorted(maps.Keys(seeds)) {
		if needless[place] != "" && !*allFlag {
			continue
		}
		t.Run(place, func(t *testing.T) {
			for n := range uint64(*triesFlag) {
				seed := seeds[place][n%uint64(len(seeds[place]))]
				if runCase(seed, &mutation{place: place, rng: env.NewRand(n)}) != nil {
					t.Logf("noticed by try %d", n+1)
					return
				}
			}
			t.Errorf("never noticed in %d tries; made %d times in %d of 300 cases", *triesFlag, count[place], len(seeds[place]))
		})
	}
	for place := range needless {
		if count[place] == 0 {
			t.Errorf("%q is excused, but is not made", place)
		}
	}
}

var (
	allFlag   = flag.Bool("all", false, "try the excused places as well")
	triesFlag = flag.Int("tries", 600, "most cases to run without one place's syncs")
)
