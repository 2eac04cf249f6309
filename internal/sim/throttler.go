package sim

import (
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/metadata"
)

// throttler is an operator who moves partitions under a throttle, as the tools for that do:
// a list of replicas in the topic, a rate at each broker, then the move; some moves are
// cancelled on their way. In the end whatever limits there are stay: what is throttled has
// to finish nevertheless.
type throttler struct {
	*Client
	c *Cluster
}

const (
	leaderList   = "leader.replication.throttled.replicas"
	followerList = "follower.replication.throttled.replicas"
	leaderRate   = "leader.replication.throttled.rate"
	followerRate = "follower.replication.throttled.rate"
)

func newThrottler(c *Cluster) *throttler {
	t := &throttler{Client: newClient(c.World, "throttler", c.brokers(), &c.Rec), c: c}
	t.versions = nil
	return t
}

func (t *throttler) start() {
	t.refresh(nil, func(bool) { t.rates() })
}

func (t *throttler) again() { t.after(500*time.Millisecond+t.upTo(3*time.Second), t.work) }

func (t *throttler) work() {
	if t.stopped {
		return
	}
	switch t.rng.IntN(4) {
	case 0:
		t.rates()
	case 1:
		t.lists(t.c.Settings.Topics[t.rng.IntN(len(t.c.Settings.Topics))], t.again)
	default:
		t.move()
	}
}

// rates sets what each broker may send and take of what is throttled, or takes that back.
// They are so low that a replica which catches up meets them, and high enough for all of
// a run to be copied within the time that it has to be well again.
func (t *throttler) rates() {
	all := []string{"100000", "200000", "500000", ""}
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	for _, h := range t.c.brokers() {
		r := kmsg.NewIncrementalAlterConfigsRequestResource()
		r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeBroker, strconv.Itoa(int(h.Node))
		r.Configs = append(r.Configs, setting(leaderRate, pick(t.rng, all...)), setting(followerRate, pick(t.rng, all...)))
		req.Resources = append(req.Resources, r)
	}
	t.ask(req, t.again)
}

// setting is a change of one; no value takes it back.
func setting(name, value string) kmsg.IncrementalAlterConfigsRequestResourceConfig {
	s := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	s.Name, s.Value = name, &value
	if value == "" {
		s.Op, s.Value = kmsg.IncrementalAlterConfigOpDelete, nil
	}
	return s
}

// lists says which replicas of a topic are throttled: all, those of some broker, or none.
func (t *throttler) lists(topic TopicSettings, done func()) {
	list := func() string {
		some := ""
		for p := range topic.Partitions {
			some += fmt.Sprintf(",%d:%d", p, 1+t.rng.IntN(t.c.Settings.Nodes))
		}
		return pick(t.rng, "*", "*", some[1:], "")
	}
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, topic.Name
	r.Configs = append(r.Configs, setting(leaderList, list()), setting(followerList, list()))
	req.Resources = append(req.Resources, r)
	t.ask(req, done)
}

func (t *throttler) ask(req kmsg.Request, done func()) {
	t.callHost(t.any(), req, 2*requestTimeout, func(kmsg.Response) { done() })
}

// move moves a partition of a topic that it throttles first, and cancels that now and then
// when it has had time to copy.
func (t *throttler) move() {
	s := &t.c.Settings
	topic := s.Topics[t.rng.IntN(len(s.Topics))]
	p := tp{topic.Name, t.rng.Int32N(int32(topic.Partitions))}
	var to []int32
	for _, i := range t.rng.Perm(s.Nodes)[:s.OffsetsRF] {
		to = append(to, int32(i+1))
	}
	t.lists(topic, func() {
		if t.stopped {
			return
		}
		if t.rng.IntN(2) == 0 {
			t.after(1+t.upTo(3*time.Second), func() { t.assign(p, nil, func() {}) })
		}
		t.assign(p, to, t.again)
	})
}

func (t *throttler) assign(p tp, to []int32, done func()) { t.ask(assignment(p, to), done) }

// throttled counts the ends of moves in topics that are throttled.
func (v *invariants) throttled(img *metadata.Image, topic, what string) {
	if of := img.Config(metadata.ResourceTopic, topic); of[leaderList] != "" || of[followerList] != "" {
		v.c.Count["throttled "+what]++
	}
}
