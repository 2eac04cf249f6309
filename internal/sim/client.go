package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/sim/history"
)

// Recorder keeps what the clients did and saw.
type Recorder struct {
	history.History
	Operations int
	Answered   map[string]int // by request and error
}

// Client is what every simulated client has in common: connections, and what it knows
// of the cluster by its last Metadata answer.
type Client struct {
	w    *World
	h    *Host
	rng  *rand.Rand
	rec  *Recorder
	seed []*Host // where it begins

	links   map[string]*Link
	brokers map[int32]string // host names
	topics  map[string]*topic
	stopped bool
	// versions are those that it speaks, where it is not the newest.
	versions map[int16]int16
	// begun is when the request was sent whose answer is looked at.
	begun time.Duration
}

type topic struct {
	id    [16]byte
	parts map[int32]leader
}

type leader struct {
	node  int32
	epoch int32
}

// tp is a partition.
type tp struct {
	topic string
	part  int32
}

func (p tp) history() history.Partition { return history.Partition{Topic: p.topic, Number: p.part} }

func newClient(w *World, name string, seed []*Host, rec *Recorder) *Client {
	c := &Client{
		w: w, h: w.AddHost(name, -1), rng: w.Stream("client " + name), rec: rec, seed: seed,
		links: map[string]*Link{}, brokers: map[int32]string{}, topics: map[string]*topic{},
	}
	if name != "admin" && name != "last" { // those look at the cluster for the test
		c.versions = drawVersions(w.Stream("versions " + name))
	}
	return c
}

func (c *Client) now() history.Time { return history.Time(c.w.Now()) }

// after runs f later; clients are never killed.
func (c *Client) after(d time.Duration, f func()) { c.h.Clock.AfterFunc(d, f) }

func (c *Client) backoff() time.Duration { return 50*time.Millisecond + c.upTo(200*time.Millisecond) }

func (c *Client) upTo(d time.Duration) time.Duration { return time.Duration(c.rng.Int64N(int64(d))) }

// link is the connection to a host.
func (c *Client) link(to *Host) *Link {
	l := c.links[to.Name]
	if l == nil || l.Closed() {
		l = c.w.Dial(c.h, to, ClientDoor, c.h.Name)
		c.links[to.Name] = l
	}
	return l
}

// callHost sends a request; resp is nil when there was no answer.
func (c *Client) callHost(to *Host, req kmsg.Request, timeout time.Duration, done func(resp kmsg.Response)) {
	if _, ok := newest[req.Key()]; !ok {
		c.w.Failf("no handler for %s", kmsg.NameForKey(req.Key()))
		return
	}
	if req.GetVersion() == 0 {
		req.SetVersion(c.version(req.Key()))
	}
	c.spoke(req)
	c.rec.Operations++
	begun := c.w.Now()
	c.link(to).Call(req, timeout, func(resp kmsg.Response, err error) {
		what := "answered"
		if err != nil {
			what = err.Error()
		}
		c.rec.Answered[kmsg.NameForKey(req.Key())+": "+what]++
		c.begun = begun
		if err == errTimeout {
			c.inVain(kmsg.NameForKey(req.Key()) + " to " + to.Name)
		}
		done(resp)
	})
}

// inVain takes a request whose wait was given up, by the client or by a broker: not one that
// was sent when all was well again.
func (c *Client) inVain(what string) {
	if c.w.well > 0 && c.begun >= c.w.well {
		c.w.Failf("%s: %s, sent %v after all was well, waited in vain", c.h.Name, what, c.begun-c.w.well)
	}
}

// call sends a request to a broker; one that is not known has no answer.
func (c *Client) call(node int32, req kmsg.Request, timeout time.Duration, done func(resp kmsg.Response)) {
	if h := c.w.byName[c.brokers[node]]; h != nil {
		c.callHost(h, req, timeout, done)
		return
	}
	c.after(time.Millisecond, func() { done(nil) })
}

// any is some host that the client knows of.
func (c *Client) any() *Host {
	all := slices.Clone(c.seed)
	for _, h := range c.w.hosts {
		for _, name := range c.brokers {
			if name == h.Name && !slices.Contains(all, h) {
				all = append(all, h)
				break
			}
		}
	}
	return all[c.rng.IntN(len(all))]
}

// requestTimeout of all requests that wait for nothing.
const requestTimeout = 5 * time.Second

// refresh asks some broker for the metadata of topics; ok is false when there was no
// answer. What the answer knows less of than the client did is not taken: the epoch of
// a leader only grows.
func (c *Client) refresh(names []string, done func(ok bool)) { c.refreshAt(c.any(), names, done) }

func (c *Client) refreshAt(h *Host, names []string, done func(ok bool)) {
	req := kmsg.NewPtrMetadataRequest()
	for _, name := range names {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, t)
	}
	c.callHost(h, req, requestTimeout, func(r kmsg.Response) {
		if r == nil {
			done(false)
			return
		}
		c.learn(r.(*kmsg.MetadataResponse))
		done(true)
	})
}

func (c *Client) learn(resp *kmsg.MetadataResponse) {
	for _, b := range resp.Brokers {
		c.brokers[b.NodeID] = b.Host
	}
	for _, rt := range resp.Topics {
		if rt.Topic == nil || rt.ErrorCode != 0 {
			continue
		}
		t := c.topics[*rt.Topic]
		if t == nil || t.id != rt.TopicID {
			t = &topic{id: rt.TopicID, parts: map[int32]leader{}}
			c.topics[*rt.Topic] = t
		}
		for _, p := range rt.Partitions {
			if old, known := t.parts[p.Partition]; !known || p.LeaderEpoch >= old.epoch || p.LeaderEpoch < 0 { // older versions tell none
				t.parts[p.Partition] = leader{p.Leader, p.LeaderEpoch}
			}
		}
	}
}

// leader is who leads a partition, as far as the client knows.
func (c *Client) leader(p tp) (leader, bool) {
	if t := c.topics[p.topic]; t != nil {
		l, ok := t.parts[p.part]
		return l, ok && l.node >= 0
	}
	return leader{}, false
}

// name is the topic with that id; "" when the client does not know it.
func (c *Client) name(id [16]byte) string {
	for name, t := range c.topics {
		if t.id == id {
			return name
		}
	}
	return ""
}

// noted counts an error code of an answer.
func (c *Client) noted(what string, code int16) error {
	err := kerr.ErrorForCode(code)
	if err != nil {
		c.rec.Answered[fmt.Sprint(what, ": ", err.(*kerr.Error).Message)]++
	}
	if err == kerr.RequestTimedOut {
		c.inVain(what)
	}
	return err
}
