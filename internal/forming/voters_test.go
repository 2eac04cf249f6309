package forming

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/leat-stream/leat/internal/nodewire"
)

// quorum is a model of a metadata quorum: who is a member, who is up, and what the
// policy of its leader does with them.
type quorum struct {
	t        *testing.T
	rng      *rand.Rand
	now      time.Time
	hosts    []*host
	voters   []nodewire.Identity
	learners []nodewire.Identity
	heard    map[memberKey]time.Time
	added    map[memberKey]time.Time // learners
	listed   []string
	leader   *host
	policy   *Voters
	pending  *Change
	history  []Change
	dirs     byte
}

type host struct {
	id   nodewire.Identity
	up   bool
	vote Vote
}

func newQuorum(t *testing.T, hosts int, founders ...int) *quorum {
	q := &quorum{t: t, rng: rand.New(rand.NewPCG(1, 1)), now: epoch, heard: map[memberKey]time.Time{}, added: map[memberKey]time.Time{}, policy: new(Voters)}
	for i := range hosts {
		q.dirs++
		q.hosts = append(q.hosts, &host{id: id(int32(i+1), q.dirs), up: true})
	}
	for _, f := range founders {
		q.voters = append(q.voters, q.hosts[f-1].id)
	}
	return q
}

// up tells whether the member's very directory is there.
func (q *quorum) up(m nodewire.Identity) bool {
	return slices.ContainsFunc(q.hosts, func(h *host) bool { return h.up && same(h.id, m) })
}

func (q *quorum) majority(voters []nodewire.Identity) bool {
	n := 0
	for _, v := range voters {
		if q.up(v) {
			n++
		}
	}
	return n > len(voters)/2
}

// second lets a second pass: the leader hears of members, a pending change is committed
// if it can be, and the policy is asked.
func (q *quorum) second() {
	q.now = q.now.Add(time.Second)
	for _, m := range slices.Concat(q.voters, q.learners) {
		if q.up(m) {
			q.heard[key(m)] = q.now
		}
	}
	if q.leader == nil || !q.leader.up || !slices.ContainsFunc(q.voters, func(v nodewire.Identity) bool { return same(v, q.leader.id) }) {
		q.elect()
	}
	if q.leader == nil {
		return
	}
	if q.pending != nil {
		q.commit(*q.pending)
		return
	}
	c, ok := q.policy.Step(q.now, q.view())
	if !ok {
		return
	}
	q.history = append(q.history, c)
	q.pending = &c
}

func (q *quorum) elect() {
	q.leader, q.pending = nil, nil
	if !q.majority(q.voters) {
		return
	}
	for _, h := range q.hosts {
		if h.up && slices.ContainsFunc(q.voters, func(v nodewire.Identity) bool { return same(v, h.id) }) {
			q.leader, q.policy = h, new(Voters)
			return
		}
	}
}

func (q *quorum) view() View {
	v := View{Self: q.leader.id, Listed: q.listed, Busy: q.pending != nil}
	for _, m := range q.voters {
		v.Voters = append(v.Voters, MemberState{Identity: m, Heard: q.heard[key(m)]})
	}
	for _, m := range q.learners {
		lag := uint64(1000)
		if q.now.Sub(q.added[key(m)]) >= 3*time.Second {
			lag = 5
		}
		v.Learners = append(v.Learners, MemberState{Identity: m, Heard: q.heard[key(m)], Lag: lag})
	}
	for _, h := range q.hosts {
		v.Nodes = append(v.Nodes, Node{Identity: h.id, Controller: true, Live: h.up, Vote: h.vote})
	}
	return v
}

func (q *quorum) commit(c Change) {
	next := slices.Clone(q.voters)
	switch c.Kind {
	case Promote:
		next = append(next, c.Identity)
	case RemoveVoter:
		next = slices.DeleteFunc(next, func(v nodewire.Identity) bool { return same(v, c.Identity) })
	}
	if !q.majority(q.voters) {
		return // it stays pending
	}
	q.pending, q.voters = nil, next
	switch c.Kind {
	case AddLearner:
		q.learners = append(q.learners, c.Identity)
		q.added[key(c.Identity)] = q.now
	case Promote, RemoveLearner:
		q.learners = slices.DeleteFunc(q.learners, func(v nodewire.Identity) bool { return same(v, c.Identity) })
	case UpdateAddress:
		for i := range q.voters {
			if same(q.voters[i], c.Identity) {
				q.voters[i].Address = c.Address
			}
		}
	}
}

