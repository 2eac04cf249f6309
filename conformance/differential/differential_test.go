//go:build conformance

package differential

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leat-stream/leat/conformance/harness"
	"github.com/leat-stream/leat/conformance/raw"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// side is one of the two brokers and its session.
type side struct {
	broker  *harness.Broker
	session *Session
	api     *kmsg.ApiVersionsResponse
}

func start(t *testing.T, kind harness.Kind) *side {
	t.Helper()
	set := map[string]string{"auto.create.topics.enable": "true", "offsets.topic.num.partitions": "3"}
	if kind == harness.Leat { // else the leader epochs would have to be so old
		set["leat.unknown.producer.wait.ms"] = "0"
	}
	b, err := harness.Start(t.Context(), kind, harness.Options{Dir: t.TempDir(), Stock: true, Set: set})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Kill(); err != nil {
			t.Error(err)
		}
	})
	return &side{broker: b, api: advertised(t, b.Addr)}
}

// advertised is a broker's answer to ApiVersions in its newest version.
func advertised(t *testing.T, addr string) *kmsg.ApiVersionsResponse {
	t.Helper()
	c, err := raw.Dial(addr, clientID)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	req := apiVersions("differential", "1.0")
	req.Version = 4
	resp, err := c.Exchange(req, answerLimit)
	if err != nil {
		t.Fatal(err)
	}
	return resp.(*kmsg.ApiVersionsResponse)
}

func ranges(api *kmsg.ApiVersionsResponse) map[int16]Range {
	out := map[int16]Range{}
	for _, k := range api.ApiKeys {
		out[k.ApiKey] = Range{k.MinVersion, k.MaxVersion}
	}
	return out
}

// TestDifferential runs the corpus against Apache Kafka and the chosen broker.
func TestDifferential(t *testing.T) {
	kind, err := harness.Chosen()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("allow.json")
	if err != nil {
		t.Fatal(err)
	}
	allowed, err := ParseAllowed(text)
	if err != nil {
		t.Fatal(err)
	}
	oracle := start(t, harness.Kafka)
	subject := start(t, kind)
	if kind == harness.Leat {
		t.Run("advertised versions", func(t *testing.T) { compareAdvertised(t, oracle.api, subject.api) })
	}
	all := ranges(oracle.api)
	oracle.session = NewSession(oracle.broker.Addr, oracle.broker.Data, all)
	subject.session = NewSession(subject.broker.Addr, subject.broker.Data, all)

	only := os.Getenv("LEAT_SCENARIO")
	used := make([]bool, len(allowed))
	for _, sc := range Scenarios() {
		if only != "" && only != sc.Name {
			continue
		}
		t.Run(sc.Name, func(t *testing.T) {
			left := runScenario(t, sc, oracle, subject, allowed, used)
			if len(left) > 0 && kind == harness.Leat {
				t.Errorf("%d differences that allow.json does not name:\n%s", len(left), Report(left))
			} else if len(left) > 0 {
				t.Errorf("Kafka differs from itself in %d fields: the scenario is not repeatable:\n%s", len(left), Report(left))
			}
		})
	}
	if kind == harness.Leat && only == "" {
		t.Run("allow.json", func(t *testing.T) {
			for i, a := range allowed {
				if !used[i] {
					t.Errorf("no difference matches %q any more: take the entry out", a.Where)
				}
			}
		})
	}
}

// runScenario runs one scenario on both sides at once and returns the
// differences that are not allowed.
func runScenario(t *testing.T, sc Scenario, oracle, subject *side, allowed []Allowed, used []bool) []Difference {
	var kafka, leat []Step
	var kafkaErr, leatErr error
	var wg sync.WaitGroup
	wg.Go(func() { kafka, kafkaErr = oracle.session.Run(sc.Run) })
	wg.Go(func() { leat, leatErr = subject.session.Run(sc.Run) })
	began := time.Now()
	wg.Wait()
	t.Logf("%d steps in %v", len(kafka), time.Since(began).Round(time.Millisecond))
	keep(t, sc.Name, "kafka", kafka)
	keep(t, sc.Name, "leat", leat)
	if kafkaErr != nil {
		t.Errorf("on Kafka: %v", kafkaErr)
	}
	if leatErr != nil {
		t.Errorf("on the other: %v", leatErr)
	}
	diffs := Compare(sc.Name, kafka, leat)
	left, unused := Split(diffs, allowed)
	for i, a := range allowed {
		if !slices.Contains(unused, a) {
			used[i] = true
		}
	}
	return left
}

// keep writes a recording into the cache, to be read.
func keep(t *testing.T, scenario, who string, steps []Step) {
	t.Helper()
	dir, err := harness.Cache("differential", who)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, s := range steps {
		fmt.Fprintf(&b, "%s\n", s.Name)
		for _, path := range slices.Sorted(maps.Keys(s.Outcome)) {
			fmt.Fprintf(&b, "    %s = %s\n", path, s.Outcome[path])
		}
	}
	name := strings.ReplaceAll(scenario, " ", "-") + ".txt"
	if err := os.WriteFile(filepath.Join(dir, name), []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// compareAdvertised: every API that Leat has, at exactly Kafka's range, and only
// features that Kafka has, at no other range.
func compareAdvertised(t *testing.T, kafka, leat *kmsg.ApiVersionsResponse) {
	theirs, ours := ranges(kafka), ranges(leat)
	for _, key := range slices.Sorted(maps.Keys(ours)) {
		if want, ok := theirs[key]; !ok {
			t.Errorf("Leat advertises %s, Kafka does not", kmsg.NameForKey(key))
		} else if ours[key] != want {
			t.Errorf("%s: Leat advertises %v, Kafka %v", kmsg.NameForKey(key), ours[key], want)
		}
	}
	for key := range built {
		if _, ok := ours[int16(key)]; !ok {
			t.Errorf("%s is built, but not advertised", kmsg.NameForKey(int16(key)))
		}
	}
	features := map[string][2]int16{}
	for _, f := range kafka.SupportedFeatures {
		features[f.Name] = [2]int16{f.MinVersion, f.MaxVersion}
	}
	for _, f := range leat.SupportedFeatures {
		if want, ok := features[f.Name]; !ok || f.MinVersion < want[0] || f.MaxVersion > want[1] {
			t.Errorf("feature %s %d to %d: Kafka has %v", f.Name, f.MinVersion, f.MaxVersion, want)
		}
	}
}
