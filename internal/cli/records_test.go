package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/cli/conn"
)

func TestProduceAndConsume(t *testing.T) {
	w := newWorld(t, kfake.SeedTopics(1, "t"))
	r := w.run("a:1\nb:\nc:3:4", "produce", "t", "-K", ":", "-H", "x=y")
	if r.code != 0 || r.out != "" || r.err != "3 records to t\n" {
		t.Errorf("%+v", r)
	}
	if got := w.ok("", "consume", "t", "-u", "end", "-t", `%p %o %k=%v %h{%k:%v}\n`); got != "0 0 a=1 x:y\n0 1 b= x:y\n0 2 c=3:4 x:y\n" {
		t.Errorf("%q", got)
	}
	if got := w.ok("", "consume", "t", "--until", "end"); got != "1\n\n3:4\n" {
		t.Errorf("%q", got)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"-o", "1", "-u", "end"}, "\n3:4\n"},
		{[]string{"-o", "-1", "-u", "end"}, "3:4\n"},
		{[]string{"-o", "+1", "-u", "2"}, "\n"},
		{[]string{"-o", "end", "-u", "end"}, ""},
		{[]string{"-o", "99", "-u", "end"}, ""},
		{[]string{"-n", "2"}, "1\n\n"},
		{[]string{"-o", "@1h", "-u", "@0"}, ""},
		{[]string{"-o", "@1h", "-u", "end", "-p", "0"}, "1\n\n3:4\n"},
	} {
		if got := w.ok("", append([]string{"consume", "t"}, c.args...)...); got != c.want {
			t.Errorf("%q: %q, want %q", c.args, got, c.want)
		}
	}
	table := lines(w.ok("", "consume", "t", "-u", "1", "--format", "table"))
	if len(table) != 2 || table[0] != "PARTITION OFFSET TIMESTAMP KEY VALUE" || !strings.HasPrefix(table[1], "0 0 2") {
		t.Errorf("%q", table)
	}
	w.fails(2, "topic t has no such partition", "consume", "t", "-p", "7")
	w.fails(1, "topic nope: UNKNOWN_TOPIC_OR_PARTITION", "consume", "nope", "--until", "end")
}

func TestConsumeAsJSON(t *testing.T) {
	w := newWorld(t, kfake.SeedTopics(1, "t"))
	w.ok("\xff\xfe\n", "produce", "t", "-k", "k")
	w.ok("", "produce", "t", "-k", "k", "--tombstone")
	text := strings.Split(strings.TrimSpace(w.ok("", "consume", "t", "-u", "end", "--format", "json")), "\n")
	type rec struct {
		Offset      int64
		Key, Value  *string
		ValueBase64 []byte `json:"value_base64"`
		Timestamp   time.Time
	}
	var a, b rec
	if len(text) != 2 || json.Unmarshal([]byte(text[0]), &a) != nil || json.Unmarshal([]byte(text[1]), &b) != nil {
		t.Fatalf("%q", text)
	}
	if a.Value != nil || string(a.ValueBase64) != "\xff\xfe" || *a.Key != "k" || time.Since(a.Timestamp) > time.Hour {
		t.Errorf("%+v", a)
	}
	if b.Value != nil || b.ValueBase64 != nil || b.Offset != 1 {
		t.Errorf("%+v", b)
	}
}