func (q *quorum) seconds(n int) {
	for range n {
		q.second()
	}
}

func (q *quorum) wipe(n int) {
	q.dirs++
	q.hosts[n-1].id.DirectoryID = [16]byte{q.dirs}
}

// want compares the voters by node, all of them being the present directories.
func (q *quorum) want(nodes ...int32) {
	q.t.Helper()
	var got []int32
	for _, v := range q.voters {
		if !slices.ContainsFunc(q.hosts, func(h *host) bool { return same(h.id, v) }) {
			q.t.Errorf("a directory that is gone votes: %v", v)
		}
		got = append(got, v.NodeID)
	}
	slices.Sort(got)
	if !slices.Equal(got, nodes) {
		q.t.Errorf("voters %v, want %v; changes %s", got, nodes, q.told())
	}
}

func (q *quorum) told() (all []string) {
	for _, c := range q.history {
		all = append(all, fmt.Sprintf("%s %d", c.Kind, c.NodeID))
	}
	return all
}

func TestGrowsFromOneToThree(t *testing.T) {
	q := newQuorum(t, 2, 1)
	q.seconds(60)
	q.want(1)
	if len(q.history) > 0 {
		t.Errorf("with two nodes: %v", q.told())
	}
	q = newQuorum(t, 5, 1)
	q.seconds(30)
	q.want(1, 2, 3)
	if got := fmt.Sprint(q.told()); got != "[add learner 2 add learner 3 promote 2 promote 3]" {
		t.Error(got)
	}
}

// A candidate that fails between the two promotions.
func TestNeverRestsAtTwo(t *testing.T) {
	atTwo := func(nodes int) *quorum {
		q := newQuorum(t, nodes, 1)
		for range 60 {
			if q.second(); len(q.voters) == 2 {
				q.hosts[2].up = false
				return q
			}
		}
		t.Fatal("it does not grow")
		return nil
	}
	q := atTwo(4)
	q.seconds(30)
	q.want(1, 2, 4) // another one
	q = atTwo(3)
	q.seconds(30)
	q.want(1) // back
	q.hosts[2].up = true
	q.seconds(60)
	q.want(1, 2, 3)
}

func TestEmptyDiskUnderAnOldID(t *testing.T) {
	for name, listed := range map[string][]string{"grown": nil, "listed": {"n1:9093", "n2:9093", "n3:9093"}} {
		q := newQuorum(t, 3, 1, 2, 3)
		q.listed = listed
		q.seconds(5)
		q.wipe(3)
		q.seconds(30)
		q.want(1, 2, 3)
		if got := fmt.Sprint(q.told()); got != "[add learner 3 remove voter 3 promote 3]" {
			t.Errorf("%s: %s", name, got)
		}
		// Not while that would leave no majority alive: two of four.
		q.hosts[1].up = false
		q.wipe(3)
		q.history = nil
		q.seconds(60)
		if len(q.history) != 0 {
			t.Errorf("%s: %v", name, q.told())
		}
	}
}

func TestDeadVoterIsReplaced(t *testing.T) {
	q := newQuorum(t, 4, 1, 2, 3)
	q.seconds(5)
	q.hosts[2].up = false
	q.seconds(20)
	if len(q.history) != 0 {
		t.Errorf("at once: %v", q.told())
	}
	q.seconds(40)
	q.want(1, 2, 4)
	// The nodes of a list are not replaced by others.
	q = newQuorum(t, 4, 1, 2, 3)
	q.listed = []string{"n1:9093", "n2:9093", "n3:9093"}
	q.hosts[2].up = false
	q.seconds(90)
	q.want(1, 2, 3)
}

func TestListedNodesAreVoters(t *testing.T) {
	q := newQuorum(t, 5, 1, 2)
	q.listed = []string{"n1:9093", "n2:9093", "n4:9093"}
	q.seconds(30)
	q.want(1, 2, 4)
}

// What an operator did is not undone.
func TestChangesByHandAreKept(t *testing.T) {
	// Removed: not added again, and no reason to go back to one.
	q := newQuorum(t, 3, 1, 2)
	q.hosts[2].vote = Never
	q.seconds(90)
	q.want(1, 2)
	if len(q.history) != 0 {
		t.Errorf("%v", q.told())
	}
	// In a list, too.
	q = newQuorum(t, 3, 1, 2)
	q.hosts[2].vote, q.listed = Never, []string{"n1:9093", "n2:9093", "n3:9093"}
	q.seconds(90)
	q.want(1, 2)
	// Added: a second voter stays, and so does a fifth.
	q = newQuorum(t, 2, 1, 2)
	q.hosts[1].vote = Always
	q.seconds(90)
	q.want(1, 2)
	q = newQuorum(t, 5, 1, 2, 3, 4, 5)
	q.seconds(90)
	q.want(1, 2, 3, 4, 5)
}

