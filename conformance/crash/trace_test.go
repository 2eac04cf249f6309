//go:build conformance && linux

package crash

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/leat-stream/leat/conformance/harness"
	"github.com/leat-stream/leat/conformance/raw"
	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// traced are the system calls that change files or send answers.
const traced = "openat,pwrite64,pwritev,pwritev2,write,writev,sendmsg,sendfile,fsync,fdatasync,sync_file_range,syncfs," +
	"rename,renameat,renameat2,unlink,unlinkat,ftruncate,fallocate,mkdir,mkdirat,linkat"

// quiet is how long the traced process must have changed nothing for a phase to
// be over: longer than a tick of the log directory, which works in the background.
const quiet = 1500 * time.Millisecond

// TestSystemCalls compares the order of the binary's writes, syncs, renames and
// answers with a golden file. LEAT_REWRITE=1 writes it anew: read the difference.
func TestSystemCalls(t *testing.T) {
	kind, err := harness.Chosen()
	if err != nil {
		t.Fatal(err)
	}
	if kind != harness.Leat {
		t.Skip("the golden order is Leat's")
	}
	strace, err := harness.Debian("strace", "strace")
	harness.Need(t, "strace", err)
	s := newStory(t, strace)
	s.phase("start", inOrder, func() {})
	s.phase("create a topic", byFolder, func() { // the answer does not wait for what stands at the top
		s.createTopic("story", 1, "segment.bytes", "1048576", "file.delete.delay.ms", "0", "retention.ms", "-1")
	})
	s.phase("the first append, acks=all", byFile, func() { s.produce("story", 1, -1, 100) })
	s.phase("a further append, acks=all", inOrder, func() { s.produce("story", 1, -1, 100) })
	s.phase("an append, acks=1", unsynced, func() { s.produce("story", 1, 1, 100) })
	s.phase("an append that fills the segment", inOrder, func() { s.produce("story", 1, -1, 900_000) })
	s.phase("an append that rolls, and a checkpoint", byFile, func() { s.produce("story", 1, -1, 900_000) })
	s.phase("records deleted", inOrder, func() { s.deleteRecords("story", 4) })
	s.phase("a topic of many partitions", byFolder, func() { s.createTopic("many", 24, "retention.ms", "-1") })
	s.phase("the first append to many, acks=all", byFolder, func() { s.produce("many", 24, -1, 100) })
	s.phase("a further append to many, acks=all", byFolder, func() { s.produce("many", 24, -1, 100) })
	s.phase("a coordinator found", byFolder, func() { s.findCoordinator("group") })
	s.phase("an offset committed", byFolder, func() { s.commit("group") })
	s.phase("a topic deleted", settling, func() { s.deleteTopic("story") })
	s.phase("a clean stop", settling, func() {
		if err := s.broker.Stop(30 * time.Second); err != nil {
			t.Fatal(err)
		}
	})
	s.compare(filepath.Join("testdata", "syscalls.golden"))
}

// story is a traced broker, the connection that drives it, and when each phase began.
type story struct {
	seen   int64  // bytes of the trace that were looked at
	last   string // line of it that is no rest
	t      *testing.T
	broker *harness.Broker
	trace  string
	conn   *raw.Conn
	phases []phase
}

type phase struct {
	name   string
	shown  shown
	began  float64 // seconds since the epoch, as in the trace
	events []string
}

// shown says how a phase's events stand in the golden file: in the order in which
// they ended, or, where work on several things goes on at once, the events of each
// group with the answers beside them. Groups with the same events are shown once.
type shown struct {
	group     func(event string) string // nil: all in order
	answers   bool                      // show them, too
	syncsLate bool                      // they come when they come: leave them out
	without   string                    // a file that is written in this phase or in the next: leave it out
}

var (
	inOrder  = shown{}
	byFolder = shown{group: folderOf, answers: true}
	byFile   = shown{group: fileOf, answers: true}
	unsynced = shown{group: folderOf, answers: true, syncsLate: true}
	// settling: the end of the group's offsets is committed before or after the high
	// watermarks are written because the topic is gone.
	settling = shown{group: placeOf, without: "/replication-offset-checkpoint"}
)

