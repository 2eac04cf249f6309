package group

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/machine"
)

var rewrite = flag.Bool("rewrite", false, "write the transcripts in testdata anew")

// TestTranscripts plays every file of testdata. A file is a story: a line is a verb,
// the name of who asks, and key=value arguments; what follows "| " is what happened.
// Random parts of member ids are shown as #1, #2 and so on.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(want))
			if *rewrite {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(want) {
				t.Errorf("the story differs (run with -rewrite and review the difference):\n%s", firstDifference(string(want), got))
			}
		})
	}
}

func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(w), len(g)) {
		if w[i] != g[i] {
			return fmt.Sprintf("line %d\n want %s\n got  %s", i+1, w[i], g[i])
		}
	}
	return fmt.Sprintf("want %d lines, got %d", len(w), len(g))
}

// story is a transcript being played.
type story struct {
	*world
	out   strings.Builder
	names map[machine.Token]string
	uuids map[string]string // uuid to #n
	back  map[string]string // #n to uuid
}

var (
	uuidPattern  = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`)
	aliasPattern = regexp.MustCompile(`#\d+`)
)

func play(t *testing.T, script string) string {
	s := &story{names: make(map[machine.Token]string), uuids: make(map[string]string), back: make(map[string]string)}
	s.start(t, Options{})
	for i, line := range strings.Split(strings.TrimRight(script, "\n"), "\n") {
		if strings.HasPrefix(line, "| ") {
			continue
		}
		s.out.WriteString(line + "\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if err := s.run(strings.Fields(line)); err != nil {
			t.Fatalf("line %d: %s: %v", i+1, line, err)
		}
	}
	return s.out.String()
}

func (s *story) start(t testing.TB, opts Options) {
	s.world = newWorld(t, opts)
	s.onRecord = func(rec machine.Record) { s.say("log: %s", showRecord(rec)) }
	s.onReply = func(token machine.Token, body any) { s.say("%s <- %s", s.names[token], show(body)) }
	s.onEvent = func(e Event) { s.say("event: %s", e) }
}

func (s *story) say(format string, args ...any) {
	line := uuidPattern.ReplaceAllStringFunc(fmt.Sprintf(format, args...), func(u string) string {
		if s.uuids[u] == "" {
			alias := "#" + strconv.Itoa(len(s.uuids)+1)
			s.uuids[u], s.back[alias] = alias, u
		}
		return s.uuids[u]
	})
	s.out.WriteString("| " + line + "\n")
}

// args are the key=value arguments of a verb.
type args map[string]string

func (a args) str(key, def string) string {
	if v, ok := a[key]; ok {
		return v
	}
	return def
}

func (a args) opt(key string) *string {
	if v, ok := a[key]; ok {
		return &v
	}
	return nil
}

