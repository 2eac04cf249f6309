package group

import "github.com/twmb/franz-go/pkg/kbin"

func (t *turn) scheduleExpiry() {
	t.after(string(timerExpire), millis(t.opts.OffsetsRetentionCheckInterval))
}

// expire removes the offsets whose time has come, and Empty groups that have none
// left (KIP-211). What does not go into one batch follows in the next decision.
func (t *turn) expire() {
	defer t.tellExpired()
	for _, g := range t.sorted() {
		if g.id < t.expireFrom {
			continue
		}
		if !t.expireGroup(g) {
			t.expireFrom = g.id
			t.after(string(timerExpire), 0)
			return
		}
	}
	t.expireFrom = ""
	t.scheduleExpiry()
}

// tellExpired tells what this decision removed.
func (t *turn) tellExpired() {
	var e OffsetsExpired
	for _, rec := range t.out.Records {
		key := kbin.Reader{Src: rec.Key}
		if key.Int16() == keyGroup {
			e.Groups++
		} else {
			e.Offsets++
		}
	}
	if e != (OffsetsExpired{}) {
		t.tell(e)
	}
}

// expireGroup looks at one group; false when the batch is full.
func (t *turn) expireGroup(g *group) bool {
	kept := false
	for _, topic := range g.offsets.topics() {
		subscribed := g.subscribes(topic)
		for _, p := range g.offsets.partitions(topic) {
			c, _ := g.offsets.get(topic, p)
			if subscribed || !t.expired(g, c) {
				kept = true
			} else if !t.tombstone(g, topic, p) {
				return false
			}
		}
	}
	if kept || !g.idle() {
		return true
	}
	return t.bury(g)
}

// expired says whether an offset's time has come:
//   - with an expiry of its own (commits of versions 2 to 4), at that time;
//   - in a group without members, a retention after the last one left or the commit,
//     whichever is later (Kafka does not look at the commit, and soon loses offsets
//     that are set by hand in a group that has long been empty);
//   - in a Stable consumer group, for a topic to which it is not subscribed, or in a
//     group of offsets only, a retention after the commit;
//   - else never.
func (t *turn) expired(g *group, c committed) bool {
	base := c.commitTime
	switch {
	case g.protocolType == "":
	case g.state == empty:
		base = max(base, g.since)
	case g.state == stable && g.protocolType == consumerType && g.aware:
	default:
		return false
	}
	if c.expireTime != -1 {
		return t.ms() >= c.expireTime
	}
	return t.ms()-base >= t.opts.OffsetsRetention.Milliseconds()
}

// subscribes says whether the group's members take the topic. A consumer group whose
// topics are not known counts as taking all.
func (g *group) subscribes(topic string) bool {
	if !g.aware {
		return g.protocolType == consumerType
	}
	return g.subscribed[topic]
}

// learnTopics reads the topics from the members' metadata.
func (g *group) learnTopics() {
	g.subscribed, g.aware = nil, false
	if g.protocolType != consumerType {
		return
	}
	topics := make(map[string]bool)
	for _, m := range g.members.all() {
		if g.protocol == nil || !subscription(m.metadata(*g.protocol), topics) {
			return
		}
	}
	g.subscribed, g.aware = topics, true
}

// subscription adds the topics of a consumer's metadata. Only the part that all
// versions share is read: version, topics, user data.
func subscription(metadata []byte, topics map[string]bool) bool {
	b := kbin.Reader{Src: metadata}
	b.Int16()
	for n := b.ArrayLen(); n > 0 && b.Ok(); n-- {
		if s := b.String(); b.Ok() {
			topics[s] = true
		}
	}
	b.NullableBytes()
	return b.Ok()
}