func newStory(t *testing.T, strace string) *story {
	dir := t.TempDir()
	s := &story{t: t, trace: filepath.Join(dir, "trace")}
	began := now()
	hour := strconv.Itoa(int(time.Hour / time.Millisecond))
	s.broker = harness.StartFor(t, harness.Leat, harness.Options{
		// -D: the tracer is the child's grandchild, so the process that is started is
		// the broker.
		Wrap: []string{strace, "-D", "-f", "-ttt", "-y", "-s", "0", "-o", s.trace, "-e", "trace=" + traced},
		// Nothing that goes by the clock falls into a phase.
		Set: map[string]string{
			"log.flush.offset.checkpoint.interval.ms":       hour,
			"log.flush.start.offset.checkpoint.interval.ms": hour,
			"replica.high.watermark.checkpoint.interval.ms": hour,
			"log.retention.check.interval.ms":               "1000",
			"leat.checkpoint.bytes":                         "1500000",
			"offsets.topic.num.partitions":                  "1",
		},
	})
	conn, err := raw.Dial(s.broker.Addr, "story")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	s.conn = conn
	s.phases = []phase{{began: began}}
	return s
}

func now() float64 { return float64(time.Now().UnixMicro()) / 1e6 }

// phase runs one step and waits until the broker is quiet.
func (s *story) phase(name string, how shown, run func()) {
	s.t.Helper()
	if len(s.phases) == 1 && s.phases[0].name == "" {
		s.phases[0].name = name // the start began before the first request
	} else {
		s.phases = append(s.phases, phase{name: name, shown: how, began: now()})
	}
	run()
	since := time.Now()
	deadline := time.Now().Add(settle)
	for time.Since(since) < quiet {
		if s.worked() {
			since = time.Now()
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s: the broker does not come to rest: %s", name, s.last)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// worked tells whether the trace has grown by more than what a process does that is at
// rest: its runtime wakes its own threads for timers, by a number written to an eventfd.
func (s *story) worked() bool {
	s.t.Helper()
	f, err := os.Open(s.trace)
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	grown, err := io.ReadAll(io.NewSectionReader(f, s.seen, 1<<30))
	if err != nil {
		s.t.Fatal(err)
	}
	grown = grown[:bytes.LastIndexByte(grown, '\n')+1]
	s.seen += int64(len(grown))
	for line := range bytes.Lines(grown) {
		if !bytes.Contains(line, []byte("[eventfd]")) && !bytes.Contains(line, []byte("<... write resumed>")) && !bytes.Contains(line, []byte("--- SIG")) {
			s.last = string(line)
			return true
		}
	}
	return false
}

// ask sends one request and fails the test when it is not answered well.
func (s *story) ask(req kmsg.Request, code func(kmsg.Response) int16) {
	s.t.Helper()
	deadline := time.Now().Add(settle)
	for {
		resp, err := s.conn.Exchange(req, 20*time.Second)
		if err != nil {
			s.t.Fatal(err)
		}
		err = kerr.ErrorForCode(code(resp))
		if err == nil {
			return
		}
		if !kerr.IsRetriable(err) || time.Now().After(deadline) {
			s.t.Fatalf("%s: %v", kmsg.NameForKey(req.Key()), err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (s *story) createTopic(name string, partitions int32, configs ...string) {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version, req.TimeoutMillis = 7, 10_000
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, partitions, 1
	for i := 0; i+1 < len(configs); i += 2 {
		topic.Configs = append(topic.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: configs[i], Value: &configs[i+1]})
	}
	req.Topics = append(req.Topics, topic)
	s.ask(req, func(r kmsg.Response) int16 { return r.(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode })
}

// produce appends one record of size bytes to each of a topic's partitions, in one request.
func (s *story) produce(topic string, partitions int, acks int16, size int) {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = 9, acks, 10_000
	t := kmsg.NewProduceRequestTopic()
	t.Topic = topic
	for p := range partitions {
		t.Partitions = append(t.Partitions, kmsg.ProduceRequestTopicPartition{Partition: int32(p), Records: batchOf(make([]byte, size))})
	}
	req.Topics = append(req.Topics, t)
	s.ask(req, func(r kmsg.Response) int16 {
		for _, p := range r.(*kmsg.ProduceResponse).Topics[0].Partitions {
			if p.ErrorCode != 0 {
				return p.ErrorCode
			}
		}
		return 0
	})
}

func (s *story) deleteRecords(topic string, offset int64) {
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.Version, req.TimeoutMillis = 2, 10_000
	req.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: topic, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Offset: offset}}}}
	s.ask(req, func(r kmsg.Response) int16 { return r.(*kmsg.DeleteRecordsResponse).Topics[0].Partitions[0].ErrorCode })
	// The segment goes when retention looks next.
	s.awaitGone(filepath.Join(s.broker.Data, topic+"-0", "00000000000000000000.log"))
}

func (s *story) deleteTopic(topic string) {
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Version, req.TimeoutMillis, req.TopicNames = 5, 10_000, []string{topic}
	s.ask(req, func(r kmsg.Response) int16 { return r.(*kmsg.DeleteTopicsResponse).Topics[0].ErrorCode })
	await(s.t, "the topic's folder to go", func() bool {
		left, err := filepath.Glob(filepath.Join(s.broker.Data, topic+"-*"))
		return err == nil && len(left) == 0
	})
}

func (s *story) awaitGone(name string) {
	s.t.Helper()
	await(s.t, name+" to go", func() bool {
		_, err := os.Stat(name)
		return errors.Is(err, os.ErrNotExist)
	})
}

func (s *story) findCoordinator(group string) {
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.Version, find.CoordinatorKey = 3, group
	s.ask(find, func(r kmsg.Response) int16 { return r.(*kmsg.FindCoordinatorResponse).ErrorCode })
}

func (s *story) commit(group string) {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.Generation = 7, group, -1
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic = "story"
	topic.Partitions = append(topic.Partitions, kmsg.OffsetCommitRequestTopicPartition{Offset: 1, LeaderEpoch: -1})
	req.Topics = append(req.Topics, topic)
	s.ask(req, func(r kmsg.Response) int16 { return r.(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode })
}

// batchOf is a record batch of one value.
func batchOf(value []byte) []byte {
	body := []byte{0, 0, 0} // attributes, timestamp delta, offset delta
	body = kbin.AppendVarintBytes(body, nil)
	body = kbin.AppendVarintBytes(body, value)
	body = append(body, 0) // headers
	h := kmsg.RecordBatch{
		Magic: 2, PartitionLeaderEpoch: -1, FirstTimestamp: 1000, MaxTimestamp: 1000, ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1,
		NumRecords: 1, Records: append(kbin.AppendVarint(nil, int32(len(body))), body...),
	}
	b := h.AppendTo(nil)
	binary.BigEndian.PutUint32(b[8:], uint32(len(b)-12))
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// compare lays the trace beside the golden file.
func (s *story) compare(golden string) {
	s.t.Helper()
	got := s.render()
	if os.Getenv("LEAT_REWRITE") == "1" {
		if err := os.MkdirAll(filepath.Dir(golden), 0o755); err != nil {
			s.t.Fatal(err)
		}
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			s.t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		s.t.Fatal(err)
	}
	if got == string(want) {
		return
	}
	file := filepath.Join(s.t.TempDir(), "got")
	if dir, err := harness.Cache("conformance"); err == nil {
		file = filepath.Join(dir, "syscalls.got")
	}
	if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
		s.t.Fatal(err)
	}
	g, w := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	for i := range max(len(g), len(w)) {
		if i >= len(g) || i >= len(w) || g[i] != w[i] {
			s.t.Fatalf("the order of system calls is another one from line %d on:\nwant %s\ngot  %s\nwhole: diff %s %s",
				i+1, line(w, i), line(g, i), golden, file)
		}
	}
}

func line(l []string, i int) string {
	if i >= len(l) {
		return "(the end)"
	}
	return l[i]
}

var (
	// aLine is one line of strace: pid, time, the rest.
	aLine = regexp.MustCompile(`^(\d+) +(\d+\.\d+) (.*)$`)
	// aCall is a call's name and arguments.
	aCall   = regexp.MustCompile(`^(\w+)\((.*)$`)
	resumed = regexp.MustCompile(`^<\.\.\. (\w+) resumed>(.*)$`)
	onFile  = regexp.MustCompile(`^\d+<([^>]*)>`)
	quoted  = regexp.MustCompile(`"([^"]*)"`)
	failed  = regexp.MustCompile(`= -1 E\w+`)
	deleted = regexp.MustCompile(`\.[0-9a-f]{32}-delete`)
)

// render turns the trace into lines, a phase after the other.
func (s *story) render() string {
	s.read()
	var b strings.Builder
	for i := range s.phases {
		p := &s.phases[i]
		fmt.Fprintf(&b, "%s:\n", p.name)
		if i == 0 {
			p.events = without(p.events, "answer") // to those who ask whether it is ready
		}
		if p.shown.group == nil {
			writeEvents(&b, "\t", p.events)
		} else {
			p.writeGroups(&b)
		}
	}
	return b.String()
}

// writeGroups writes a phase's events group by group.
func (p *phase) writeGroups(b *strings.Builder) {
	alike := map[string]string{} // the events of a group -> the kind of group
	count := map[string]int{}
	for _, g := range p.groups() {
		var events strings.Builder
		writeEvents(&events, "\t\t", p.of(g))
		kind := number.ReplaceAllString(g, "-N$1")
		// A group's events are about its folder only, so nothing else has its name.
		folder, _, _ := strings.Cut(g[1:], "/")
		text := strings.ReplaceAll(events.String(), "/"+folder, "/"+number.ReplaceAllString(folder, "-N$1"))
		key := kind + "\x00" + text
		alike[key] = kind
		count[key]++
	}
	for _, key := range slices.Sorted(maps.Keys(alike)) {
		_, text, _ := strings.Cut(key, "\x00")
		if text != "" {
			fmt.Fprintf(b, "\t%s (%d):\n%s", alike[key], count[key], text)
		}
	}
}

// number is a partition's number at the end of its folder's name.
var number = regexp.MustCompile(`-\d+(/|$)`)

// writeEvents writes events, once those that follow themselves, singly or in pairs.
func writeEvents(b *strings.Builder, indent string, events []string) {
	var kept []string
	for _, e := range sortedRemovals(events) {
		n := len(kept)
		if n >= 1 && kept[n-1] == e {
			continue
		}
		kept = append(kept, e)
		if n = len(kept); n >= 4 && kept[n-1] == kept[n-3] && kept[n-2] == kept[n-4] {
			kept = kept[:n-2]
		}
	}
	for _, e := range kept {
		fmt.Fprintf(b, "%s%s\n", indent, e)
	}
}

// sortedRemovals puts removals that follow each other in the order of their names:
// a folder is emptied in the order in which the file system lists it.
func sortedRemovals(events []string) []string {
	out := slices.Clone(events)
	for i := 0; i < len(out); i++ {
		j := i
		for j < len(out) && strings.HasPrefix(out[j], "remove ") {
			j++
		}
		slices.Sort(out[i:j])
		i = max(i, j-1)
	}
	return out
}

func without(events []string, what string) []string {
	return slices.DeleteFunc(slices.Clone(events), func(e string) bool { return e == what })
}

// fileOf is the file that an event is about; a temporary one is the one it becomes.
func fileOf(event string) string {
	_, name, _ := strings.Cut(event, "/")
	name, _, _ = strings.Cut(name, " ")
	return "/" + strings.TrimSuffix(name, ".tmp")
}

// folderOf is the folder that an event is about: a partition's, the journal, or /.
func folderOf(event string) string {
	first, _, nested := strings.Cut(fileOf(event)[1:], "/")
	switch {
	case strings.HasPrefix(first, "journal-"):
		return "/journal"
	case first == "metadata.synced": // it goes with the folder
		return "/metadata"
	case nested, number.MatchString(strings.TrimSuffix(first, ".ID-delete")):
		return "/" + strings.TrimSuffix(first, ".ID-delete")
	}
	return "/"
}

// placeOf is the folder, and at the top of the data folder the file: what stands there is
// written beside each other.
func placeOf(event string) string {
	if folder := folderOf(event); folder != "/" {
		return folder
	}
	return fileOf(event)
}

// groups are those that the phase's events fall into, sorted.
func (p *phase) groups() []string {
	seen := map[string]bool{}
	for _, e := range p.events {
		if e != "answer" {
			seen[p.shown.group(e)] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// of are the events of a group, and the answers, but not beside what stands at the
// top of the data folder: checkpoints have a clock of their own.
func (p *phase) of(group string) []string {
	top := !strings.Contains(group[1:], "/") && !number.MatchString(group) && group != "/journal" && group != "/metadata"
	return slices.DeleteFunc(slices.Clone(p.events), func(e string) bool {
		if e == "answer" {
			return !p.shown.answers || top || p.shown.syncsLate && group == "/journal"
		}
		return p.shown.group(e) != group || p.shown.syncsLate && strings.HasPrefix(e, "sync ") || fileOf(e) == p.shown.without
	})
}

// read reads the trace into the phases' events.
func (s *story) read() {
	f, err := os.Open(s.trace)
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	open := map[string]string{} // calls that were begun, by pid
	in := bufio.NewScanner(f)
	in.Buffer(nil, 1<<20)
	current := 0
	for in.Scan() {
		m := aLine.FindStringSubmatch(in.Text())
		if m == nil {
			continue
		}
		at, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			s.t.Fatal(err)
		}
		what := s.event(open, m[1], m[3])
		if what == "" {
			continue
		}
		for current+1 < len(s.phases) && s.phases[current+1].began <= at {
			current++
		}
		s.phases[current].events = append(s.phases[current].events, what)
	}
	if err := in.Err(); err != nil {
		s.t.Fatal(err)
	}
}

// event is what one line of the trace says, or nothing. A call that was cut in
// two counts when it ends, and an answer when it begins: so a sync that is shown
// before an answer was over when the answer began.
func (s *story) event(open map[string]string, pid, text string) string {
	if cut, ok := strings.CutSuffix(text, " <unfinished ...>"); ok {
		if what := s.describe(cut + " = 0"); what == "answer" {
			return what
		}
		open[pid] = cut
		return ""
	}
	if m := resumed.FindStringSubmatch(text); m != nil {
		begun, ok := open[pid]
		if !ok {
			return ""
		}
		delete(open, pid)
		text = begun + m[2]
	}
	return s.describe(text)
}

// describe names one call: what it does to which file.
func (s *story) describe(text string) string {
	m := aCall.FindStringSubmatch(text)
	if m == nil || failed.MatchString(text) {
		return ""
	}
	call, args := m[1], m[2]
	file := ""
	if on := onFile.FindStringSubmatch(args); on != nil {
		file = on[1]
	}
	switch call {
	case "write", "writev", "sendmsg", "sendfile":
		if strings.HasPrefix(file, "socket:") || strings.HasPrefix(file, "TCP:") {
			return "answer"
		}
		return s.about("write", file)
	case "pwrite64", "pwritev", "pwritev2":
		return s.about("write", file)
	case "fsync", "fdatasync", "sync_file_range", "syncfs":
		return s.about("sync", file)
	case "ftruncate":
		return s.about("truncate", file)
	case "fallocate":
		return s.about("allocate", file)
	}
	names := quoted.FindAllStringSubmatch(args, -1)
	if len(names) == 0 {
		return ""
	}
	switch call {
	case "openat":
		if !strings.Contains(args, "O_CREAT") {
			return ""
		}
		return s.about("create", names[0][1])
	case "mkdir", "mkdirat":
		return s.about("make folder", names[0][1])
	case "unlink", "unlinkat":
		name := names[0][1]
		if !filepath.IsAbs(name) {
			name = filepath.Join(file, name) // it is relative to the folder of the descriptor
		}
		return s.about("remove", name)
	case "rename", "renameat", "renameat2", "linkat":
		if from := s.about("rename", names[0][1]); from != "" && len(names) == 2 {
			return from + " to " + strings.TrimPrefix(s.about("", names[1][1]), " ")
		}
	}
	return ""
}

// about says what happens to a file of the data folder; nothing of others.
func (s *story) about(what, file string) string {
	name, ok := strings.CutPrefix(file, s.broker.Data)
	if !ok {
		return ""
	}
	if name == "" {
		name = "/"
	}
	return what + " " + deleted.ReplaceAllString(name, ".ID-delete")
}
