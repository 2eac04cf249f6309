package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/internal/cli/conn"
	"github.com/leat-stream/leat/internal/cli/out"
)

// The settings that limit the rate at which moved replicas are copied.
const (
	leaderRate   = "leader.replication.throttled.rate"
	followerRate = "follower.replication.throttled.rate"
	leaderList   = "leader.replication.throttled.replicas"
	followerList = "follower.replication.throttled.replicas"
)

// poll is how often the progress of moves is asked for.
const poll = time.Second

// runner carries plans out.
type runner struct {
	e   *conn.Env
	cl  *kgo.Client
	adm *kadm.Client

	known []string // addresses of brokers that were up
	said  bool     // that nobody answers

	parallel int   // partitions that move at once
	rate     int64 // bytes a second and broker; 0 is no limit
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
		if !r.said {
			r.said = true
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
		return kafka.Retriable
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

// carryOut makes moves, some at a time, and waits for them.
func (r *runner) carryOut(ctx context.Context, moves []move, brokers []int32) error {
	if err := r.throttle(ctx, moves, brokers); err != nil {
		return err
	}
	bar := r.e.Progress(int64(len(moves)), "partitions moved", false)
	defer bar.Done()
	waiting, ours := moves, map[kadm.Partition]move{}
	var failed error
	for len(waiting) > 0 || len(ours) > 0 {
		if room := min(r.parallel-len(ours), len(waiting)); room > 0 && failed == nil {
			batch := waiting[:room]
			waiting = waiting[room:]
			failed = r.submit(ctx, batch, ours)
		}
		if failed != nil {
			waiting = nil
		}
		done, err := r.settled(ctx, ours)
		if err != nil {
			return r.interrupted(err)
		}
		bar.Add(int64(done))
		if len(ours) > 0 {
			if err := pause(ctx, poll); err != nil {
				return r.interrupted(err)
			}
		}
	}
	if err := r.prefer(ctx, moves); err != nil && failed == nil {
		failed = err
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

// submit begins moves, and adds those that have begun to ours.
func (r *runner) submit(ctx context.Context, batch []move, ours map[kadm.Partition]move) error {
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
		failures := r.e.Failures()
		for _, a := range rs.Sorted() {
			if a.Err != nil {
				delete(ours, kadm.Partition{Topic: a.Topic, Partition: a.Partition})
				failures.Add(fmt.Sprintf("partition %s-%d", a.Topic, a.Partition), conn.WithMessage(a.Err, a.ErrMessage))
			}
		}
		return failures.Err()
	})
}

// settled takes those of ours that no longer move away, and counts them.
func (r *runner) settled(ctx context.Context, ours map[kadm.Partition]move) (done int, err error) {
	err = r.once(ctx, func(ctx context.Context) error {
		moving, err := reassignments(ctx, r.cl)
		if err != nil {
			return err
		}
		for p := range ours {
			if _, still := moving[p.Topic][p.Partition]; !still {
				delete(ours, p)
				done++
			}
		}
		return nil
	})
	return done, err
}

// prefer makes the preferred replicas of what was moved lead.
func (r *runner) prefer(ctx context.Context, moves []move) error {
	set := kadm.TopicsSet{}
	for _, m := range moves {
		set.Add(m.topic, m.index)
	}
	return r.once(ctx, func(ctx context.Context) error {
		rs, err := r.adm.ElectLeaders(ctx, kadm.ElectPreferredReplica, set)
		if err != nil {
			return err
		}
		failures := r.e.Failures()
		for _, topic := range slices.Sorted(maps.Keys(rs)) {
			for _, index := range slices.Sorted(maps.Keys(rs[topic])) {
				if e := rs[topic][index]; e.Err != nil && !errors.Is(e.Err, kerr.ElectionNotNeeded) {
					failures.Add(fmt.Sprintf("leader of %s-%d", topic, index), conn.WithMessage(e.Err, e.ErrMessage))
				}
			}
		}
		return failures.Err()
	})
}

// throttle limits the rate at which the moves are copied, and nothing else's.
func (r *runner) throttle(ctx context.Context, moves []move, brokers []int32) error {
	if r.rate <= 0 {
		return nil
	}
	return r.once(ctx, func(ctx context.Context) error {
		failures := r.e.Failures()
		rate := strconv.FormatInt(r.rate, 10)
		rs, err := r.adm.AlterBrokerConfigs(ctx, []kadm.AlterConfig{{Name: leaderRate, Value: &rate}, {Name: followerRate, Value: &rate}}, brokers...)
		if err != nil {
			return err
		}
		failures.Altered("broker", rs)
		for _, topic := range topicsOf(moves) {
			leaders, followers := throttled(moves, topic)
			rs, err := r.adm.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Name: leaderList, Value: &leaders}, {Name: followerList, Value: &followers}}, topic)
			if err != nil {
				return err
			}
			failures.Altered("topic", rs)
		}
		return failures.Err()
	})
}

// throttled lists a topic's replicas that send, and those that receive, copies.
func throttled(moves []move, topic string) (leaders, followers string) {
	var from, to []string
	for i := range moves {
		m := &moves[i]
		if m.topic != topic || len(m.added()) == 0 {
			continue
		}
		for _, id := range m.from {
			from = append(from, fmt.Sprintf("%d:%d", m.index, id))
		}
		for _, id := range m.added() {
			to = append(to, fmt.Sprintf("%d:%d", m.index, id))
		}
	}
	return strings.Join(from, ","), strings.Join(to, ",")
}

// unthrottle lifts the limits again.
func (r *runner) unthrottle(ctx context.Context, topics []string, brokers []int32) error {
	if r.rate <= 0 {
		return nil
	}
	return r.once(ctx, func(ctx context.Context) error {
		failures := r.e.Failures()
		if len(topics) > 0 {
			rs, err := r.adm.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.DeleteConfig, Name: leaderList}, {Op: kadm.DeleteConfig, Name: followerList}}, topics...)
			if err != nil {
				return err
			}
			failures.Altered("topic", rs)
		}
		rs, err := r.adm.AlterBrokerConfigs(ctx, []kadm.AlterConfig{{Op: kadm.DeleteConfig, Name: leaderRate}, {Op: kadm.DeleteConfig, Name: followerRate}}, brokers...)
		if err != nil {
			return err
		}
		failures.Altered("broker", rs)
		return failures.Err()
	})
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
}

type plannedMove struct {
	Topic     string  `json:"topic"`
	Partition int32   `json:"partition"`
	From      []int32 `json:"from"`
	To        []int32 `json:"to"`
	Bytes     int64   `json:"bytes_to_copy"`
}

func show(e *conn.Env, moves []move, nothing string) error {
	p := planned{Moves: []plannedMove{}}
	t := out.Table{Header: []string{"topic", "partition", "from", "to", "to copy"}, Right: []int{1, 4}, Empty: nothing}
	for _, m := range moves {
		p.Moves = append(p.Moves, plannedMove{m.topic, m.index, m.from, m.to, m.bytes})
		p.Copied += m.bytes
		t.Rows = append(t.Rows, []string{m.topic, fmt.Sprint(m.index), ids(m.from), ids(m.to), out.Bytes(m.bytes)})
	}
	return e.Emit(p, t)
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
