//go:build conformance

package cluster

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/leat-stream/leat/conformance/faults"
	"github.com/leat-stream/leat/conformance/harness"
	"github.com/leat-stream/leat/conformance/raw"
	"github.com/leat-stream/leat/internal/nodewire"
	"github.com/leat-stream/leat/internal/sim/history"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// changers change and read the metadata: one half of them each through a broker, which
// asks the controller for them, the others at the active controller's own door.
type changers struct {
	c *cluster

	mu       sync.Mutex
	history  []porcupine.Operation
	troubled []span // when a broker may have asked more than one controller
	ids      map[[16]byte]bool
	codes    map[string]int // how often what was answered
	wrong    []string
	size     [stay]int64 // how many partitions there are, about
	values   int64
}

// stay is how many topics there are that nobody deletes, with a setting that is written
// and partitions that are added.
const stay = 2

// Their first settings and numbers of partitions.
const firstValue, firstSize = 3_600_000, 1

func staying(i int) string { return fmt.Sprintf("stays-%d", i) }

// TestMetadata: topics are created and deleted, settings changed and partitions added
// through all brokers and at the controllers' doors at once, first in peace, then while
// the controller is killed, stopped and cut off. The changes are linearizable, and what
// a connection reads never goes back.
func TestMetadata(t *testing.T) {
	t.Run("in peace", func(t *testing.T) { metadata(t, newPlain(t), false) })
	t.Run("controllers fail", func(t *testing.T) {
		if err := harness.MayNet(); err != nil {
			t.Logf("no controller is cut off from the other voters alone: %v", err)
			metadata(t, newPlain(t), true)
			return
		}
		metadata(t, newNamespaced(t), true)
	})
}

func metadata(t *testing.T, f fabric, trouble bool) {
	t.Helper()
	s := seed(t)
	t.Logf("LEAT_SEED=%d", s)
	c := start(t, f, 0)
	ch := &changers{c: c, ids: map[[16]byte]bool{}, codes: map[string]int{}}
	ch.found(t)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 2 * nodes {
		wg.Go(func() { ch.change(i, rand.New(rand.NewPCG(s, uint64(i))), stop) })
	}
	for i := range nodes {
		wg.Go(func() { ch.watch(2*nodes+i, rand.New(rand.NewPCG(s, uint64(2*nodes+i))), stop) })
		wg.Go(func() { ch.number(i, stop) })
	}
	if trouble {
		ch.fail(t, rand.New(rand.NewPCG(s, 1000)))
	} else {
		term, from := c.leaderTerm(), now()
		pause(t, 5*time.Second)
		ch.calm(t, term, int64(from))
	}
	close(stop)
	wg.Wait()
	ch.judge(t)
	c.awaitHealthy("at the end")
}

// failure is something that happens to a controller, and ends.
type failure struct {
	name     string
	do, undo func(n *node) error
	pairs    bool // needs a fabric that tells who dials
}

// fail makes the controller fail in every way, in random order, with a second of peace
// before each.
func (ch *changers) fail(t *testing.T, rng *rand.Rand) {
	t.Helper()
	c := ch.c
	ways := []failure{
		{"kill -9", func(n *node) error { return n.Kill() }, func(n *node) error { return n.Start() }, false},
		{"SIGSTOP", func(n *node) error { return n.Signal(syscall.SIGSTOP) }, func(n *node) error { return n.Signal(syscall.SIGCONT) }, false},
		{"cut off", ch.around(func(p *faults.Proxy) { p.Refuse(true) }), ch.healed, true},
		{"unheard, and hears nothing", ch.around(func(p *faults.Proxy) { p.Hold(faults.Both) }), ch.healed, true},
	}
	_, spaces := c.fabric.(*namespaced)
	ways = slices.DeleteFunc(ways, func(w failure) bool { return w.pairs && !spaces })
	rng.Shuffle(len(ways), func(i, j int) { ways[i], ways[j] = ways[j], ways[i] })
	for _, w := range ways {
		term, from := c.leaderTerm(), int64(now())
		pause(t, time.Second)
		ch.calm(t, term, from)
		n := c.controller()
		if n == nil {
			t.Error("there is no controller, and nothing is broken")
			return
		}
		before, began := c.leaderTerm(), int64(now())
		if err := w.do(n); err != nil {
			t.Fatal(err)
		}
		after := ch.elected(t, n, before)
		elected := int64(now())
		pause(t, 2*time.Second)
		if err := w.undo(n); err != nil {
			t.Fatal(err)
		}
		c.awaitHealthy("after " + w.name)
		whole := int64(now())
		if c.leaderTerm() == after {
			ch.trouble(span{began, elected, 0}, span{elected, whole, n.id})
		} else {
			ch.trouble(span{began, whole, 0})
		}
		t.Logf("the controller, node %d: %s; another after %v, whole after %v", n.id, w.name,
			time.Duration(elected-began).Round(time.Millisecond), time.Duration(whole-began).Round(time.Millisecond))
	}
}

