package sim

import (
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/leat-stream/leat/internal/sim/history"
)

// Cluster is a run: nodes, clients, faults, and what is checked.
type Cluster struct {
	*World
	Settings Settings
	Nodes    []*Host
	Rec      Recorder
	Log      *slog.Logger // of the nodes

	admin     *admin
	operator  *operator
	producers []*producer
	consumers []*consumer
	members   []*member
	faults    *faults
	doubts    map[wishOf][]doubt
	inv       *invariants
	groups    *groups
	// acked, if not nil, is called when the high watermark of a partition rises at a leader.
	acked     func(*Host)
	load      Load
	deleters  []*deleter
	throttler *throttler  // nil: nobody throttles
	anew      *anew       // nil: no topic is made anew
	voters    *voterWatch // nil where an operator says who votes
}

// Length of the phases of a run, in virtual time.
const (
	forming   = 60 * time.Second // bound of the cluster's beginning
	faulty    = 2 * time.Minute
	recovery  = 3 * time.Minute // bound for all to be well again after the last fault
	finishing = 60 * time.Second
)

// goodPace is the records that a group has to commit while recovery lasts, if it has not caught up.
const goodPace = 5000

// NewCluster makes the run of a seed.
func NewCluster(seed uint64, trace io.Writer, log *slog.Logger, boot func(c *Cluster) func(*Host) (Process, error)) *Cluster {
	w := NewWorld(seed, trace)
	s := drawSettings(w.Stream("settings"))
	drawMix(w.Stream("mix"), &s)
	return newCluster(w, s, log, boot)
}

// newCluster makes the run of a world with settings.
func newCluster(w *World, s Settings, log *slog.Logger, boot func(c *Cluster) func(*Host) (Process, error)) *Cluster {
	s.Slowness = max(s.Slowness, 1)
	c := &Cluster{World: w, Settings: s}
	c.Log = slog.New(reloads{log.Handler(), c})
	c.Rec.Answered = map[string]int{}
	for i := range c.Settings.Nodes + c.Settings.Mix.Controllers {
		h := c.AddHost(fmt.Sprint("n", i+1), int32(i+1))
		h.Boot, h.syncTime, h.doors = boot(c), c.Settings.SyncTime, c.doors(h)
		c.Nodes = append(c.Nodes, h)
	}
	inv := newInvariants(c)
	c.Check, c.Ending, c.Told, c.Unanswered, c.Lost, c.Wishing = inv.check, c.ended, inv.tells, c.unanswered, inv.tellsLoss, inv.wishesOnce
	c.Returning = inv.returns
	c.inv, c.load = inv, drawLoad(w.Stream("load"))
	c.groups = &groups{c: c}
	c.Asked, c.Replied = c.groups.asked, c.groups.answered
	c.admin = newAdmin(newClient(c.World, "admin", c.brokers(), &c.Rec))
	return c
}

// Simulate is the whole run: the cluster forms, clients work while faults happen for d,
// everything heals, everything has to be well again, and the history is judged.
func (c *Cluster) Simulate(d time.Duration) error {
	c.Tracef("settings %+v", c.Settings)
	c.Settings.Mix.counts(c.Count)
	founders := c.founders()
	c.roughStart(founders)
	for _, h := range founders {
		c.Clock.AfterFunc(time.Duration(c.sched.Int64N(int64(time.Second))), h.Start)
	}
	if !c.RunUntil(forming, func() bool { return c.serving() == len(founders) }) {
		return c.stuck("the cluster does not form: %d of %d nodes serve", c.serving(), len(founders))
	}
	c.watchVoters()
	c.startOthers()
	if !c.RunUntil(forming, func() bool { return c.serving() == len(c.Nodes) }) {
		return c.stuck("the cluster does not form: %d of %d nodes serve", c.serving(), len(c.Nodes))
	}
	made := 0
	for _, t := range c.Settings.Topics {
		c.admin.create(t, func() { made++ })
	}
	if !c.RunUntil(forming, func() bool { return made == len(c.Settings.Topics) }) {
		return c.stuck("%d of %d topics were created", made, len(c.Settings.Topics))
	}
	c.faults = newFaults(c)
	c.startClients()
	if c.Settings.Faults {
		c.faults.start()
	}
	if err := c.Run(d); err != nil {
		return err
	}
	if d >= faulty { // some faults last long, and leave no room for others or for work
		c.RunUntil(faulty, func() bool {
			return (c.Count["fault"] >= leastFaults || !c.Settings.Faults) && c.Rec.Operations >= leastOperations
		})
	}
	if err := c.heal(); err != nil {
		return err
	}
	return c.judge()
}

