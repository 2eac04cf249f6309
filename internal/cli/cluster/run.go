package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/internal/cli/conn"
	"github.com/leat-stream/leat/internal/cli/out"
)

// poll is how often the progress of moves is asked for.
const poll = time.Second

// runner carries plans out.
type runner struct {
	e   *conn.Env
	cl  *kgo.Client
	adm *kadm.Client

	known []string  // addresses of brokers that were up
	said  time.Time // when it was said last that nobody answers

	parallel int           // partitions that move at once
	rate     int64         // bytes a second and broker; 0 is no limit
	patience time.Duration // for how long nothing may move; 0 is for ever
}

// long runs fn with a connection and without the bound that --timeout is: it bounds
// every single request instead.
func long(e *conn.Env, cmd *cobra.Command, fn func(ctx context.Context, r *runner) error) error {
	cl, err := e.Client(cmd.Context(), answersSoon)
	if err != nil {
		return err
	}
	r := &runner{e: e}
	r.use(cl)
	defer func() { r.cl.Close() }()
	return e.Explain(fn(cmd.Context(), r))
}

// answersSoon has the client turn to another broker when one hangs.
var answersSoon = kgo.RequestTimeoutOverhead(3 * time.Second)

const (
	// askPatience is how long a step may take before another broker is asked; every step
	// may be taken twice.
	askPatience = 10 * time.Second
	// lostFor is how long the cluster may be silent.
	lostFor = 2 * time.Minute
)

func (r *runner) use(cl *kgo.Client) { r.cl, r.adm = cl, kadm.NewClient(cl) }

// once takes one step. The broker that is asked may die: then it is taken again by way
// of another.
func (r *runner) once(ctx context.Context, fn func(ctx context.Context) error) error {
	for began := time.Now(); ; {
		one, cancel := context.WithTimeout(ctx, min(r.e.Timeout(), askPatience))
		err := fn(one)
		cancel()
		if !lost(err) || ctx.Err() != nil || time.Since(began) > lostFor {
			return err
		}
		if time.Since(r.said) >= sayEvery {
			r.said = time.Now()
			r.e.Note("a broker does not answer (%s); asking others", conn.Reason(err))
		}
		if err := pause(ctx, againAfter); err != nil {
			return err
		}
		all := append(r.e.Brokers(), r.known...)
		slices.Sort(all)
		if cl, err := r.e.ClientOf(ctx, slices.Compact(all), answersSoon); err == nil {
			r.cl.Close()
			r.use(cl)
		}
	}
}

// lost tells of an error after which another broker may know better.
func lost(err error) bool {
	var (
		kafka *kerr.Error
		link  net.Error
	)
	switch {
	case err == nil:
		return false
	case errors.As(err, &kafka):
		// Others that pass say something of a partition, which no other broker knows better.
		return kafka == kerr.NotController || kafka == kerr.RequestTimedOut || kafka == kerr.NetworkException
	}
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, io.EOF) || errors.As(err, &link) || kgo.IsRetryableBrokerErr(err)
}

func (r *runner) look(ctx context.Context) (s *state, err error) {
	err = r.once(ctx, func(ctx context.Context) error {
		s, err = look(ctx, r.cl, r.adm)
		return err
	})
	if err == nil {
		r.known = nil
		for _, b := range s.brokers {
			if !b.IsFenced {
				r.known = append(r.known, address(b))
			}
		}
	}
	return s, err
}

// carryOut makes moves, some at a time, and waits for them. Once somebody takes one back, it
// begins no others.
func (r *runner) carryOut(ctx context.Context, moves []move, brokers []int32) error {
	if err := r.throttle(ctx, moves, brokers); err != nil {
		return err
	}
	bar := r.e.Progress(int64(len(moves)), "partitions moved", false)
	defer bar.Done()
	waiting, ours := moves, map[kadm.Partition]move{}
	var (
		all       outcome
		failed    error
		unstarted int
	)
	watch := newWatch(r)
	for len(waiting) > 0 || len(ours) > 0 {
		if room := min(r.parallel-len(ours), len(waiting)); room > 0 {
			batch := waiting[:room]
			waiting = waiting[room:]
			failed = r.submit(ctx, batch, ours, &all)
		}
		done, err := r.settled(ctx, ours)
		if err != nil {
			return r.interrupted(err)
		}
		all.add(done)
		if failed != nil || len(all.back) > 0 {
			unstarted, waiting = unstarted+len(waiting), nil
		}
		bar.Add(int64(done.count()))
		if err := watch.look(ctx, ours, done.count()); err != nil {
			return r.interrupted(err)
		}
		if len(ours) > 0 {
			if err := pause(ctx, poll); err != nil {
				return r.interrupted(err)
			}
		}
	}
	if back := all.told(len(moves), unstarted); back != nil && failed != nil {
		r.e.Note("%v", back)
	} else if back != nil {
		failed = back
	}
	if err := r.prefer(ctx, all.there); err != nil && failed == nil {
		failed = err
	}
	if failed == nil {
		r.e.Note("%s", all.ended())
	}
	return errors.Join(failed, r.unthrottle(ctx, topicsOf(moves), brokers))
}

