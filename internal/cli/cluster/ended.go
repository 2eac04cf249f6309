package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/leat-stream/leat/internal/cli/out"
)

// knownFor is how long a broker may lag behind what the controller has decided: replicas that
// are elsewhere for so long are believed to be there.
const knownFor = 2 * time.Second

// outcome is what has become of moves.
type outcome struct {
	there []move // replicas are where they were to go
	back  []move // they are elsewhere: somebody took the move back, or moved them on
	gone  []move // the topic was deleted
}

func (o *outcome) add(more outcome) {
	o.there, o.back, o.gone = append(o.there, more.there...), append(o.back, more.back...), append(o.gone, more.gone...)
}

func (o *outcome) count() int { return len(o.there) + len(o.back) + len(o.gone) }

// outcomeOf tells what has become of moves that the controller no longer makes.
func (r *runner) outcomeOf(ctx context.Context, over []move) (o outcome, err error) {
	for began := time.Now(); len(over) > 0; {
		var meta kadm.Metadata
		err := r.once(ctx, func(ctx context.Context) (err error) {
			meta, err = r.adm.Metadata(ctx, topicsOf(over)...)
			return err
		})
		if err != nil {
			return o, err
		}
		over = slices.DeleteFunc(over, func(m move) bool {
			t := meta.Topics[m.topic]
			p, known := t.Partitions[m.index]
			switch {
			case errors.Is(t.Err, kerr.UnknownTopicOrPartition), t.Err == nil && t.ID != m.id:
				o.gone = append(o.gone, m)
			case known && sameNodes(p.Replicas, m.to):
				o.there = append(o.there, m)
			default:
				return false
			}
			return true
		})
		if len(over) == 0 || time.Since(began) > knownFor {
			break
		}
		if err := pause(ctx, againAfter); err != nil {
			return o, err
		}
	}
	o.back = over
	return o, nil
}

// sameNodes tells whether two lists have the same nodes, in any order.
func sameNodes(a, b []int32) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// told is the error of moves that others took back, nil when there is none; planned are all,
// waiting those that were not begun.
func (o *outcome) told(planned, waiting int) error {
	if len(o.back) == 0 {
		return nil
	}
	were := "were"
	if len(o.back) == 1 {
		were = "was"
	}
	text := fmt.Sprintf("%d of %s %s taken back by somebody else", len(o.back), counted(planned, "1 move", "%d moves"), were)
	if waiting > 0 {
		text += "; " + counted(waiting, "1 was not started", "%d were not started")
	}
	return out.Hint(errors.New(text), "'leat cluster balance --cancel' does that; what was moved before stays where it is")
}

// ended says how moves have ended that nobody took back.
func (o *outcome) ended() string {
	text := counted(len(o.there), "1 move has ended", "%d moves have ended")
	if len(o.gone) > 0 {
		text += "; of " + counted(len(o.gone), "1 other", "%d others") + " the topic was deleted meanwhile"
	}
	return text
}

// existing leaves those out of an answer whose topic is not there any more.
func existing(rs kadm.AlterConfigsResponses) kadm.AlterConfigsResponses {
	return slices.DeleteFunc(rs, func(r kadm.AlterConfigsResponse) bool { return errors.Is(r.Err, kerr.UnknownTopicOrPartition) })
}
