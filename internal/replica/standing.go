package replica

// Standing is what a replica knows of its part, as one immutable value.
type Standing struct {
	Leader, LeaderEpoch int32
	PartitionEpoch      int32
	ISR                 []int32 // must not be changed
	MinISR              int     // at most the number of replicas
	EpochStart          int64   // where the log ended when this broker began to lead; -1 while it does not
	Leading             bool
}

// Standing tells what the replica knows of its part. It never waits.
func (p *Partition) Standing() Standing {
	r := p.st.Load()
	return Standing{r.leader, r.leaderEpoch, r.partitionEpoch, r.isr, r.minISR, r.epochStart, r.leading}
}

// Wish is a wish of a leader for another in-sync set. Its slices must not be changed.
type Wish struct {
	ISR    []int32
	Epochs []int64 // the members' broker epochs; -1 for one that is not known
	// LeaderEpoch and PartitionEpoch are those of the state that it would follow.
	LeaderEpoch, PartitionEpoch int32
}

// Wish is the one that is not settled yet; false when there is none.
func (p *Partition) Wish() (w Wish, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tenure == nil || p.tenure.change == nil {
		return w, false
	}
	c := p.tenure.change
	return Wish{c.isr, c.epochs, c.leaderEpoch, c.partitionEpoch}, true
}
