package log

// entryCounts is how many entries a segment's indexes have at least. The state file
// keeps them: an index that was cut between two entries looks like a good one.
type entryCounts struct{ offsets, times, txns uint32 }

// counts is what is known of the indexes; mu is held.
func (s *segment) counts() entryCounts {
	return entryCounts{
		offsets: uint32(s.offsets.count()),
		times:   uint32(s.times.count()),
		txns:    uint32(max(s.txns.inFile, 0) + len(s.txns.tail)),
	}
}