// elected waits until the other nodes know of another controller, and gives its term.
func (ch *changers) elected(t *testing.T, old *node, before int32) (term int32) {
	t.Helper()
	await(t, "another controller", func() bool {
		for _, id := range others(old.id) {
			q, err := ch.c.nodes[id-1].quorumWithin(500 * time.Millisecond)
			if err != nil || q.LeaderID < 0 || int(q.LeaderID) == old.id || q.LeaderEpoch <= before {
				return false
			}
			term = q.LeaderEpoch
		}
		return true
	})
	return term
}

// around does something to all proxies between a node and the others.
func (ch *changers) around(do func(p *faults.Proxy)) func(n *node) error {
	return func(n *node) error {
		for _, o := range others(n.id) {
			for _, p := range slices.Concat(ch.c.fabric.links(n.id, o), ch.c.fabric.links(o, n.id)) {
				do(p)
			}
		}
		return nil
	}
}

func (ch *changers) healed(*node) error { ch.c.fabric.heal(); return nil }

func (ch *changers) trouble(spans ...span) {
	ch.mu.Lock()
	ch.troubled = append(ch.troubled, spans...)
	ch.mu.Unlock()
}

// leaderTerm is the term of the controller, -1 while none is known.
func (c *cluster) leaderTerm() int32 {
	for _, n := range c.nodes {
		if q, err := n.quorum(); err == nil && q.LeaderID >= 0 {
			return q.LeaderEpoch
		}
	}
	return -1
}

// calm looks whether the controller was the same since: on a busy machine it may change
// with nothing broken.
func (ch *changers) calm(t *testing.T, term int32, from int64) {
	t.Helper()
	if got := ch.c.leaderTerm(); got != term || got < 0 {
		t.Logf("the controller changed with nothing broken, from term %d to %d", term, got)
		ch.trouble(span{from, int64(now()), 0})
	}
}

func (ch *changers) judge(t *testing.T) {
	t.Helper()
	for _, w := range ch.wrong[:min(len(ch.wrong), 20)] {
		t.Error(w)
	}
	first := map[string]int64{}
	for i := range stay {
		first[settingOf(i)], first[sizeOf(i)] = firstValue, firstSize
	}
	h := withRepeats(ch.history, ch.troubled)
	switch object, verdict := linearizable(h, first, time.Minute); verdict {
	case porcupine.Illegal:
		for _, o := range h {
			if o.Input.(change).object == object {
				t.Logf("%d %d client %d: %v: %v", o.Call, o.Return, o.ClientId, o.Input, o.Output)
			}
		}
		t.Errorf("the changes of %s are not linearizable", object)
	case porcupine.Unknown:
		t.Errorf("whether the changes of %s are linearizable was not found out in a minute", object)
	}
	t.Logf("%d operations, %d that may have been carried out again, answered %v", len(ch.history), len(h)-len(ch.history), ch.codes)
	for _, op := range []string{"create", "delete", "look", "set", "grow", "read"} {
		if ch.codes[op+" done"] == 0 {
			t.Errorf("no %s was answered", op)
		}
	}
	for _, op := range []string{"create", "delete", "look", "grow"} {
		if ch.codes[op+" refused"] == 0 {
			t.Errorf("no %s was refused", op)
		}
	}
}

func settingOf(i int) string { return staying(i) + " setting" }
func sizeOf(i int) string    { return staying(i) + " partitions" }

// found creates the topics that stay.
func (ch *changers) found(t *testing.T) {
	t.Helper()
	for i := range stay {
		ch.size[i] = firstSize
		ch.c.createTopicAs(staying(i), firstValue)
	}
}

// unique tells the creations of the topics that stay: who asks for them again is told
// what they are by now, by the controller.
func unique(topic string) []byte { return []byte(topic) }

