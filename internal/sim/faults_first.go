package sim

import (
	"fmt"
	"time"

	"github.com/leat-stream/leat/internal/metadata"
)

// firstWords is the fault of a leader that falls silent in the moment in which a producer
// begins: the first batches are under way to it when the producer hears of another leader,
// who knows nothing of it, and goes on there.
func (f *faults) firstWords() fault {
	n := 0
	return fault{"silence at a producer's first batches", 2, 0, func(*Host) func() {
		p := f.someInSync(3)
		if p == nil {
			return nil
		}
		t, ok := f.place(p)
		silent := f.c.Nodes[p.Leader-1]
		if !ok || !silent.Serving || silent.paused {
			return nil
		}
		n++
		q := newProducer(newClient(f.c.World, fmt.Sprint("first", n), f.c.brokers(), &f.c.Rec), []tp{t}, -1, true)
		q.hurry()
		q.pace, q.anyStart = f.c.calm(50*time.Millisecond), f.c.Settings.AnyStart
		f.c.producers = append(f.c.producers, q)
		life, left := silent.life, 50
		var begin func()
		begin = func() {
			lead, known := q.leader(t)
			switch {
			case f.ended || q.stopped || left == 0 || silent.life != life || known && lead.node != silent.Node:
			case q.id < 0 || !known:
				left--
				q.after(20*time.Millisecond, begin)
			default:
				f.c.Count["silence at a producer's first batches"]++
				silent.Pause()
				f.c.Clock.AfterFunc(f.c.Settings.SessionTimeout+time.Second+time.Duration(f.rng.Int64N(int64(4*time.Second))), func() {
					if silent.life == life {
						silent.Resume()
					}
				})
				q.produce()
				q.lookout()
				q.after(12*time.Second, func() { q.stopped = true; q.drain() })
			}
		}
		q.refresh(q.topics(), func(bool) { q.send(); begin() })
		return nil
	}}
}

// place names a partition that someInSync has given.
func (f *faults) place(p *metadata.Partition) (tp, bool) {
	for _, t := range f.c.Settings.partitions() {
		if f.c.inv.newest.Partition(t.topic, t.part) == p {
			return t, true
		}
	}
	return tp{}, false
}
