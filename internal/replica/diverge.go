package replica

import (
	"cmp"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/log"
	"github.com/leat-stream/leat/internal/mutant"
)

// diverging is a partition whose leader has found that the log here went another way, and
// what became of it.
type diverging struct {
	p       *Partition
	epoch   int32 // leader epoch
	in      *kmsg.FetchResponseTopicPartition
	verdict verdict

	from, hw int64 // before
	to       int64 // where the log ends now
	err      error
}

// diverge cuts logs back to where they and the leader's went apart, as far as the answer
// tells: the leader's last epoch that is not above ours ended there (KIP-101, KIP-279). The
// next fetch finds out whether more has to go. After a failover it is all logs of a leader,
// and they are cut together: one after the other would take a few syncs each.
func (m *Manager) diverge(leader int32, all []*diverging) {
	slices.SortFunc(all, func(a, b *diverging) int { // the order of locking
		return cmp.Or(strings.Compare(a.p.id.Topic, b.p.id.Topic), cmp.Compare(a.p.id.Partition, b.p.id.Partition))
	})
	for some := range slices.Chunk(all, maxDiverging) {
		m.divergeSome(leader, some)
	}
}

// maxDiverging is how many partitions are locked together.
const maxDiverging = 64

func (m *Manager) divergeSome(leader int32, all []*diverging) {
	var cuts []log.Cut
	var of []*diverging
	for _, d := range all {
		d.p.mu.Lock()
		d.verdict = stale
		if d.p.followed(leader, d.epoch) == nil {
			continue
		}
		d.verdict = wentOn
		m.counters.diverging.Add(1)
		if to, cut := d.where(); cut {
			cuts, of = append(cuts, log.Cut{Log: d.p.log, To: to}), append(of, d)
		}
	}
	m.opt.Dir.TruncateLogs(cuts)
	for i, d := range of {
		d.err = cuts[i].Err
	}
	for _, d := range all {
		if d.verdict == wentOn && d.err == nil {
			d.to = d.p.log.EndOffset()
			d.p.cut(d.to)
			d.p.full.Store(false)
			d.p.stuck.Store(false)
		}
		d.p.mu.Unlock()
	}
	for _, d := range all {
		d.tell(leader)
	}
}

// where tells where the log has to be cut; otherwise it is done, or cannot be. mu is held.
func (d *diverging) where() (to int64, cut bool) {
	p, last := d.p, d.in.DivergingEpoch
	d.from, d.hw = p.log.EndOffset(), p.hw.Load()
	own, ours := p.log.EndOffsetForEpoch(last.Epoch)
	to = min(last.EndOffset, ours)
	switch {
	case mutant.On("replica/truncate-to-hw"):
		return d.hw, true
	case own < 0:
		d.err = fmt.Errorf("where epoch %d ended is not known here", last.Epoch)
	case to > d.from: // at the end itself epochs without records go
		d.err = fmt.Errorf("the log ends at %d and should be cut back to %d", d.from, to)
	case to < p.log.StartOffset():
		// Nothing stays, and what the leader has before that is not here either. It has a
		// replica that begins below its start begin there, and tells it of the producers
		// (handOver); where it has all records, they tell.
		d.err = p.log.TruncateFullyTo(0)
	default:
		return to, true
	}
	return 0, false
}

// tell tells what became of it.
func (d *diverging) tell(leader int32) {
	p := d.p
	switch {
	case d.verdict == stale:
		return
	case d.err != nil:
		d.verdict = p.failed(leader, d.epoch, d.err)
		return
	}
	p.m.counters.truncations.Add(1)
	e, level := Truncated{p.id, d.from, d.to, d.hw, leader, d.to < d.hw}, slog.LevelInfo
	if e.Lost {
		p.m.counters.belowHW.Add(1)
		level = slog.LevelError
	}
	p.m.event(level, e)
	p.wakeFetches()
}