// progressing runs until cond, as long as something goes on: amount changes.
func (c *Cluster) progressing(cond func() bool, amount func() int64) bool {
	for {
		before := amount()
		if c.RunUntil(finishing, cond) {
			return true
		}
		if c.Err() != nil || amount() == before {
			return false
		}
	}
}

// stuck is what is wrong when something that must happen did not.
func (c *Cluster) stuck(format string, args ...any) error {
	if err := c.Err(); err != nil {
		return err
	}
	c.Failf(format, args...)
	return c.Err()
}

func (c *Cluster) serving() (n int) {
	for _, h := range c.Nodes {
		if h.Serving {
			n++
		}
	}
	return n
}

func (c *Cluster) startClients() {
	all := c.Settings.partitions()
	s := &c.Settings
	for i := range s.Producers {
		p := newProducer(newClient(c.World, fmt.Sprint("p", i), c.brokers(), &c.Rec), all, -1, true)
		p.anyStart = s.AnyStart
		if i < s.Eager { // who meets what it is for only with many batches
			p.hurry()
		} else {
			p.pace = c.calm(p.pace)
		}
		c.producers = append(c.producers, p)
		p.start()
	}
	for i := range s.PlainProducers {
		p := newProducer(newClient(c.World, fmt.Sprint("q", i), c.brokers(), &c.Rec), all, int16(i%2), false)
		p.pace = c.calm(p.pace)
		c.producers = append(c.producers, p)
		p.start()
	}
	for i := range s.Consumers {
		k := newConsumer(newClient(c.World, fmt.Sprint("c", i), c.brokers(), &c.Rec), all)
		k.pace = c.calm(k.pace)
		c.consumers = append(c.consumers, k)
		k.start()
		k.after(k.backoff(), k.latest)
	}
	for g := range s.Groups {
		for i := range s.Members {
			m := newMember(newClient(c.World, fmt.Sprintf("g%d-%d", g, i), c.brokers(), &c.Rec), fmt.Sprint("g", g), all, s.GroupSession)
			m.deposed = func(node int32) bool { return c.groups.deposed(node, m.group) }
			m.pace = c.calm(m.pace)
			c.members = append(c.members, m)
			m.start()
		}
	}
	c.startLoad()
	c.admin.start(c.Settings)
	c.operator = newOperator(c)
	c.operator.start()
}

// calm is how long clients of this seed wait where the fastest wait for d.
func (c *Cluster) calm(d time.Duration) time.Duration { return d * time.Duration(c.Settings.Slowness) }

// heal ends all faults; then everything that was begun has to be finished.
func (c *Cluster) heal() error {
	c.Tracef("all is healed")
	c.faults.end()
	for _, p := range c.producers {
		p.stopped = true
		p.delivery = recovery
	}
	c.admin.stopped, c.operator.stopped = true, true
	c.stopLoad()
	healed := c.Now()
	if !c.RunUntil(recovery, func() bool { return c.serving() == len(c.Nodes) }) {
		return c.stuck("%d of %d nodes serve again", c.serving(), len(c.Nodes))
	}
	if !c.RunUntil(recovery, func() bool { return c.operator.whole(healed) }) {
		return c.stuck("the quorum is not whole: voters %v, of which %v are no more", c.operator.voters, c.operator.gone)
	}
	if v := c.voters; v != nil && !c.RunUntil(recovery, v.enough) {
		return c.stuck("the cluster does not get its voters by itself: there are %d, and %d controllers", len(v.voters), len(c.Settings.controllers()))
	}
	for _, p := range c.producers {
		p.drain()
	}
	if !c.RunUntil(recovery, c.allIdle) {
		return c.stuck("producers wait for ever: %s", c.waiting())
	}
	if c.anew != nil && !c.RunUntil(recovery, c.anew.idle) {
		return c.stuck("the topic that is made anew is not there for good, or its producers wait for ever")
	}
	whole := false
	var look func()
	look = func() {
		c.admin.inSync(c.Settings, func(ok bool) {
			if whole = ok && !slices.ContainsFunc(c.links, (*Link).orphaned); !whole {
				c.admin.after(500*time.Millisecond, look)
			}
		})
	}
	look()
	if !c.RunUntil(recovery, func() bool { return whole }) {
		return c.stuck("replicas do not come back in sync: %s", c.admin.behind)
	}
	c.well = c.Now()
	fresh := newProducer(newClient(c.World, "fresh", c.brokers(), &c.Rec), c.Settings.partitions(), -1, true)
	c.producers = append(c.producers, fresh)
	fresh.each()
	if !c.RunUntil(finishing, fresh.idle) {
		return c.stuck("a new producer makes no progress: %s", c.waiting())
	}
	return nil
}

func (c *Cluster) allIdle() bool {
	for _, p := range c.producers {
		if !p.idle() {
			return false
		}
	}
	return true
}

