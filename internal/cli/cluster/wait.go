package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/cli/out"
)

// sayEvery is how often it is said what moves wait for.
const sayEvery = 5 * time.Second

// copying is a replica that is made by a move.
type copying struct {
	partition kadm.Partition
	node      int32
}

// watch tells what moves wait for, and whether they come on at all: a replica grows, or
// gets in sync, or a move is done.
type watch struct {
	r      *runner
	sizes  map[copying]int64 // as last told
	synced map[copying]bool
	came   time.Time // when they last came on
	looked time.Time
}

func newWatch(r *runner) *watch {
	return &watch{r: r, sizes: map[copying]int64{}, synced: map[copying]bool{}, came: time.Now(), looked: time.Now()}
}

// look says every few seconds what moves wait for; it gives up on those that stand still.
// done is how many have ended since the last time.
func (w *watch) look(ctx context.Context, ours map[kadm.Partition]move, done int) error {
	now := time.Now()
	if done > 0 {
		w.came = now
	}
	patience := w.r.patience
	if len(ours) == 0 || now.Sub(w.looked) < sayEvery && (patience == 0 || now.Sub(w.came) < patience) {
		return nil
	}
	s := w.survey(ctx, ours)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	w.looked = time.Now()
	if s.grown > 0 || s.news {
		w.came = now
	}
	still := w.looked.Sub(w.came)
	if patience > 0 && still >= patience {
		return out.Hint(fmt.Errorf("nothing has moved for %v: %s", patience, s.waits(ours)), "see 'leat cluster status'; --give-up says how long to wait")
	}
	said := s.waits(ours)
	switch {
	case s.grown > 0:
		said += "; " + out.Bytes(s.grown) + " copied since the last look"
	case still >= sayEvery:
		said += fmt.Sprintf("; nothing has moved for %v", still.Round(time.Second))
	}
	w.r.e.Note("%s", said)
	return nil
}

// survey is what a look at the cluster has told of moves.
type survey struct {
	grown   int64    // bytes, of the replicas that are made
	news    bool     // a replica has come into sync, or shows for the first time
	trouble []string // nodes that take part and are down, or do not answer
}

// waits says in one line what is waited for, and who of those that take part is silent.
func (s *survey) waits(ours map[kadm.Partition]move) string {
	const named = 3
	var names []string
	for _, p := range sorted(ours) {
		if names = append(names, fmt.Sprintf("%s-%d", p.Topic, p.Partition)); len(names) == named && len(ours) > named {
			names = append(names, "...")
			break
		}
	}
	text := fmt.Sprintf("waiting for %d partitions (%s)", len(ours), strings.Join(names, ", "))
	if len(ours) == 1 {
		text = "waiting for " + names[0]
	}
	return strings.Join(append([]string{text}, s.trouble...), "; ")
}

func sorted(ours map[kadm.Partition]move) []kadm.Partition {
	all := make([]kadm.Partition, 0, len(ours))
	for p := range ours {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b kadm.Partition) int {
		if c := strings.Compare(a.Topic, b.Topic); c != 0 {
			return c
		}
		return int(a.Partition) - int(b.Partition)
	})
	return all
}

// survey asks all nodes at a time. A node that does not answer tells nothing new.
func (w *watch) survey(ctx context.Context, ours map[kadm.Partition]move) (s survey) {
	a := &asking{e: w.r.e, patience: statusPatience, more: w.r.known}
	ctx, cancel := context.WithTimeout(ctx, a.patience)
	defer cancel()
	h, err := a.home(ctx)
	if err != nil {
		s.trouble = append(s.trouble, "no broker answers: "+a.why(err))
		return s
	}
	answers := each(h.brokers, func(b kmsg.DescribeClusterResponseBroker) (got nodeAnswer) {
		if b.IsFenced {
			return got
		}
		return a.node(ctx, address(b))
	})
	w.insync(h.meta, ours, &s)
	for i, b := range h.brokers {
		part, to := takesPart(ours, b.NodeID)
		switch {
		case !part:
			continue
		case b.IsFenced:
			s.trouble = append(s.trouble, fmt.Sprintf("node %d, which %s, is down (fenced)", b.NodeID, role(to)))
		case answers[i].err != nil:
			s.trouble = append(s.trouble, fmt.Sprintf("node %d, which %s, does not answer (%s)", b.NodeID, role(to), a.why(answers[i].err)))
		}
		w.sized(b.NodeID, answers[i].dirs, ours, &s)
	}
	return s
}

// role is what a node does in moves.
func role(to bool) string {
	if to {
		return "is to get replicas"
	}
	return "has the replicas"
}

// takesPart tells whether a node has, or is to get, replicas of what moves.
func takesPart(ours map[kadm.Partition]move, id int32) (part, to bool) {
	for _, m := range ours {
		to = to || slices.Contains(m.added(), id)
		part = part || slices.Contains(m.from, id)
	}
	return part || to, to
}

// sized notes how far the replicas have grown that a node is to get.
func (w *watch) sized(id int32, dirs *kmsg.DescribeLogDirsResponse, ours map[kadm.Partition]move, s *survey) {
	if dirs == nil {
		return
	}
	for i := range dirs.Dirs {
		for _, t := range dirs.Dirs[i].Topics {
			for _, p := range t.Partitions {
				c := copying{kadm.Partition{Topic: t.Topic, Partition: p.Partition}, id}
				if m, ok := ours[c.partition]; !ok || !slices.Contains(m.added(), id) || w.synced[c] {
					continue // what is in sync grows by what is written
				}
				was, known := w.sizes[c]
				w.sizes[c] = p.Size
				s.news = s.news || !known
				s.grown += max(p.Size-was, 0)
			}
		}
	}
}

// insync notes which of the replicas that are made are in sync.
func (w *watch) insync(meta *kmsg.MetadataResponse, ours map[kadm.Partition]move, s *survey) {
	for i := range meta.Topics {
		t := &meta.Topics[i]
		for _, p := range t.Partitions {
			if t.Topic == nil {
				continue
			}
			at := kadm.Partition{Topic: *t.Topic, Partition: p.Partition}
			m, ok := ours[at]
			if !ok {
				continue
			}
			for _, id := range m.added() {
				if c := (copying{at, id}); slices.Contains(p.ISR, id) && !w.synced[c] {
					w.synced[c], s.news = true, true
				}
			}
		}
	}
}