// creation is a CreateTopics of one topic with one replica, told from all others.
func creation(topic string, unique []byte) *kmsg.CreateTopicsRequest {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version, req.TimeoutMillis = 7, 10_000
	one := kmsg.NewCreateTopicsRequestTopic()
	one.Topic, one.NumPartitions, one.ReplicationFactor = topic, firstSize, 1
	req.Topics = append(req.Topics, one)
	nodewire.SetCreation(req, unique)
	return req
}

func (c *cluster) createTopicAs(topic string, value int64) {
	c.t.Helper()
	text := strconv.FormatInt(value, 10)
	req := creation(topic, unique(topic))
	req.Topics[0].Configs = append(req.Topics[0].Configs, kmsg.CreateTopicsRequestTopicConfig{Name: "retention.ms", Value: &text})
	resp, err := c.nodes[0].ask(req)
	if err == nil {
		err = kerr.ErrorForCode(resp.(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode)
	}
	if err != nil {
		c.t.Fatalf("creating %s: %v", topic, err)
	}
}

// markOf is how a topic's id begins: it tells which creation has made it.
func markOf(id [16]byte) int64 { return int64(binary.BigEndian.Uint64(id[:8]) >> 16) }

// markBy is that of the topic that a creation makes.
func markBy(unique []byte, topic string) int64 {
	h := sha256.Sum256(append(slices.Clone(unique), topic...))
	h[0] &= 0x7f
	return markOf([16]byte(h[:16]))
}

// change creates, deletes and looks for topics of three names, writes settings, adds
// partitions, and reads, until stop.
func (ch *changers) change(client int, rng *rand.Rand, stop <-chan struct{}) {
	direct := client >= nodes
	n := ch.c.nodes[client%nodes]
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(rng.IntN(20)) * time.Millisecond):
		}
		a := asker{ch, nil, 5 * time.Second, client, n.id}
		addr := n.client
		if direct {
			addr, a.limit, a.via = ch.c.fabric.controllers(n.id), 2*time.Second, 0
		}
		var err error
		if a.conn, err = raw.Dial(addr, "change"); err != nil { // nothing was asked
			n = ch.another(direct, rng)
			continue
		}
		known := true
		if k := rng.IntN(10); k < 6 {
			known = a.topic([]string{"create", "delete", "look"}[k%3], fmt.Sprintf("t%d", rng.IntN(3)), fmt.Appendf(nil, "%d-%d", client, i))
		} else {
			known = a.stays([]string{"set", "grow", "read", "read"}[k-6], rng.IntN(stay), rng.Int64N(2))
		}
		_ = a.conn.Close()
		if !known {
			n = ch.another(direct, rng)
		}
	}
}

// watch reads at one node's own door for controllers: also of one that is a controller no
// more and may not know it.
func (ch *changers) watch(client int, rng *rand.Rand, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(rng.IntN(20)) * time.Millisecond):
		}
		conn, err := raw.Dial(ch.c.fabric.controllers(client%nodes+1), "watch")
		if err != nil {
			continue
		}
		a := asker{ch, conn, 500 * time.Millisecond, client, 0}
		a.stays("read", rng.IntN(stay), 0)
		_ = conn.Close()
	}
}

// another is the node to go on with: any, or the one that is told to have the active controller.
func (ch *changers) another(direct bool, rng *rand.Rand) *node {
	n := ch.c.nodes[rng.IntN(nodes)]
	if !direct {
		return n
	}
	if p, err := n.quorumWithin(200 * time.Millisecond); err == nil && p.LeaderID >= 1 && p.LeaderID <= nodes {
		return ch.c.nodes[p.LeaderID-1]
	}
	return n
}

// asker is one connection of one client.
type asker struct {
	*changers
	conn   *raw.Conn
	limit  time.Duration // of each answer
	client int
	via    int // as in change
}