// interrupted says what goes on in the cluster without the command.
func (r *runner) interrupted(err error) error {
	r.e.Note("what has begun goes on in the cluster; 'leat cluster balance --cancel' takes it back and lifts the limits of rate")
	return err
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// submit begins moves, and adds those that have begun to ours, and those whose topic is gone to all.
func (r *runner) submit(ctx context.Context, batch []move, ours map[kadm.Partition]move, all *outcome) error {
	var req kadm.AlterPartitionAssignmentsReq
	for _, m := range batch {
		req.Assign(m.topic, m.index, m.to)
		ours[kadm.Partition{Topic: m.topic, Partition: m.index}] = m
	}
	return r.once(ctx, func(ctx context.Context) error {
		rs, err := r.adm.AlterPartitionAssignments(ctx, req)
		if err != nil {
			return err
		}
		for _, a := range rs {
			for _, p := range a {
				if lost(p.Err) {
					return p.Err // no controller has decided
				}
			}
		}
		failures := r.e.Failures()
		for _, a := range rs.Sorted() {
			p := kadm.Partition{Topic: a.Topic, Partition: a.Partition}
			switch m := ours[p]; {
			case errors.Is(a.Err, kerr.UnknownTopicOrPartition):
				delete(ours, p)
				all.gone = append(all.gone, m)
			case a.Err != nil:
				delete(ours, p)
				failures.Add(fmt.Sprintf("partition %s-%d", a.Topic, a.Partition), conn.WithMessage(a.Err, a.ErrMessage))
			}
		}
		return failures.Err()
	})
}

// settled takes those of ours that no longer move away, and tells what has become of them.
func (r *runner) settled(ctx context.Context, ours map[kadm.Partition]move) (outcome, error) {
	var over []move
	err := r.once(ctx, func(ctx context.Context) error {
		moving, err := Reassignments(ctx, r.cl)
		if err != nil {
			return err
		}
		for _, p := range sorted(ours) {
			if _, still := moving[p.Topic][p.Partition]; !still {
				over = append(over, ours[p])
				delete(ours, p)
			}
		}
		return nil
	})
	if err != nil {
		return outcome{}, err
	}
	return r.outcomeOf(ctx, over)
}

// prefer makes the preferred replicas of what was moved lead. One that is not up leads
// when it is.
func (r *runner) prefer(ctx context.Context, moves []move) error {
	if len(moves) == 0 {
		return nil
	}
	set := kadm.TopicsSet{}
	for _, m := range moves {
		set.Add(m.topic, m.index)
	}
	failures, down := r.e.Failures(), 0
	err := r.once(ctx, func(ctx context.Context) error {
		rs, err := r.adm.ElectLeaders(ctx, kadm.ElectPreferredReplica, set)
		if err != nil {
			return err
		}
		for _, topic := range slices.Sorted(maps.Keys(rs)) {
			for _, index := range slices.Sorted(maps.Keys(rs[topic])) {
				switch e := rs[topic][index]; {
				case e.Err == nil, errors.Is(e.Err, kerr.ElectionNotNeeded), errors.Is(e.Err, kerr.UnknownTopicOrPartition): // it is gone
				case errors.Is(e.Err, kerr.PreferredLeaderNotAvailable):
					down++
				default:
					failures.Add(fmt.Sprintf("leader of %s-%d", topic, index), conn.WithMessage(e.Err, e.ErrMessage))
				}
			}
		}
		return nil
	})
	if down > 0 {
		r.e.Note("%s", counted(down, "1 partition is not led by its first replica, which is not up", "%d partitions are not led by their first replicas, which are not up"))
	}
	return errors.Join(err, failures.Err())
}

func topicsOf(moves []move) []string {
	var all []string
	for _, m := range moves {
		all = append(all, m.topic)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// planned is a plan as it is shown.
type planned struct {
	Moves  []plannedMove `json:"moves"`
	Copied int64         `json:"bytes_to_copy"`
	Stays  []plannedStay `json:"stays,omitempty"` // on a node that is drained
	// NoRoom are nodes that would get more if they had room for it.
	NoRoom []int32 `json:"no_room,omitempty"`
}

type plannedStay struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Why       string `json:"why"`
}

type plannedMove struct {
	Topic     string  `json:"topic"`
	Partition int32   `json:"partition"`
	From      []int32 `json:"from"`
	To        []int32 `json:"to"`
	Bytes     int64   `json:"bytes_to_copy"`
}

func show(e *conn.Env, moves []move, crowded []int32, nothing string, stays ...stay) error {
	p := planned{Moves: []plannedMove{}, NoRoom: crowded}
	if len(crowded) > 0 {
		e.Note("no room, beside what --reserve leaves free, for all that node %s would get", ids(crowded))
	}
	t := out.Table{Header: []string{"topic", "partition", "from", "to", "to copy"}, Right: []int{1, 4}, Empty: nothing}
	for _, m := range moves {
		p.Moves = append(p.Moves, plannedMove{m.topic, m.index, m.from, m.to, m.bytes})
		p.Copied += m.bytes
		t.Rows = append(t.Rows, []string{m.topic, fmt.Sprint(m.index), ids(m.from), ids(m.to), out.Bytes(m.bytes)})
	}
	if len(stays) == 0 {
		return e.Emit(p, t)
	}
	left := out.Table{Header: []string{"stays: topic", "partition", "why"}, Right: []int{1}}
	for _, s := range stays {
		p.Stays = append(p.Stays, plannedStay{s.topic, s.index, s.why})
		left.Rows = append(left.Rows, []string{s.topic, fmt.Sprint(s.index), s.why})
	}
	return e.Emit(p, t, left)
}

func ids(list []int32) string {
	var all []string
	for _, id := range list {
		all = append(all, fmt.Sprint(id))
	}
	return strings.Join(all, ",")
}

// brokerIDs are the brokers that take settings.
func brokerIDs(nodes []planNode) []int32 {
	var all []int32
	for _, n := range nodes {
		if !n.down {
			all = append(all, n.id)
		}
	}
	return all
}
