package group

// initialDelay is how the first rebalance of an empty group waits for more members:
// a delay, renewed while members come, within the rebalance timeout. In milliseconds.
type initialDelay struct {
	delay, remaining int32
	extended         bool // a member came since the delay began
}

// rebalance starts a rebalance, or, in one, ends the join phase if all are there.
func (t *turn) rebalance(g *group, reason string) {
	if g.state == preparing {
		t.completeIfRebalancing(g)
		return
	}
	t.prepareRebalance(g, reason)
}

// completeIfRebalancing ends the join phase if all have joined, unless it is the
// first one, which lasts for its delay.
func (t *turn) completeIfRebalancing(g *group) {
	if g.previous != empty {
		t.completeIfAllJoined(g)
	}
}

// prepareRebalance opens the join phase. Members that wait for an assignment are
// sent back to join.
func (t *turn) prepareRebalance(g *group, reason string) {
	t.tell(Rebalancing{Group: g.id, Generation: g.generation, Members: g.members.len(), Reason: reason})
	if g.state == completing {
		t.failSync(g, codeRebalanceInProgress)
	}
	t.endSyncPhase(g)
	first := g.state == empty
	t.transition(g, preparing)
	switch {
	case first && t.opts.InitialRebalanceDelay <= 0:
		t.completeJoin(g)
	case first:
		delay := millis(t.opts.InitialRebalanceDelay)
		g.initial = &initialDelay{delay: delay, remaining: max(g.rebalanceTimeout()-delay, 0)}
		t.after(joinKey(g), delay)
	case g.allJoined():
		t.completeJoin(g)
	default:
		t.after(joinKey(g), g.rebalanceTimeout())
	}
}

// joinDue ends the join phase by time; the first one's delay may be renewed.
func (t *turn) joinDue(g *group) {
	if d := g.initial; d != nil && d.extended && d.remaining > 0 {
		next := min(millis(t.opts.InitialRebalanceDelay), d.remaining)
		g.initial = &initialDelay{delay: next, remaining: max(d.remaining-d.delay, 0)}
		t.after(joinKey(g), next)
		return
	}
	t.completeJoin(g)
}

// completeJoin forms the next generation of those who have joined. Dynamic members
// that have not are dropped, static ones stay until their session ends. Without
// members the group is Empty, which is written.
func (t *turn) completeJoin(g *group) {
	t.cancel(joinKey(g))
	g.initial = nil
	for _, m := range append([]*member(nil), g.members.all()...) {
		if m.joining == 0 && m.instance == nil {
			t.drop(g, m, codeUnknownMember, RebalanceTimeout, "")
		}
	}
	if g.members.len() > 0 && !g.electJoined() {
		// Only absent static members: wait for one of them, or for their sessions' end.
		t.after(joinKey(g), g.rebalanceTimeout())
		return
	}
	g.generation = nextGeneration(g.generation)
	if g.members.len() == 0 {
		g.protocol = nil
		g.learnTopics()
		t.transition(g, empty)
		t.save(g)
		t.tell(GenerationFormed{Group: g.id, Generation: g.generation})
		return
	}
	chosen := g.selectProtocol()
	g.protocol = &chosen
	g.learnTopics()
	t.transition(g, completing)
	t.tell(GenerationFormed{Group: g.id, Generation: g.generation, Members: g.members.len(), Protocol: chosen, Leader: g.leader})
	for _, m := range g.members.all() {
		m.fresh, m.unsynced = false, true
		t.answerJoin(g, m, joined(g, m))
		t.arm(g, m)
	}
	g.unsynced = g.members.len()
	t.after(syncKey(g), g.rebalanceTimeout())
}

// electJoined makes sure that the leader is one who has joined; false if nobody has.
func (g *group) electJoined() bool {
	if m := g.members.get(g.leader); m != nil && m.joining != 0 {
		return true
	}
	for _, m := range g.members.all() {
		if m.joining != 0 {
			g.leader = m.id
			return true
		}
	}
	return false
}

// endSyncPhase forgets who has yet to sync.
func (t *turn) endSyncPhase(g *group) {
	for _, m := range g.members.all() {
		g.setSynced(m)
	}
	t.cancel(syncKey(g))
}