// topic asks for one change of a topic that comes and goes; known tells whether the
// outcome is.
func (a asker) topic(op, topic string, unique []byte) (known bool) {
	in := change{op: op, object: topic}
	if op == "delete" {
		req := kmsg.NewPtrDeleteTopicsRequest()
		req.Version, req.TimeoutMillis = 6, 10_000
		one := kmsg.NewDeleteTopicsRequestTopic()
		one.Topic = &topic
		req.Topics = append(req.Topics, one)
		call := now()
		resp, err := a.conn.Exchange(req, a.limit)
		out := answer{what: open}
		if err == nil {
			got := resp.(*kmsg.DeleteTopicsResponse).Topics[0]
			out = answer{outcomeOf(got.ErrorCode, kerr.UnknownTopicOrPartition), markOf(got.TopicID)}
		}
		return a.note(call, in, out)
	}
	in.to = markBy(unique, topic)
	req := creation(topic, unique)
	req.ValidateOnly = op == "look"
	call := now()
	resp, err := a.conn.Exchange(req, a.limit)
	out := answer{what: open}
	if err == nil {
		got := resp.(*kmsg.CreateTopicsResponse).Topics[0]
		out.what = outcomeOf(got.ErrorCode, kerr.TopicAlreadyExists)
		if op == "create" && out.what == done {
			a.newID(got.TopicID, in)
		}
	}
	return a.note(call, in, out)
}

// newID looks at the id of a topic that was made.
func (ch *changers) newID(id [16]byte, c change) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if ch.ids[id] {
		ch.wrong = append(ch.wrong, fmt.Sprintf("two topics have the id %x", id))
	}
	if markOf(id) != c.to {
		ch.wrong = append(ch.wrong, fmt.Sprintf("%v was answered with the id %x, which another creation has made", c, id))
	}
	ch.ids[id] = true
}

// stays asks for one change of a topic that stays, or reads it.
func (a asker) stays(op string, i int, more int64) (known bool) {
	switch op {
	case "set":
		a.mu.Lock()
		a.values++
		in := change{op: op, object: settingOf(i), to: firstValue + a.values}
		a.mu.Unlock()
		req := setRequest(staying(i), strconv.FormatInt(in.to, 10))
		call := now()
		resp, err := a.conn.Exchange(req, a.limit)
		out := answer{what: open}
		if err == nil {
			out.what = outcomeOf(resp.(*kmsg.IncrementalAlterConfigsResponse).Resources[0].ErrorCode, nil)
		}
		return a.note(call, in, out)
	case "grow":
		a.mu.Lock()
		in := change{op: op, object: sizeOf(i), to: a.size[i] + more}
		a.mu.Unlock()
		req := kmsg.NewPtrCreatePartitionsRequest()
		req.Version, req.TimeoutMillis = 3, 10_000
		req.Topics = append(req.Topics, kmsg.CreatePartitionsRequestTopic{Topic: staying(i), Count: int32(in.to)})
		call := now()
		resp, err := a.conn.Exchange(req, a.limit)
		out := answer{what: open}
		if err == nil {
			got := resp.(*kmsg.CreatePartitionsResponse).Topics[0]
			out = answer{outcomeOf(got.ErrorCode, kerr.InvalidPartitions), in.to}
			if out.what == refused {
				out.saw = a.refusedSize(got.ErrorMessage)
			}
			if out.what != open {
				a.mu.Lock()
				a.size[i] = max(a.size[i], out.saw)
				a.mu.Unlock()
			}
		}
		return a.note(call, in, out)
	}
	req := creation(staying(i), unique(staying(i)))
	call := now()
	resp, err := a.conn.Exchange(req, a.limit)
	if err != nil {
		return false // a read without an answer says nothing
	}
	got := resp.(*kmsg.CreateTopicsResponse).Topics[0]
	if got.ErrorCode != 0 {
		if got.ErrorCode == kerr.TopicAlreadyExists.Code {
			a.mu.Lock()
			a.wrong = append(a.wrong, fmt.Sprintf("the creation of %s, asked again, was refused", staying(i)))
			a.mu.Unlock()
		}
		return false
	}
	value := int64(-1)
	for _, k := range got.Configs {
		if k.Name == "retention.ms" && k.Value != nil {
			value, _ = strconv.ParseInt(*k.Value, 10, 64) // else it is no value that was set
		}
	}
	a.note(call, change{op: op, object: settingOf(i)}, answer{done, value})
	return a.note(call, change{op: op, object: sizeOf(i)}, answer{done, int64(got.NumPartitions)})
}

var sizeText = regexp.MustCompile(`has (\d+) partition`)

// refusedSize is how many partitions there are, as a refusal to add some says.
func (ch *changers) refusedSize(message *string) int64 {
	text := ""
	if message != nil {
		text = *message
	}
	m := sizeText.FindStringSubmatch(text)
	if m == nil {
		ch.mu.Lock()
		ch.wrong = append(ch.wrong, fmt.Sprintf("a refusal to add partitions says %q", text))
		ch.mu.Unlock()
		return -1
	}
	n, _ := strconv.ParseInt(m[1], 10, 64) // digits
	return n
}