// TestConsumeReportsItsLastCommit: records that will be read again are a failure, also
// after Ctrl-C.
func TestConsumeReportsItsLastCommit(t *testing.T) {
	w := newWorld(t, kfake.SeedTopics(1, "t"))
	w.ok("a\nb\n", "produce", "t")
	w.cluster.ControlKey(kmsg.OffsetCommit.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
		w.cluster.KeepControl()
		resp := r.ResponseKind().(*kmsg.OffsetCommitResponse)
		for _, rt := range r.(*kmsg.OffsetCommitRequest).Topics {
			t := kmsg.NewOffsetCommitResponseTopic()
			t.Topic, t.TopicID = rt.Topic, rt.TopicID
			for _, rp := range rt.Partitions {
				p := kmsg.NewOffsetCommitResponseTopicPartition()
				p.Partition, p.ErrorCode = rp.Partition, kerr.GroupAuthorizationFailed.Code
				t.Partitions = append(t.Partitions, p)
			}
			resp.Topics = append(resp.Topics, t)
		}
		return resp, nil, true
	})
	const message = "the last offsets of group g are not committed: GROUP_AUTHORIZATION_FAILED"
	w.fails(1, message, "consume", "t", "--group", "g", "--count", "1")
	w.fails(1, message, "consume", "t", "--group", "g", "--until", "end")

	ctx, interrupt := context.WithCancel(t.Context())
	var stderr bytes.Buffer
	code := Run(ctx, Options{
		In: strings.NewReader(""), Out: first{interrupt}, Err: &stderr, Version: "test",
		Getenv: func(string) string { return w.servers },
	}, []string{"consume", "t", "--group", "h", "--bootstrap-server", w.servers})
	if code != 1 || !strings.Contains(stderr.String(), "the last offsets of group h are not committed") {
		t.Fatalf("after an interrupt: exit %d\n%s", code, &stderr)
	}
}

// TestConsumeReportsWhatCannotBeRead: damage ends a reading with an error, while what
// may pass is waited for.
func TestConsumeReportsWhatCannotBeRead(t *testing.T) {
	w := newWorld(t, kfake.SeedTopics(1, "t"))
	w.ok("a\nb\n", "produce", "t")
	answer := func(code *kerr.Error, again bool) {
		w.cluster.ControlKey(kmsg.Fetch.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
			if again {
				w.cluster.KeepControl()
			}
			resp := r.ResponseKind().(*kmsg.FetchResponse)
			for _, rt := range r.(*kmsg.FetchRequest).Topics {
				t := kmsg.NewFetchResponseTopic()
				t.Topic, t.TopicID = rt.Topic, rt.TopicID
				for _, rp := range rt.Partitions {
					p := kmsg.NewFetchResponseTopicPartition()
					p.Partition, p.ErrorCode = rp.Partition, code.Code
					t.Partitions = append(t.Partitions, p)
				}
				resp.Topics = append(resp.Topics, t)
			}
			return resp, nil, true
		})
	}
	answer(kerr.KafkaStorageError, false)
	if got := w.ok("", "consume", "t", "--until", "end"); got != "a\nb\n" {
		t.Errorf("%q", got)
	}
	answer(kerr.CorruptMessage, true)
	w.fails(1, "CORRUPT_MESSAGE", "consume", "t", "--until", "end")
}

// first calls a function when something is written.
type first struct{ call func() }

func (f first) Write(p []byte) (int, error) {
	f.call()
	return len(p), nil
}

