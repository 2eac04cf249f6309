package replica

import "sync/atomic"

// counters count since the start; those of rare events prove that a test met them.
type counters struct {
	isrShrinks, isrExpands, isrRefused            atomic.Int64
	elections, truncations, belowHW               atomic.Int64
	diverging, outOfRange, corrupt, failedFetches atomic.Int64
	sessionsLost, staleFollowers                  atomic.Int64
	mended, lostReports, suspected, full          atomic.Int64
	oldDuplicates, lostDuplicates                 atomic.Int64
	throttledSends, throttledFetches              atomic.Int64
}

// Stats tells how replication goes on this broker.
type Stats struct {
	Led, Followed   int
	Damaged         int   // that refuse some of their records, and are not mended yet
	Full            int   // that found no room for their last records
	UnderReplicated int   // led, with fewer in sync than there are replicas; in a move, than there were before it
	UnderMinISR     int   // led, with fewer in sync than min.insync.replicas
	MaxLag          int64 // records that a follower here lacks, by what its leader last told

	ISRShrinks, ISRExpands, ISRRefused int64 // of partitions led here
	Elections                          int64 // leadership taken
	Truncations                        int64 // logs cut back to agree with their leader
	TruncatedBelowHW                   int64 // of them, below their own high watermark
	Diverging, OutOfRange              int64 // answers of leaders
	CorruptBatches                     int64 // that leaders sent
	FailedFetches                      int64 // without an answer
	SessionsLost                       int64
	StaleFollowers                     int64 // fetches of earlier incarnations that were refused
	Mended                             int64 // damaged logs that were cut back to be fetched again
	LostReports                        int64 // to the controller, of damaged replicas
	FoundFull                          int64 // times that a replica found no room, and had found some before
	Suspected                          int64 // times that what somebody asked for again and again was checked
	OldDuplicates                      int64 // batches of producers that were found in the log behind many later ones
	LostDuplicates                     int64 // batches that must have been written, and are not in the log any more
	ThrottledSends                     int64 // of partitions to followers that were given nothing, by the leader's rate
	ThrottledFetches                   int64 // of partitions that a follower put off, by its rate
}

// Stats counts.
func (m *Manager) Stats() Stats {
	c := &m.counters
	s := Stats{
		ISRShrinks: c.isrShrinks.Load(), ISRExpands: c.isrExpands.Load(), ISRRefused: c.isrRefused.Load(),
		Elections: c.elections.Load(), Truncations: c.truncations.Load(), TruncatedBelowHW: c.belowHW.Load(),
		Diverging: c.diverging.Load(), OutOfRange: c.outOfRange.Load(), CorruptBatches: c.corrupt.Load(),
		FailedFetches: c.failedFetches.Load(), SessionsLost: c.sessionsLost.Load(), StaleFollowers: c.staleFollowers.Load(),
		Mended: c.mended.Load(), LostReports: c.lostReports.Load(), Suspected: c.suspected.Load(), FoundFull: c.full.Load(),
		OldDuplicates: c.oldDuplicates.Load(), LostDuplicates: c.lostDuplicates.Load(),
		ThrottledSends: c.throttledSends.Load(), ThrottledFetches: c.throttledFetches.Load(),
	}
	m.each(func(p *Partition) {
		r := p.st.Load()
		if p.Mending() {
			s.Damaged++
		}
		if p.noRoom() {
			s.Full++
		}
		if !r.leading {
			if r.leader >= 0 {
				s.Followed++
				s.MaxLag = max(s.MaxLag, p.lag.Load())
			}
			return
		}
		s.Led++
		if len(r.isr) < r.factor {
			s.UnderReplicated++
		}
		if len(r.isr) < r.minISR {
			s.UnderMinISR++
		}
	})
	return s
}
