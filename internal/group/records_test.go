package group

import (
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/machine"
)

// written are records of each kind that is written, and the bytes in
// testdata/records.hex that Kafka's own classes have read and written alike.
func written() []machine.Record {
	instance, chosen := "i1", "range"
	g := New(Options{}).newGroup("group", 1_700_000_000_123)
	g.generation, g.protocolType, g.protocol, g.leader = 7, consumerType, &chosen, "m1"
	created := newGroupRecord(&group{id: "group", since: 5})
	for _, m := range []*member{
		{id: "m1", clientID: "c1", clientHost: "/127.0.0.1", rebalanceTimeout: 60000, sessionTimeout: 45000, assignment: []byte{1, 2}},
		{id: "m2", instance: &instance, clientID: "c2", clientHost: "/10.0.0.1", rebalanceTimeout: 1, sessionTimeout: 2},
	} {
		m.protocolType, m.protocols = consumerType, []protocol{{"range", consumerMetadata("t")}}
		g.add(m)
	}
	stable := groupRecord(g)
	gone := &group{id: "group", since: 9, generation: 8, protocolType: consumerType}
	id := topicID("t")
	return []machine.Record{
		created, stable, groupRecord(gone), groupTombstone("group"),
		offsetRecord("group", "topic", 3, committed{offset: 42, leaderEpoch: 5, metadata: "note é", commitTime: 1_700_000_000_123, expireTime: -1, topicID: id}),
		offsetRecord("group", "topic", 3, committed{offset: 42, leaderEpoch: -1, commitTime: 1, expireTime: -1}),
		offsetRecord("group", "topic", 3, committed{offset: 42, leaderEpoch: 5, commitTime: 1, expireTime: 2, topicID: id}),
		offsetTombstone("group", "topic", 3),
	}
}

func TestRecordsGolden(t *testing.T) {
	var got strings.Builder
	for _, rec := range written() {
		got.WriteString(hex.EncodeToString(rec.Key) + " " + hex.EncodeToString(rec.Value) + "\n")
	}
	file := filepath.Join("testdata", "records.hex")
	if *rewrite {
		if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("the bytes of records have changed:\n%s\nwant\n%s", got.String(), want)
	}
}

// TestReadVersions reads every version that Kafka has ever written.
func TestReadVersions(t *testing.T) {
	instance, protocol, leader := "i1", "range", "m1"
	for version := int16(0); version <= 4; version++ {
		v := kmsg.GroupMetadataValue{Version: version, ProtocolType: "consumer", Generation: 3, Protocol: &protocol, Leader: &leader, CurrentStateTimestamp: 99}
		v.Members = []kmsg.GroupMetadataValueMember{{MemberID: "m1", InstanceID: &instance, ClientID: "c", ClientHost: "/h", RebalanceTimeoutMillis: 5, SessionTimeoutMillis: 6, Subscription: []byte("s"), Assignment: []byte("a")}}
		if version >= 4 {
			v.UnknownTags.Set(9, []byte("future"))
			v.Members[0].UnknownTags.Set(9, []byte("future"))
		}
		want := &saved{protocolType: "consumer", generation: 3, protocol: &protocol, leader: "m1", since: 99,
			members: []savedMember{{id: "m1", instance: &instance, clientID: "c", clientHost: "/h", rebalanceTimeout: 5, sessionTimeout: 6, subscription: []byte("s"), assignment: []byte("a")}}}
		if version < 1 {
			want.members[0].rebalanceTimeout = 6 // it was the session timeout
		}
		if version < 2 {
			want.since = -1
		}
		if version < 3 {
			want.members[0].instance = nil
		}
		if got, err := readGroup(v.AppendTo(nil)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("group version %d: %+v, %v", version, got, err)
		}

		o := kmsg.OffsetCommitValue{Version: version, Offset: 1, LeaderEpoch: 2, Metadata: "m", CommitTimestamp: 3, ExpireTimestamp: 4, TopicID: topicID("t")}
		if version >= 4 {
			o.UnknownTags.Set(9, []byte("future"))
		}
		c := committed{offset: 1, leaderEpoch: -1, metadata: "m", commitTime: 3, expireTime: -1}
		if version == 1 {
			c.expireTime = 4
		}
		if version >= 3 {
			c.leaderEpoch = 2
		}
		if version >= 4 {
			c.topicID = topicID("t")
		}
		if got, err := readOffset(o.AppendTo(nil)); err != nil || got != c {
			t.Errorf("offset version %d: %+v, %v", version, got, err)
		}
	}
}