func TestProduceForms(t *testing.T) {
	w := newWorld(t, kfake.SeedTopics(3, "t"))
	file := filepath.Join(t.TempDir(), "in")
	if err := os.WriteFile(file, []byte("one\r\ntwo\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var sum struct {
		Records, Bytes int64
		Partitions     []struct{ Partition, Records, First int64 }
	}
	w.json(&sum, "produce", "t", "--file", file, "-p", "2", "-z", "zstd", "--acks", "leader")
	if sum.Records != 2 || sum.Bytes != 6 || len(sum.Partitions) != 1 || sum.Partitions[0].Partition != 2 {
		t.Errorf("%+v", sum)
	}
	w.ok("h1:a,h2:b\tk\tv\n", "produce", "t", "-K", `\t`, "--line-headers", "-p", "1", "-q")
	if got := w.ok("", "consume", "t", "-p", "1", "-u", "end", "-t", `%h{%k=%v;}%k,%v\n`); got != "h1=a;h2=b;k,v\n" {
		t.Errorf("%q", got)
	}
	w.ok("6b 76", "produce", "t", "--layout", "%k{hex} %v{hex}", "-p", "0")
	if got := w.ok("", "consume", "t", "-p", "0", "-u", "end", "-t", `%k %v\n`); got != "k v\n" {
		t.Errorf("%q", got)
	}
	if r := w.run("novalue\n", "produce", "t", "-K", ":"); r.code != 1 || !strings.Contains(r.err, "line 1: nothing separates key and value") {
		t.Errorf("%+v", r)
	}
	w.fails(1, "no such file", "produce", "t", "--file", file+"x")
	// A topic that does not exist is created.
	w.ok("x\n", "produce", "fresh")
	if got := w.ok("", "consume", "fresh", "-n", "1"); got != "x\n" {
		t.Errorf("%q", got)
	}
}

func TestRateSpreadsRecordsInTime(t *testing.T) {
	w := newWorld(t, kfake.SeedTopics(1, "t"))
	w.ok("a\nb\nc\n", "produce", "t", "--rate", "50")
	var times []time.Time
	for _, l := range strings.Fields(w.ok("", "consume", "t", "-u", "end", "-t", `%d{go##2006-01-02T15:04:05.000Z07:00##}\n`)) {
		at, err := time.Parse(time.RFC3339Nano, l)
		if err != nil {
			t.Fatal(err)
		}
		times = append(times, at)
	}
	if len(times) != 3 || times[2].Sub(times[0]) < 35*time.Millisecond {
		t.Errorf("%v", times)
	}
}

func TestConsumeManyTopics(t *testing.T) {
	w := newWorld(t, kfake.SeedTopics(2, "orders-a", "orders-b", "bills"))
	for _, topic := range []string{"orders-a", "orders-b", "bills"} {
		w.ok(topic+"\n", "produce", topic)
	}
	got := strings.Fields(w.ok("", "consume", "^orders-", "--regex", "-u", "end"))
	slices.Sort(got)
	if !slices.Equal(got, []string{"orders-a", "orders-b"}) {
		t.Errorf("%q", got)
	}
	w.fails(1, "no topic matches", "consume", "^x", "--regex")
}

func TestGroups(t *testing.T) {
	w := newWorld(t, kfake.SeedTopics(1, "t"))
	w.ok("1\n2\n3\n4\n", "produce", "t")
	if got := w.ok("", "consume", "t", "-g", "g", "-n", "2"); got != "1\n2\n" {
		t.Errorf("%q", got)
	}
	// What was written out is committed, and nothing more.
	if got := w.ok("", "consume", "t", "-g", "g", "-n", "1"); got != "3\n" {
		t.Errorf("%q", got)
	}
	w.ok("", "consume", "t", "-g", "other", "-n", "1")
	if got := w.ok("", "consume", "t", "-g", "other", "--from", "end", "-u", "end"); got != "2\n3\n4\n" {
		t.Errorf("%q", got)
	}
	w.ok("", "group", "delete", "other")
	// A group at the end has nothing to wait for: it is not even joined.
	joins := 0
	w.cluster.ControlKey(int16(kmsg.JoinGroup), func(kmsg.Request) (kmsg.Response, error, bool) {
		w.cluster.KeepControl()
		joins++
		return nil, nil, false
	})
	if got := w.ok("", "consume", "t", "-g", "g", "-u", "3"); got != "" || joins != 0 {
		t.Errorf("%q, %d joins", got, joins)
	}
	var d []struct {
		Group, State string
		Lag          int64
		Partitions   []struct{ Committed, End, Lag int64 }
	}
	w.json(&d, "group", "describe", "g")
	if len(d) != 1 || d[0].State != "Empty" || d[0].Lag != 1 || len(d[0].Partitions) != 1 || d[0].Partitions[0].Committed != 3 {
		t.Errorf("%+v", d)
	}
	if text := w.ok("", "group", "describe", "g"); !slices.Contains(lines(text), "t 0 3 4 1") {
		t.Error(text)
	}
	wantLines(t, w.ok("", "group", "list", "--state", "empty"), "GROUP STATE TYPE COORDINATOR", "g Empty consumer 0")
	wantLines(t, w.ok("", "group", "reset-offsets", "g", "-t", "t", "--to", "start", "--dry-run"), "TOPIC PARTITION BEFORE AFTER", "t 0 3 0")
	w.json(&d, "group", "describe", "g")
	if d[0].Lag != 1 {
		t.Error("a dry run changed something")
	}
	for _, c := range []struct{ to, want string }{
		{"start", "t 0 3 0"}, {"2", "t 0 0 2"}, {"-1", "t 0 2 3"}, {"end", "t 0 3 4"}, {"99", "t 0 4 4"}, {"@0", "t 0 4 0"}, {"current", "t 0 0 0"},
	} {
		if got := lines(w.ok("", "group", "reset-offsets", "g", "--all-topics", "--to", c.to)); got[1] != c.want {
			t.Errorf("--to %s: %q, want %q", c.to, got[1], c.want)
		}
	}
	w.fails(1, "topic t has no partition 7", "group", "reset-offsets", "g", "-t", "t:7", "--to", "start")
	w.fails(1, "group fresh has committed nothing", "group", "reset-offsets", "fresh", "--all-topics", "--to", "start")
	w.ok("", "group", "delete", "g")
	w.fails(1, "group g: GROUP_ID_NOT_FOUND", "group", "delete", "g")
	w.fails(1, "group nope: GROUP_ID_NOT_FOUND", "group", "describe", "nope")
}

func TestProduceEndsWhileItWaitsForInput(t *testing.T) {
	w := newWorld(t, kfake.SeedTopics(1, "t"))
	ctx, interrupt := context.WithCancel(context.Background())
	defer interrupt()
	in, typed := io.Pipe()
	defer typed.Close()
	var stderr bytes.Buffer
	code := make(chan int, 1)
	go func() {
		code <- Run(ctx, Options{In: in, Out: io.Discard, Err: &stderr, Getenv: func(string) string { return w.servers }}, []string{"produce", "t"})
	}()
	if _, err := io.WriteString(typed, "a\n"); err != nil {
		t.Fatal(err)
	}
	if got := w.ok("", "consume", "t", "-n", "1"); got != "a\n" { // it is sent, and produce waits for the next line
		t.Errorf("%q", got)
	}
	interrupt()
	if got := <-code; got != 130 || stderr.String() != "1 record to t\n" {
		t.Errorf("exit %d, %q", got, stderr.String())
	}
}

func TestRefusedRecordsSayWhatIsMissing(t *testing.T) {
	if err := (&conn.Env{}).Explain(kerr.InvalidRecord); !strings.Contains(err.Error(), "without a key") {
		t.Error(err)
	}
}

func TestProduceEndsWhenARecordIsRefused(t *testing.T) {
	w := newWorld(t, kfake.SeedTopics(1, "t"))
	in, typed := io.Pipe()
	defer typed.Close()
	var stderr bytes.Buffer
	code := make(chan int, 1)
	go func() {
		code <- Run(t.Context(), Options{In: in, Out: io.Discard, Err: &stderr, Getenv: func(string) string { return w.servers }},
			[]string{"produce", "t", "--partition", "7"})
	}()
	if _, err := io.WriteString(typed, "a\n"); err != nil {
		t.Fatal(err)
	}
	if got := <-code; got != 1 || !strings.Contains(stderr.String(), "1 record not written") {
		t.Errorf("exit %d, %q", got, stderr.String())
	}
}

// TestProduceOldRecords: records that bring their time along are written, however old they are.
func TestProduceOldRecords(t *testing.T) {
	w := newWorld(t)
	w.ok("1000000000000 a2s= //4=\n", "produce", "orders", "--layout", `%d %k{base64} %v{base64}\n`)
	if got := strings.TrimSpace(w.ok("", "consume", "orders", "--until", "end", "--template", `%d %k %v{hex}`)); got != "1000000000000 kk fffe" {
		t.Error(got)
	}
}
