package differential

import (
	"reflect"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestCompareNamesFieldsAndMissingElements(t *testing.T) {
	kafka := []Step{{"Fetch v4 x", Answer{"Topics": "list", "Topics[a].Error": "0", "Topics[b].Error": "0", "Topics[b].Parts[0].X": "1"}}}
	leat := []Step{{"Fetch v4 x", Answer{"Topics": "list", "Topics[a].Error": "3"}}}
	got := Compare("s", kafka, leat)
	want := []Difference{
		{"s", "Fetch v4 x", "Topics[a].Error", "0", "3"},
		{"s", "Fetch v4 x", "Topics[b]", "present", absent},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}

func TestCompareStopsWhereTheStoriesPart(t *testing.T) {
	got := Compare("s", []Step{{Name: "a"}, {Name: "b"}, {Name: "c"}}, []Step{{Name: "a"}, {Name: "x"}, {Name: "c"}})
	if len(got) != 1 || got[0].Step != "b" {
		t.Errorf("got %+v", got)
	}
}

func TestSplitTellsUnusedEntries(t *testing.T) {
	diffs := []Difference{{"s", "Fetch v4 x", "Topics[a].Error", "0", "3"}, {"s", "Fetch v5 x", "Topics[a].Error", "0", "3"}}
	used := Allowed{Where: "s: Fetch v4 *: Topics[*].Error", Leat: "3", Reason: "r"}
	idle := Allowed{Where: "s: Fetch v5 *", Leat: "4", Reason: "r"}
	left, unused := Split(diffs, []Allowed{used, idle})
	if len(left) != 1 || left[0].Step != "Fetch v5 x" {
		t.Errorf("left %+v", left)
	}
	if len(unused) != 1 || unused[0] != idle {
		t.Errorf("unused %+v", unused)
	}
}

func TestParseAllowedWantsAReason(t *testing.T) {
	if _, err := ParseAllowed([]byte(`[{"where":"x"}]`)); err == nil || !strings.Contains(err.Error(), "reason") {
		t.Errorf("err %v", err)
	}
}

func TestGlob(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"a", "a", true}, {"a", "ab", false}, {"*", "", true}, {"a*c", "abc", true}, {"a*c", "acb", false},
		{"a*b*c", "a1b2c", true}, {"*b*", "abc", true}, {"ab*bc", "abc", false},
	} {
		if got := glob(c.pattern, c.s); got != c.want {
			t.Errorf("glob(%q, %q) = %v", c.pattern, c.s, got)
		}
	}
}

func TestOutcomeReplacesWhatCannotBeEqual(t *testing.T) {
	n := newNames("127.0.0.1:1234", "/data")
	resp := kmsg.NewPtrMetadataResponse()
	resp.Brokers = []kmsg.MetadataResponseBroker{{NodeID: 1, Host: "127.0.0.1", Port: 1234}}
	resp.Topics = []kmsg.MetadataResponseTopic{{Topic: kmsg.StringPtr("a"), TopicID: [16]byte{1}}}
	a := n.outcome(nil, resp, nil)
	for path, want := range map[string]string{
		"Brokers[1].Port":       "<port>",
		`Topics["a"].TopicID`:   "<id of a>",
		`Topics["a"].ErrorCode`: "0",
	} {
		if a[path] != want {
			t.Errorf("%s = %q, want %q", path, a[path], want)
		}
	}
}