// TestApplyCorrupt: a record that cannot be read is an error, and says which part.
func TestApplyCorrupt(t *testing.T) {
	for _, rec := range written() {
		for n := range rec.Key {
			if err := New(Options{}).Apply(0, 0, machine.Record{Key: rec.Key[:n], Value: rec.Value}); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("key %x cut to %d bytes: %v", rec.Key, n, err)
			}
		}
		for n := range rec.Value {
			if err := New(Options{}).Apply(0, 0, machine.Record{Key: rec.Key, Value: rec.Value[:n:n]}); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("value %x cut to %d bytes: %v", rec.Value, n, err)
			}
		}
	}
	for _, value := range []string{"0005", "ffff"} {
		b, err := hex.DecodeString(value)
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range [][]byte{groupKey("g"), offsetKey("g", "t", 0)} {
			if err := New(Options{}).Apply(0, 0, machine.Record{Key: key, Value: b}); !errors.Is(err, ErrCorrupt) {
				t.Errorf("value of version %s: %v", value, err)
			}
		}
	}
}

// TestApplyOffsetOfRecord: an offset remembers where in the log it was committed.
func TestApplyOffsetOfRecord(t *testing.T) {
	m := New(Options{})
	if err := m.Apply(17, 0, offsetRecord("g", "t", 0, committed{offset: 1, expireTime: -1})); err != nil {
		t.Fatal(err)
	}
	if c, _ := m.groups["g"].offsets.get("t", 0); c.at != 17 {
		t.Errorf("record offset %d", c.at)
	}
}

// TestApplyForeign: records of group types that are not built are passed over.
func TestApplyForeign(t *testing.T) {
	m := New(Options{})
	for _, version := range []byte{3, 4, 16, 99} {
		if err := m.Apply(0, 0, machine.Record{Key: []byte{0, version, 1, 2, 3}, Value: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	if m.ForeignRecords() != 4 || len(m.groups) != 0 {
		t.Errorf("%d foreign records, %d groups", m.ForeignRecords(), len(m.groups))
	}
}

// TestResumeStrange: whatever a record says, a group comes back with its books in order.
func TestResumeStrange(t *testing.T) {
	instance := "i"
	v := kmsg.GroupMetadataValue{Version: 3, Generation: -5}
	v.Members = []kmsg.GroupMetadataValueMember{
		{MemberID: "a", InstanceID: &instance, SessionTimeoutMillis: -7, RebalanceTimeoutMillis: -7},
		{MemberID: "a", SessionTimeoutMillis: 10},
		{MemberID: "b", InstanceID: &instance, SessionTimeoutMillis: 10},
		{MemberID: "", SessionTimeoutMillis: 10},
	}
	w := newWorld(t, Options{})
	w.log = append(w.log, logged{Record: machine.Record{Key: groupKey("g"), Value: v.AppendTo(nil)}})
	w.load()
	g := w.m.groups["g"]
	if g.state != stable || g.members.len() != 1 || g.leader != "a" || *g.protocol != "" {
		t.Errorf("%v, %d members, leader %q, protocol %q", g.state, g.members.len(), g.leader, *g.protocol)
	}
	w.advance(1e9)
	if g.state != empty || g.generation != 1 {
		t.Errorf("%v in generation %d after the sessions' end", g.state, g.generation)
	}
}

func FuzzApply(f *testing.F) {
	for _, rec := range written() {
		f.Add(rec.Key, rec.Value)
	}
	f.Fuzz(func(t *testing.T, key, value []byte) {
		w := newWorld(t, Options{})
		if w.m.Apply(0, 0, machine.Record{Key: key, Value: value}) != nil {
			return
		}
		w.log = append(w.log, logged{Record: machine.Record{Key: key, Value: value}})
		w.load()
		w.advance(1e12)
	})
}