// outcomeOf reads a code: other errors say nothing of what became of a change.
func outcomeOf(code int16, refusal *kerr.Error) outcome {
	switch {
	case code == 0:
		return done
	case refusal != nil && code == refusal.Code:
		return refused
	}
	return open
}

// note adds an operation that has just ended to the history.
func (a asker) note(call history.Time, in change, out answer) (known bool) {
	in.via = a.via
	o := porcupine.Operation{ClientId: a.client, Input: in, Call: int64(call), Output: out, Return: int64(now())}
	if out.what == open {
		o.Return = math.MaxInt64
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.history = append(a.history, o)
	a.codes[in.op+" "+string(out.what)]++
	return out.what != open
}

// number counts a setting of a topic up, through one broker, and reads it and those of
// the others on connections that stay: what is read never goes back, nor behind what
// was acknowledged on the same connection.
func (ch *changers) number(i int, stop <-chan struct{}) {
	own := fmt.Sprintf("numbered-%d", i)
	seen := map[string]int{} // of this connection
	var conn *raw.Conn
	defer func() {
		if conn != nil {
			_ = conn.Close()
		}
	}()
	for value := 1_000_000; ; value++ {
		select {
		case <-stop:
			return
		case <-time.After(10 * time.Millisecond):
		}
		if conn == nil {
			var err error
			if conn, err = raw.Dial(ch.c.nodes[i].client, "number"); err != nil {
				continue
			}
			seen = map[string]int{}
		}
		if err := ch.count(conn, own, value, seen); err != nil {
			_ = conn.Close()
			conn = nil
		}
	}
}

// setRequest sets a topic's retention.ms.
func setRequest(topic, value string) *kmsg.IncrementalAlterConfigsRequest {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.Version = 1
	res := kmsg.NewIncrementalAlterConfigsRequestResource()
	res.ResourceType, res.ResourceName = kmsg.ConfigResourceTypeTopic, topic
	res.Configs = append(res.Configs, kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: "retention.ms", Value: &value})
	req.Resources = append(req.Resources, res)
	return req
}

// count writes a number and reads all; an error is one of the connection.
func (ch *changers) count(conn *raw.Conn, own string, value int, seen map[string]int) error {
	if value == 1_000_000 {
		req := kmsg.NewPtrCreateTopicsRequest()
		req.Version, req.TimeoutMillis = 7, 10_000
		topic := kmsg.NewCreateTopicsRequestTopic()
		topic.Topic, topic.NumPartitions, topic.ReplicationFactor = own, 1, 1
		req.Topics = append(req.Topics, topic)
		if _, err := conn.Exchange(req, 20*time.Second); err != nil {
			return err
		}
	}
	resp, err := conn.Exchange(setRequest(own, strconv.Itoa(value)), 20*time.Second)
	if err != nil {
		return err
	}
	if resp.(*kmsg.IncrementalAlterConfigsResponse).Resources[0].ErrorCode == 0 {
		seen[own] = value
	}
	ask := kmsg.NewPtrDescribeConfigsRequest()
	ask.Version = 4
	for i := range nodes {
		r := kmsg.NewDescribeConfigsRequestResource()
		r.ResourceType, r.ResourceName, r.ConfigNames = kmsg.ConfigResourceTypeTopic, fmt.Sprintf("numbered-%d", i), []string{"retention.ms"}
		ask.Resources = append(ask.Resources, r)
	}
	if resp, err = conn.Exchange(ask, 20*time.Second); err != nil {
		return err
	}
	for _, r := range resp.(*kmsg.DescribeConfigsResponse).Resources {
		got := 0
		if r.ErrorCode == 0 && len(r.Configs) == 1 && r.Configs[0].Value != nil {
			got, _ = strconv.Atoi(*r.Configs[0].Value) // it is a number, or 0 is told below
		}
		if got >= 1_000_000 && got < 100_000_000 || seen[r.ResourceName] > 0 { // beside the default
			ch.mu.Lock()
			ch.codes["read"]++
			if got < seen[r.ResourceName] {
				ch.wrong = append(ch.wrong, fmt.Sprintf("%s is %d (%v) on a connection on which it was %d", r.ResourceName, got,
					kerr.ErrorForCode(r.ErrorCode), seen[r.ResourceName]))
			}
			ch.mu.Unlock()
			seen[r.ResourceName] = got
		}
	}
	return nil
}