func (a args) num(key string, def int64) int64 {
	n, err := strconv.ParseInt(a.str(key, strconv.FormatInt(def, 10)), 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

func (a args) ms(key, def string) int64 {
	d, err := time.ParseDuration(a.str(key, def))
	if err != nil {
		panic(err)
	}
	return d.Milliseconds()
}

func (a args) list(key string) []string {
	if a[key] == "" {
		return nil
	}
	return strings.Split(a[key], ",")
}

func (a args) context() Context {
	return Context{ClientID: a.str("client", "c"), ClientHost: "/127.0.0.1", Version: int16(a.num("v", 9))}
}

func (s *story) run(f []string) error {
	verb, f := f[0], f[1:]
	name := ""
	if len(f) > 0 && !strings.Contains(f[0], "=") {
		name, f = f[0], f[1:]
	}
	a := args{}
	for _, kv := range f {
		k, v, _ := strings.Cut(kv, "=")
		a[k] = aliasPattern.ReplaceAllStringFunc(v, func(alias string) string { return s.back[alias] })
	}
	switch verb {
	case "options":
		s.start(s.t, Options{
			InitialRebalanceDelay: time.Duration(a.ms("initial-delay", "0s")) * time.Millisecond,
			MaxSize:               int(a.num("max-size", 0)), MaxPending: int(a.num("max-pending", 0)),
			MaxBatchBytes: int(a.num("max-batch", 0)),
		})
	case "advance":
		d, err := time.ParseDuration(name)
		if err != nil {
			return err
		}
		s.advance(d)
	case "reload":
		for _, token := range s.load() {
			s.say("%s <- lost", s.names[token])
		}
	case "keep-alive": // heartbeats, of which only the news are told
		r, err := request("heartbeat", a)
		if err != nil {
			return err
		}
		tell := s.onReply
		s.onReply = func(token machine.Token, body any) {
			if h, ok := body.(*kmsg.HeartbeatResponse); !ok || h.ErrorCode != 0 {
				tell(token, body)
			}
		}
		for end := s.now.Add(time.Duration(a.ms("for", "")) * time.Millisecond); s.now.Before(end); {
			s.names[s.token+1] = name
			s.submit(r)
			s.advance(min(9*time.Second, end.Sub(s.now)))
		}
		s.onReply = tell
	case "limit": // the settings change at the next load
		s.opts.MaxSize = int(a.num("max-size", 0))
	case "timers":
		for _, g := range s.m.sorted() {
			for key, at := range s.timers {
				if key == joinKey(g) || key == syncKey(g) {
					s.say("%c of %s in %v", key[0], g.id, at.Sub(s.now))
				}
			}
			for _, m := range g.members.all() {
				s.say("session of %s ends in %v", m.id, s.timers[sessionKey(g, m.id)].Sub(s.now))
			}
		}
	default:
		req, err := request(verb, a)
		if err != nil {
			return err
		}
		s.names[s.token+1] = name
		if token := s.submit(req); s.open[token] {
			s.say("%s waits", name)
		}
	}
	return nil
}

// request makes the request of a verb.
func request(verb string, a args) (any, error) {
	group := a.str("group", "g")
	switch verb {
	case "join":
		r := kmsg.NewPtrJoinGroupRequest()
		r.Group, r.MemberID, r.InstanceID = group, a["member"], a.opt("instance")
		r.SessionTimeoutMillis, r.RebalanceTimeoutMillis = int32(a.ms("session", "10s")), int32(a.ms("rebalance", "60s"))
		r.ProtocolType = a.str("type", "consumer")
		for _, p := range strings.Split(a.str("protocols", "range:t"), ",") {
			name, topics, _ := strings.Cut(p, ":")
			jp := kmsg.NewJoinGroupRequestProtocol()
			jp.Name, jp.Metadata = name, consumerMetadata(strings.Split(topics, "+")...)
			if p != "" {
				r.Protocols = append(r.Protocols, jp)
			}
		}
		return Join{Context: a.context(), Req: r}, nil
	case "sync":
		r := kmsg.NewPtrSyncGroupRequest()
		r.Group, r.MemberID, r.InstanceID, r.Generation = group, a["member"], a.opt("instance"), int32(a.num("generation", 1))
		r.ProtocolType, r.Protocol = a.opt("type"), a.opt("protocol")
		for _, kv := range a.list("assign") {
			member, assignment, _ := strings.Cut(kv, ":")
			ra := kmsg.NewSyncGroupRequestGroupAssignment()
			ra.MemberID, ra.MemberAssignment = member, []byte(assignment)
			r.GroupAssignment = append(r.GroupAssignment, ra)
		}
		return Sync{Context: a.context(), Req: r}, nil
	case "heartbeat":
		r := kmsg.NewPtrHeartbeatRequest()
		r.Group, r.MemberID, r.InstanceID, r.Generation = group, a["member"], a.opt("instance"), int32(a.num("generation", 1))
		return Heartbeat{a.context(), r}, nil
	case "leave":
		r := kmsg.NewPtrLeaveGroupRequest()
		r.Group = group
		for _, who := range strings.Split(a.str("members", ""), ",") {
			member, instance, static := strings.Cut(who, "/")
			lm := kmsg.NewLeaveGroupRequestMember()
			if lm.MemberID = member; static {
				lm.InstanceID = &instance
			}
			r.Members = append(r.Members, lm)
		}
		return Leave{a.context(), r}, nil
	case "commit":
		r := kmsg.NewPtrOffsetCommitRequest()
		r.Group, r.MemberID, r.InstanceID, r.Generation = group, a["member"], a.opt("instance"), int32(a.num("generation", -1))
		r.RetentionTimeMillis = -1
		if a["keep"] != "" {
			r.RetentionTimeMillis = a.ms("keep", "")
		}
		for _, topic := range strings.Split(a.str("topics", "t"), ",") {
			rt := kmsg.NewOffsetCommitRequestTopic()
			rt.Topic, rt.TopicID = topic, topicID(topic+a["id"])
			for p := range a.num("partitions", 1) {
				rp := kmsg.NewOffsetCommitRequestTopicPartition()
				rp.Partition, rp.Offset, rp.LeaderEpoch = int32(p), a.num("offset", 1), int32(a.num("epoch", -1))
				if m := a.opt("metadata"); m != nil {
					*m = strings.Repeat(*m, int(a.num("times", 1)))
					rp.Metadata = m
				}
				rt.Partitions = append(rt.Partitions, rp)
			}
			r.Topics = append(r.Topics, rt)
		}
		return CommitOffsets{a.context(), r}, nil
	case "fetch":
		r := kmsg.NewOffsetFetchRequestGroup()
		r.Group = group
		for _, topic := range a.list("topics") {
			rt := kmsg.NewOffsetFetchRequestGroupTopic()
			rt.Topic, rt.Partitions = topic, []int32{0}
			if id := a.opt("id"); id != nil {
				rt.TopicID = topicID(topic + *id)
			}
			r.Topics = append(r.Topics, rt)
		}
		return FetchOffsets{Context: a.context(), Req: &r}, nil
	case "describe":
		return Describe{a.context(), group}, nil
	case "list":
		return List{a.list("states"), a.list("types")}, nil
	case "delete-group":
		return DeleteGroup{group}, nil
	case "delete-offsets":
		r := kmsg.NewPtrOffsetDeleteRequest()
		r.Group = group
		for _, topic := range a.list("topics") {
			rt := kmsg.NewOffsetDeleteRequestTopic()
			rt.Topic = topic
			for p := range a.num("partitions", 1) {
				rp := kmsg.NewOffsetDeleteRequestTopicPartition()
				rp.Partition = int32(p)
				rt.Partitions = append(rt.Partitions, rp)
			}
			r.Topics = append(r.Topics, rt)
		}
		return DeleteOffsets{r}, nil
	case "topic-deleted":
		return TopicsDeleted{[]Topic{{a["topic"], topicID(a["topic"] + a["id"])}}}, nil
	}
	return nil, fmt.Errorf("no such verb: %s", verb)
}

// consumerMetadata is what a consumer says of its subscription.
func consumerMetadata(topics ...string) []byte {
	m := kmsg.NewConsumerMemberMetadata()
	m.Topics = topics
	return m.AppendTo(nil)
}

func topicID(name string) (id [16]byte) {
	copy(id[:], "id-of-"+name)
	return id
}

func errorName(code int16) string {
	if code == 0 {
		return "NONE"
	}
	return kerr.TypedErrorForCode(code).Message
}
