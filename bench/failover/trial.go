//go:build linux

package failover

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/conformance/harness"
)

// topic is what the writers write to.
const topic = "failover"

// limit is when a trial is given up.
const limit = 60 * time.Second

// Run runs the trials of each kind and says what each came to. All run on one cluster; after a
// kind that failed, the others have a new one. What such a kind came to has the reason
// with it; an error is that of a cluster: it did not start or has lost a record.
func Run(ctx context.Context, p Plan, say func(Figure)) error {
	p.say = say
	var errs []error
	for rest := p.Do; len(rest) > 0 && ctx.Err() == nil; {
		n, err := p.some(ctx, rest)
		errs, rest = append(errs, err), rest[n:]
	}
	return errors.Join(append(errs, context.Cause(ctx))...)
}

// some runs kinds on a cluster until one of them fails, and says how many of them are
// over with. Where there is no cluster, all are.
func (p Plan) some(ctx context.Context, kinds []string) (over int, err error) {
	if err := empty(p.Scratch); err != nil {
		return len(kinds), err
	}
	c, err := start(ctx, p)
	if err == nil {
		defer func() { err = errors.Join(err, c.stop()) }()
		err = create(ctx, c, topic, p.Partitions)
	}
	if err != nil {
		for _, kind := range kinds {
			p.figure(kind, nil, nil)
		}
		return len(kinds), err
	}
	ws := newWriters(ctx, c.Addrs(), topic, p.Partitions, p.Pace)
	defer ws.close()
	for failed := false; over < len(kinds) && !failed; over++ {
		var values []float64
		if kinds[over] == "calm" {
			values, err = calm(ctx, p, c, ws)
		} else {
			values, err = trials(ctx, p, c, ws, kinds[over])
		}
		failed = err != nil
		p.figure(kinds[over], values, err)
	}
	ws.close()
	return over, check(ctx, p, c, ws)
}

// empty makes a folder empty.
func empty(dir string) error { return errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)) }

// create makes a topic of three replicas once there are three brokers.
func create(ctx context.Context, c *cluster, name string, partitions int) error {
	return await(ctx, "creating "+name, func(ctx context.Context) error {
		if s, err := stand(c.Addrs(), name); err == nil && s.whole && len(s.leads) > 0 {
			return nil
		}
		cl, err := kgo.NewClient(kgo.SeedBrokers(c.Addrs()...))
		if err != nil {
			return err
		}
		defer cl.Close()
		adm := kadm.NewClient(cl)
		if b, err := adm.ListBrokers(ctx); err != nil || len(b) < nodes {
			return fmt.Errorf("%d brokers: %w", len(b), err)
		}
		two := "2"
		if _, err := adm.CreateTopic(ctx, int32(partitions), nodes, map[string]*string{"min.insync.replicas": &two}, name); err != nil {
			return err
		}
		return errors.New("not whole yet")
	})
}

// whole waits until all replicas are in sync and every node leads its share.
func whole(ctx context.Context, c *cluster) error {
	return await(ctx, "a whole cluster", func(ctx context.Context) error {
		s, err := stand(c.Addrs(), topic)
		if err != nil {
			return err
		}
		if !s.whole {
			return errors.New("replicas are not in sync")
		}
		if len(s.leads) == nodes {
			return nil
		}
		cl, err := kgo.NewClient(kgo.SeedBrokers(c.Addrs()...))
		if err != nil {
			return err
		}
		defer cl.Close()
		if _, err := kadm.NewClient(cl).ElectLeaders(ctx, kadm.ElectPreferredReplica, nil); err != nil {
			return err
		}
		return errors.New("leaders are not where they belong")
	})
}

// trials are the times that the trials of a kind took, in ms.
func trials(ctx context.Context, p Plan, c *cluster, ws *writers, kind string) (all []float64, err error) {
	for n := range p.Rounds {
		if err := whole(ctx, c); err != nil {
			return all, err
		}
		// Not always at the same moment between two heartbeats.
		time.Sleep(time.Second + time.Duration(n*137%500)*time.Millisecond)
		took, err := trial(ctx, c, ws, kind)
		if err != nil {
			return all, err
		}
		all = append(all, float64(took.Microseconds())/1000)
	}
	return all, nil
}

// figure says what a kind came to.
func (p Plan) figure(kind string, values []float64, err error) {
	if err != nil {
		err = fmt.Errorf("%s: %w", kind, err)
	}
	if kind == "calm" {
		p.sayCalm(values, err)
		return
	}
	what := failures[kind].said
	if kind == p.Do[0] {
		what = p.whose() + ": until every partition takes acks=all writes again after " + what
	} else if !strings.HasPrefix(what, "—") {
		what = "— " + what
	}
	p.say(Figure{What: what, Unit: "ms", Goal: p.goal(kind), Wanted: p.Rounds, Values: values, Err: err})
}