func (c *Cluster) waiting() (s string) {
	for _, p := range c.producers {
		for _, t := range p.parts {
			if n := len(p.lines[t].batches); n > 0 {
				s += fmt.Sprintf("%s has %d batches for %v; ", p.h.Name, n, t)
			}
		}
	}
	return s
}

// judge reads everything and has the history checked.
func (c *Cluster) judge() error {
	parts := c.Settings.partitions()
	last := newConsumer(newClient(c.World, "last", c.brokers(), &c.Rec), parts)
	last.start()
	starts, ends := map[tp]int64{}, map[tp]int64{}
	var ask func(t tp, at int64, into map[tp]int64)
	ask = func(t tp, at int64, into map[tp]int64) {
		last.list(t, at, func(offset int64, ok bool) {
			if ok {
				into[t] = offset
				return
			}
			last.after(last.backoff(), func() { ask(t, at, into) })
		})
	}
	for _, t := range parts {
		last.after(time.Second, func() { ask(t, -2, starts); ask(t, -1, ends) })
	}
	caughtUp := func(k *consumer) bool {
		for _, t := range parts {
			if end, ok := ends[t]; !ok || len(starts) < len(parts) || k.parts[t] == nil || k.parts[t].at < end {
				return false
			}
		}
		return true
	}
	all := append([]*consumer{last}, c.consumers...)
	if !c.progressing(func() bool { return !slices.ContainsFunc(all, func(k *consumer) bool { return !caughtUp(k) }) }, func() (n int64) {
		for _, k := range all {
			for _, p := range k.parts {
				n += p.at
			}
		}
		return n
	}) {
		for _, k := range all {
			for _, t := range parts {
				if p := k.parts[t]; p.at < ends[t] {
					return c.stuck("%s stands at %d of %v, which ends at %d", k.h.Name, p.at, t, ends[t])
				}
			}
		}
		return c.stuck("ends of partitions are not told: %d of %d", len(ends), len(parts))
	}
	if err := c.groupsCatchUp(parts, ends); err != nil {
		return err
	}
	if c.anew != nil {
		if err := c.anew.judge(); err != nil {
			return err
		}
	}
	for _, t := range parts {
		l := history.Log{Partition: t.history(), Start: starts[t], End: ends[t]}
		for _, r := range c.Rec.Reads {
			if r.Consumer == "last" && r.Partition == l.Partition {
				for _, rec := range r.Records {
					if rec.Offset >= l.Start { // or it was deleted since
						l.Records = append(l.Records, rec)
					}
				}
			}
		}
		c.Rec.Logs = append(c.Rec.Logs, l)
	}
	for _, t := range parts {
		c.replicasAgree(t)
	}
	for _, f := range history.Check(&c.Rec.History) {
		c.Failf("history: %v", f)
	}
	for _, h := range c.Nodes {
		c.ended(h)
	}
	return c.Err()
}

// groupsCatchUp waits until every group has read and committed everything. A group that eager
// producers have left far behind gets more time for as long as it goes on at a good pace.
func (c *Cluster) groupsCatchUp(parts []tp, ends map[tp]int64) error {
	lag := func() (left int64, why string) {
		type key struct {
			group string
			part  history.Partition
		}
		at := map[key]int64{}
		for _, o := range c.Rec.Commits {
			if o.Outcome == history.OK {
				k := key{o.Group, o.Partition}
				at[k] = max(at[k], o.Offset)
			}
		}
		for g := range c.Settings.Groups {
			for _, t := range parts {
				if n := at[key{fmt.Sprint("g", g), t.history()}]; n < ends[t] {
					left += ends[t] - n
					why = fmt.Sprintf("group g%d committed %d of %v, which ends at %d", g, n, t, ends[t])
				}
			}
		}
		return left, why
	}
	next := c.Now()
	done := func() bool { // looked at now and then: it is no cheap question
		if c.Now() < next {
			return false
		}
		next = c.Now() + time.Second
		left, _ := lag()
		return left == 0
	}
	before, _ := lag()
	for !c.RunUntil(recovery, done) {
		left, why := lag()
		if c.Err() != nil || before-left < goodPace {
			return c.stuck("%s", why)
		}
		before = left
		c.Count["group far behind"]++
	}
	return nil
}

// Report says in a few lines what happened.
func (c *Cluster) Report() string {
	return fmt.Sprintf("seed %d: %d events, %v, %d operations, %d faults, %d produced, %d reads, counts %v",
		c.Seed, c.Events, c.Now().Round(time.Millisecond), c.Rec.Operations, c.Count["fault"], len(c.Rec.Produces), len(c.Rec.Reads), c.Count)
}
