package sim

import (
	"fmt"
	"time"

	"github.com/leat-stream/leat/internal/metadata"
)

// firstWords is the fault of a leader that goes in the moment in which a producer begins:
// the first batches are under way to it, and stay there, when the producer hears of another
// leader, who knows nothing of it, and sends the next ones there. Then the first ones come
// again.
func (f *faults) firstWords() fault {
	n := 0
	return fault{"another leader at a producer's first batches", 4, 0, func(*Host) func() {
		p := f.someInSync(3)
		if p == nil {
			return nil
		}
		t, ok := f.place(p)
		old := f.c.Nodes[p.Leader-1]
		if !ok || !old.Serving || old.paused {
			return nil
		}
		n++
		q := newProducer(newClient(f.c.World, fmt.Sprint("first", n), f.c.brokers(), &f.c.Rec), []tp{t}, -1, true)
		q.hurry()
		q.pace, q.anyStart = f.c.calm(50*time.Millisecond), f.c.Settings.AnyStart
		if q.delivery = 20 * time.Second; q.anyStart { // what was overtaken is never taken
			q.delivery = 5 * time.Second
		}
		f.c.producers = append(f.c.producers, q)
		w := &firstWord{f: f, q: q, t: t, old: old, life: old.life, left: 500}
		q.refresh(q.topics(), func(bool) { q.send(); w.begin() })
		return nil
	}}
}

// firstWord is one such fault.
type firstWord struct {
	f    *faults
	q    *producer
	t    tp
	old  *Host // leads when it begins
	life int
	left int // looks
	heal func()
}

const firstLook = 10 * time.Millisecond

// begin sends the first batches as soon as the producer may, and lets the leader go.
func (w *firstWord) begin() {
	f, q := w.f, w.q
	lead, known := q.leader(w.t)
	switch w.left--; {
	case f.ended || q.stopped || w.left < 0 || w.old.life != w.life || known && lead.node != w.old.Node:
	case q.id < 0 || !known:
		q.after(firstLook, w.begin)
	default:
		w.heal = f.cut(q.h, true, true, []*Host{w.old})
		w.write(1 + f.rng.IntN(2))
		w.depose()
		w.await()
	}
}

// write makes batches, and sends them.
func (w *firstWord) write(batches int) {
	for range batches {
		w.q.make(w.q.lines[w.t])
	}
	w.q.send()
}

// depose has somebody else lead: the leader hands over, or falls silent for longer than its session.
func (w *firstWord) depose() {
	f, old := w.f, w.old
	if silence := f.c.Settings.SessionTimeout + time.Second; silence < 6*time.Second && f.rng.IntN(3) == 0 {
		old.Pause()
		f.c.Clock.AfterFunc(silence+time.Duration(f.rng.Int64N(int64(2*time.Second))), func() {
			if old.life == w.life {
				old.Resume()
			}
		})
		return
	}
	f.handOver(old, 200*time.Millisecond)
}

// await looks for the other leader, and sends on to it.
func (w *firstWord) await() {
	f, q := w.f, w.q
	other := f.c.brokers()[f.rng.IntN(len(f.c.brokers()))]
	if w.left--; f.ended || q.stopped || w.left < 0 || q.underWay() == 0 {
		w.over()
		return
	}
	if other == w.old || !other.Serving || other.paused {
		q.after(firstLook, w.await)
		return
	}
	q.refreshAt(other, q.topics(), func(bool) {
		if lead, ok := q.leader(w.t); !ok || lead.node == w.old.Node {
			q.after(firstLook, w.await)
			return
		}
		if q.underWay() > 0 {
			f.c.Count["another leader at a producer's first batches"]++
		}
		w.write(1 + f.rng.IntN(3))
		q.after(20*time.Millisecond+q.upTo(150*time.Millisecond), w.over)
	})
}

// over lets the first batches arrive, and the producer go on as any other.
func (w *firstWord) over() {
	if !w.f.ended {
		w.heal()
	}
	if w.q.stopped {
		w.q.drain()
		return
	}
	w.q.produce()
	w.q.lookout()
	w.q.after(6*time.Second, func() { w.q.stopped = true; w.q.drain() })
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
