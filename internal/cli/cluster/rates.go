package cluster

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/leat-stream/leat/internal/cli/conn"
)

// The settings that limit the rate at which moved replicas are copied.
const (
	leaderRate   = "leader.replication.throttled.rate"
	followerRate = "follower.replication.throttled.rate"
	leaderList   = "leader.replication.throttled.replicas"
	followerList = "follower.replication.throttled.replicas"
)

// throttle limits the rate at which the moves are copied, and nothing else's.
func (r *runner) throttle(ctx context.Context, moves []move, brokers []int32) error {
	if r.rate <= 0 {
		return nil
	}
	rate := strconv.FormatInt(r.rate, 10)
	if err := r.setRates(ctx, brokers, kadm.AlterConfig{Name: leaderRate, Value: &rate}, kadm.AlterConfig{Name: followerRate, Value: &rate}); err != nil {
		return err
	}
	return r.once(ctx, func(ctx context.Context) error {
		failures := r.e.Failures()
		for _, topic := range topicsOf(moves) {
			leaders, followers := throttled(moves, topic)
			rs, err := r.adm.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Name: leaderList, Value: &leaders}, {Name: followerList, Value: &followers}}, topic)
			if err != nil {
				return err
			}
			failures.Altered("topic", existing(rs))
		}
		return failures.Err()
	})
}

// setRates changes settings of brokers, all at a time: only a broker itself takes its
// own. One that does not answer keeps what it has.
func (r *runner) setRates(ctx context.Context, brokers []int32, settings ...kadm.AlterConfig) error {
	failures := r.e.Failures()
	for began := time.Now(); len(brokers) > 0; {
		errs, err := r.setEach(ctx, brokers, settings)
		if err != nil {
			return err
		}
		var again []int32
		for i, err := range errs {
			var kafka *kerr.Error
			switch {
			case err == nil:
			case !errors.As(err, &kafka):
				r.e.Note("node %d does not answer (%s): the limit of its rate stays as it is", brokers[i], conn.Reason(err))
			case lost(err) && time.Since(began) < lostFor: // no controller has decided
				again = append(again, brokers[i])
			default:
				failures.Add(fmt.Sprintf("broker %d", brokers[i]), err)
			}
		}
		if brokers = again; len(again) > 0 {
			if err := pause(ctx, againAfter); err != nil {
				return err
			}
		}
	}
	return failures.Err()
}

func (r *runner) setEach(ctx context.Context, brokers []int32, settings []kadm.AlterConfig) ([]error, error) {
	one, cancel := context.WithTimeout(ctx, min(r.e.Timeout(), askPatience))
	defer cancel()
	return each(brokers, func(id int32) error {
		rs, err := r.adm.AlterBrokerConfigs(one, settings, id)
		for _, res := range rs {
			err = errors.Join(err, conn.WithMessage(res.Err, res.ErrMessage))
		}
		return err
	}), ctx.Err()
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
	var err error
	if len(topics) > 0 {
		err = r.once(ctx, func(ctx context.Context) error {
			failures := r.e.Failures()
			rs, err := r.adm.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.DeleteConfig, Name: leaderList}, {Op: kadm.DeleteConfig, Name: followerList}}, topics...)
			if err != nil {
				return err
			}
			failures.Altered("topic", existing(rs))
			return failures.Err()
		})
	}
	return errors.Join(err, r.setRates(ctx, brokers, kadm.AlterConfig{Op: kadm.DeleteConfig, Name: leaderRate}, kadm.AlterConfig{Op: kadm.DeleteConfig, Name: followerRate}))
}