// trial makes one node fail and waits until every partition is written to again.
func trial(ctx context.Context, c *cluster, ws *writers, kind string) (time.Duration, error) {
	active, _, err := controller(c)
	if err != nil {
		return 0, err
	}
	s, err := stand(c.Addrs(), topic)
	if err != nil {
		return 0, err
	}
	victim := c.node(active)
	if !failures[kind].controller {
		victim = nil
		for _, b := range c.Brokers {
			if b.ID() != active && (victim == nil || s.leads[b.ID()] > s.leads[victim.ID()]) {
				victim = b
			}
		}
	}
	if victim == nil || s.leads[victim.ID()] == 0 {
		return 0, fmt.Errorf("controller %d, leaders %v", active, s.leads)
	}
	do, undo := fails(ctx, c, victim, kind)
	at := time.Now()
	if err := do(); err != nil {
		return 0, err
	}
	gone := at
	switch kind {
	case "stop", "pause", "stop-controller":
		if err := awaitStopped(ctx, victim.PID()); err != nil {
			return 0, errors.Join(err, undo())
		}
		gone = time.Now() // what was sent until now may have been answered
	case "silent", "silent-controller":
		at = time.Now() // what was sent until now may have come through
		gone = at
	}
	if kind == "pause" {
		time.AfterFunc(4*time.Second, func() { _ = victim.Signal(syscall.SIGCONT) }) // one that has ended needs none
	}
	took, last, ok := ws.since(ctx, at, gone, limit)
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	if !ok {
		err := fmt.Errorf("partition %d took no write for %v: %s", last.partition, limit, last.reason())
		return 0, errors.Join(err, undo())
	}
	if kind == "pause" {
		time.Sleep(time.Until(at.Add(5 * time.Second)))
	}
	return took, undo()
}

// fails is what a kind does to a node, and what ends it.
func fails(ctx context.Context, c *cluster, victim *harness.Broker, kind string) (do, undo func() error) {
	signal := func(sig syscall.Signal) func() error { return func() error { return victim.Signal(sig) } }
	switch kind {
	case "stop", "pause", "stop-controller":
		return signal(syscall.SIGSTOP), signal(syscall.SIGCONT)
	case "silent", "silent-controller":
		id := int(victim.ID())
		return func() error { return c.net.Silence(id) }, func() error { return c.net.Restore(id) }
	}
	return signal(syscall.SIGKILL), func() error {
		<-victim.Dead()
		return victim.Restart(ctx)
	}
}

// whose says which nodes a figure is of.
func (p Plan) whose() string {
	if p.Kind == harness.Kafka {
		return "three nodes of Kafka"
	}
	return "three nodes"
}

// calm keeps all processors busy and counts what moves all the same: the leader epochs
// and terms of the controller that passed, and the writes that failed.
func calm(ctx context.Context, p Plan, c *cluster, ws *writers) ([]float64, error) {
	if err := whole(ctx, c); err != nil {
		return nil, err
	}
	before, err := stand(c.Addrs(), topic)
	if err != nil {
		return nil, err
	}
	_, term, err := controller(c)
	if err != nil {
		return nil, err
	}
	failures := ws.failures()
	busy, end := context.WithTimeout(ctx, p.Calm)
	defer end()
	for range 2 * runtime.NumCPU() {
		cmd := exec.CommandContext(busy, "sh", "-c", "while :; do :; done")
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		defer func() { _ = cmd.Wait() }() // it is killed
	}
	<-busy.Done()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var after standing
	if err := await(ctx, "standing", func(context.Context) (err error) { after, err = stand(c.Addrs(), topic); return err }); err != nil {
		return nil, err
	}
	_, now, err := controller(c)
	if err != nil {
		return nil, err
	}
	return []float64{float64(after.moves - before.moves + int64(now-term)), float64(ws.failures() - failures)}, nil
}

// sayCalm says what calm counted, if it did.
func (p Plan) sayCalm(values []float64, err error) {
	var moved, failed []float64
	if len(values) == 2 {
		moved, failed = values[:1], values[1:]
	}
	p.say(Figure{What: fmt.Sprintf("three nodes, all processors kept busy for %v by %d loops: leader epochs and terms of the controller that passed", p.Calm, 2*runtime.NumCPU()),
		Goal: 1, Wanted: 1, Values: moved, Err: err})
	p.say(Figure{What: "— writes that failed meanwhile", Goal: 1, Wanted: 1, Values: failed})
}

// check reads everything back: an acknowledged record lies where it was acknowledged.
func check(ctx context.Context, p Plan, c *cluster, ws *writers) error {
	if err := whole(ctx, c); err != nil {
		return err
	}
	left := 0
	for _, w := range ws.all {
		left += len(w.acked)
	}
	total := left
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.Addrs()...), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for left > 0 {
		fetches := cl.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%d of %d acknowledged records were not found", left, total)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			w := ws.all[r.Partition]
			word, known := w.acked[r.Offset]
			if !known {
				return
			}
			if len(r.Value) != 8 || binary.BigEndian.Uint64(r.Value) != word {
				err = fmt.Errorf("%s-%d at %d: %x was acknowledged, %x is there", topic, r.Partition, r.Offset, word, r.Value)
				return
			}
			delete(w.acked, r.Offset)
			left--
		})
		if err != nil {
			return err
		}
	}
	p.say(Figure{What: "— acknowledged records, all found in their places afterwards", Wanted: 1, Values: []float64{float64(total)}})
	return nil
}