// What an operator wants of a node is done, whoever leads; the last voter stays.
func TestWishesAreDone(t *testing.T) {
	for _, listed := range [][]string{nil, {"n1:9093", "n2:9093", "n3:9093"}} {
		q := newQuorum(t, 5, 1, 2, 3)
		q.listed = listed
		q.hosts[3].vote = Always
		q.seconds(30)
		q.want(1, 2, 3, 4)
		q.hosts[4].vote, q.hosts[2].vote = Never, Never
		q.seconds(30)
		q.want(1, 2, 4)
		q.leader.vote, q.hosts[2].vote = Never, Always // it leads until it is out
		out := q.leader.id.NodeID
		q.seconds(30)
		want := slices.DeleteFunc([]int32{1, 2, 3, 4}, func(n int32) bool { return n == out })
		q.want(want...)
		for _, h := range q.hosts {
			h.vote = Never
		}
		q.seconds(30)
		if len(q.voters) != 1 {
			t.Errorf("voters %v", q.voters)
		}
	}
}

func TestLearnersWhoWillNotVoteAreLetGo(t *testing.T) {
	q := newQuorum(t, 4, 1, 2, 3)
	q.learners = append(q.learners, q.hosts[3].id)
	q.hosts[3].vote = Never
	q.seconds(10)
	if len(q.learners) != 0 {
		t.Errorf("%v", q.learners)
	}
}

func TestAddressIsKept(t *testing.T) {
	q := newQuorum(t, 3, 1, 2, 3)
	q.hosts[1].id.Address = "moved:9093"
	q.seconds(5)
	if q.voters[1].Address != "moved:9093" || len(q.history) != 1 {
		t.Errorf("%v %v", q.voters, q.told())
	}
}

// Nodes that come, go and are wiped: the quorum is never given up by a change, and with
// everybody healthy it has the voters that it should.
func TestVotersUnderFaults(t *testing.T) {
	lost := 0
	for seed := range uint64(2000) {
		n := 1 + int(seed%6)
		q := newQuorum(t, n, 1)
		q.rng = rand.New(rand.NewPCG(seed, 3))
		if seed%2 == 1 && n >= 3 {
			q.voters = []nodewire.Identity{q.hosts[0].id, q.hosts[1].id, q.hosts[2].id}
			q.listed = []string{"n1:9093", "n2:9093", "n3:9093"}
		}
		for range 200 {
			q.second()
			h := q.hosts[q.rng.IntN(n)]
			switch q.rng.IntN(40) {
			case 0, 1:
				h.up = false
			case 2:
				// Only while the others are a majority: else the cluster is lost.
				old := h.id
				if q.wipe(int(h.id.NodeID)); !q.majority(q.voters) {
					h.id = old
				}
			case 3, 4, 5, 6:
				h.up = true
			}
		}
		for _, h := range q.hosts {
			h.up = true
		}
		if !q.majority(q.voters) {
			// The second voter's disk was lost in the very moment of its promotion: with one
			// change at a time nothing helps against that.
			if lost++; len(q.voters) != 2 {
				t.Fatalf("seed %d: %v vote, and no majority of them is there; %v", seed, q.voters, q.told())
			}
			continue
		}
		q.seconds(300)
		want := []int32{1, 2, 3}
		got := []int32{}
		for _, v := range q.voters {
			if !q.up(v) {
				t.Fatalf("seed %d: %v votes and is gone; %v", seed, v, q.told())
			}
			got = append(got, v.NodeID)
		}
		slices.Sort(got)
		switch {
		case n < 3 && len(got) != 1, n >= 3 && len(got) != 3, len(q.listed) > 0 && !slices.Equal(got, want):
			t.Fatalf("seed %d: of %d nodes %v vote; %v", seed, n, got, q.told())
		}
		before := len(q.history)
		if q.seconds(120); len(q.history) != before {
			t.Fatalf("seed %d: it does not come to rest: %v", seed, q.told()[before:])
		}
	}
	if lost > 20 {
		t.Errorf("%d of 2000 were lost", lost)
	}
}
