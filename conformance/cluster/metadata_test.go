//go:build conformance

package cluster

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/leat-stream/leat/conformance/raw"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// change is a request about one topic.
type change struct {
	op    string // create, delete, or look: a creation that is only validated
	topic string
}

// answer is what came of a change; code is open where that is not known.
type answer struct {
	code int16
	// again says that a broker may have asked a second controller after the first did not
	// answer: then a refusal may come of what the request itself has done (KIP-590, as
	// with Kafka).
	again bool
}

const open = -1

// topics is the model: whether there is a topic of one name.
var topics = porcupine.NondeterministicModel{
	Partition: byTopic,
	Init:      func() []any { return []any{false} },
	Step: func(state, input, output any) []any {
		there, c, a := state.(bool), input.(change), output.(answer)
		after, refusal, succeeds := there, kerr.TopicAlreadyExists.Code, !there
		switch c.op {
		case "create":
			after = true
		case "delete":
			after, refusal, succeeds = false, kerr.UnknownTopicOrPartition.Code, there
		}
		switch {
		case a.code == open:
			return []any{there, after}
		case a.code == 0 && succeeds, a.code == refusal && !succeeds, a.code == refusal && a.again && c.op != "look":
			return []any{after}
		}
		return nil
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v: %+v", input, output) },
}

func byTopic(h []porcupine.Operation) [][]porcupine.Operation {
	var names []string
	by := map[string][]porcupine.Operation{}
	for _, o := range h {
		name := o.Input.(change).topic
		if by[name] == nil {
			names = append(names, name)
		}
		by[name] = append(by[name], o)
	}
	var out [][]porcupine.Operation
	for _, name := range names {
		out = append(out, by[name])
	}
	return out
}

// changers change and read the metadata, each through one broker at a time.
type changers struct {
	c     *cluster
	again bool // controllers die meanwhile

	mu      sync.Mutex
	history []porcupine.Operation
	ids     map[[16]byte]bool
	codes   map[string]int // how often what was answered
	wrong   []string
}

// TestMetadata: topics are created and deleted and settings changed through all brokers
// at once, first in peace, then while the controller is killed. The changes are
// linearizable, and what a connection reads never goes back.
func TestMetadata(t *testing.T) {
	for _, how := range []struct {
		name  string
		kills int
	}{{"in peace", 0}, {"controllers killed", 3}} {
		t.Run(how.name, func(t *testing.T) {
			s := seed(t)
			t.Logf("LEAT_SEED=%d", s)
			c := start(t, newPlain(t), 0)
			ch := &changers{c: c, again: how.kills > 0, ids: map[[16]byte]bool{}, codes: map[string]int{}}
			stop := make(chan struct{})
			var wg sync.WaitGroup
			for i := range 2 * nodes {
				wg.Go(func() { ch.change(i, rand.New(rand.NewPCG(s, uint64(i))), stop) })
			}
			for i := range nodes {
				wg.Go(func() { ch.number(i, stop) })
			}
			if how.kills == 0 {
				pause(t, 5*time.Second)
			}
			for range how.kills {
				pause(t, time.Second)
				if n := c.controller(); n != nil {
					if err := n.Kill(); err != nil {
						t.Error(err)
						break
					}
					pause(t, 2*time.Second)
					c.restart(n)
				}
			}
			close(stop)
			wg.Wait()
			ch.judge(t)
			c.awaitHealthy("at the end")
		})
	}
}

func (ch *changers) judge(t *testing.T) {
	t.Helper()
	for _, w := range ch.wrong[:min(len(ch.wrong), 20)] {
		t.Error(w)
	}
	switch porcupine.CheckOperationsTimeout(topics.ToModel(), ch.history, time.Minute) {
	case porcupine.Illegal:
		for _, o := range ch.history {
			t.Logf("%d %d client %d: %+v: %+v", o.Call, o.Return, o.ClientId, o.Input, o.Output)
		}
		t.Error("the changes are not linearizable")
	case porcupine.Unknown:
		t.Error("whether the changes are linearizable was not found out in a minute")
	}
	t.Logf("%d changes, answered %v", len(ch.history), ch.codes)
}

// change creates, deletes and looks for topics of three names until stop.
func (ch *changers) change(client int, rng *rand.Rand, stop <-chan struct{}) {
	n := ch.c.nodes[client%nodes]
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(rng.IntN(20)) * time.Millisecond):
		}
		c := change{[]string{"create", "delete", "look"}[rng.IntN(3)], fmt.Sprintf("t%d", rng.IntN(3))}
		call := now()
		code, id := n.carry(c)
		o := porcupine.Operation{ClientId: client, Input: c, Call: int64(call), Output: answer{code, ch.again}, Return: int64(now())}
		if code == open {
			o.Return = math.MaxInt64
		}
		ch.mu.Lock()
		ch.history = append(ch.history, o)
		ch.codes[fmt.Sprint(c.op, " ", kerr.ErrorForCode(code))]++
		if c.op == "create" && code == 0 {
			if ch.ids[id] {
				ch.wrong = append(ch.wrong, fmt.Sprintf("two topics have the id %x", id))
			}
			ch.ids[id] = true
		}
		ch.mu.Unlock()
		if code == open {
			n = ch.c.nodes[rng.IntN(nodes)] // another broker
		}
	}
}

// carry sends a change to a broker.
func (n *node) carry(c change) (code int16, id [16]byte) {
	if c.op == "delete" {
		req := kmsg.NewPtrDeleteTopicsRequest()
		req.Version, req.TimeoutMillis = 6, 10_000
		topic := kmsg.NewDeleteTopicsRequestTopic()
		topic.Topic = &c.topic
		req.Topics = append(req.Topics, topic)
		resp, err := n.ask(req)
		if err != nil {
			return open, id
		}
		return known(resp.(*kmsg.DeleteTopicsResponse).Topics[0].ErrorCode, kerr.UnknownTopicOrPartition.Code), id
	}
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version, req.TimeoutMillis, req.ValidateOnly = 7, 10_000, c.op == "look"
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = c.topic, 1, 1
	req.Topics = append(req.Topics, topic)
	resp, err := n.ask(req)
	if err != nil {
		return open, id
	}
	got := resp.(*kmsg.CreateTopicsResponse).Topics[0]
	return known(got.ErrorCode, kerr.TopicAlreadyExists.Code), got.TopicID
}

// known is a code that says what became of a change; others leave it open.
func known(code, refusal int16) int16 {
	if code == 0 || code == refusal {
		return code
	}
	return open
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
	text := strconv.Itoa(value)
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.Version = 1
	res := kmsg.NewIncrementalAlterConfigsRequestResource()
	res.ResourceType, res.ResourceName = kmsg.ConfigResourceTypeTopic, own
	res.Configs = append(res.Configs, kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: "retention.ms", Value: &text})
	req.Resources = append(req.Resources, res)
	resp, err := conn.Exchange(req, 20*time.Second)
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
