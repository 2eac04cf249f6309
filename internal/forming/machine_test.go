package forming

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/leat-stream/leat/internal/nodewire"
)

var epoch = time.Unix(1000, 0)

func id(n int32, dir byte) nodewire.Identity {
	return nodewire.Identity{NodeID: n, DirectoryID: [16]byte{dir}, Address: fmt.Sprintf("n%d:9093", n)}
}

func listed(nodes ...int32) (all []Listed) {
	for _, n := range nodes {
		all = append(all, Listed{fmt.Sprintf("n%d:9093", n), -1})
	}
	return all
}

// one makes node 1, a voter.
func one(change func(*Config)) *Machine {
	c := Config{Self: id(1, 1), Voter: true, NewClusterID: func() string { return "fresh" }, Listed: listed(1, 2, 3)}
	if change != nil {
		change(&c)
	}
	return New(c)
}

func find[A Action](t *testing.T, all []Action) A {
	t.Helper()
	for _, a := range all {
		if a, ok := a.(A); ok {
			return a
		}
	}
	var none A
	t.Fatalf("no %T in %+v", none, all)
	return none
}

func has[A Action](all []Action) bool {
	return slices.ContainsFunc(all, func(a Action) bool { _, ok := a.(A); return ok })
}

func fresh(n int32, dir byte) *nodewire.HelloResponse {
	return &nodewire.HelloResponse{From: id(n, dir), Leader: nodewire.Identity{NodeID: -1}, FreeNodeID: -1}
}

// inCluster is the answer of a node that is in a cluster.
func inCluster(n int32, cluster string, free int32, voters ...nodewire.Identity) *nodewire.HelloResponse {
	r := fresh(n, byte(n))
	r.ClusterID, r.HasLog, r.FreeNodeID, r.Voters = cluster, true, free, voters
	return r
}

func heard(m *Machine, r *nodewire.HelloResponse) []Action {
	return m.Step(epoch, Heard{Address: r.From.Address, Resp: r})
}

func TestAloneItFoundsAtOnce(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no list":       func(c *Config) { c.Listed = nil },
		"a list of one": func(c *Config) { c.Listed = listed(1) },
		"a voters list": func(c *Config) { c.Listed = []Listed{{"n1:9093", 1}} },
	} {
		m := one(change)
		save := find[Save](t, m.Step(epoch, Tick{}))
		if save.Accepted == nil || save.Accepted.ClusterID != "fresh" || save.Begun {
			t.Errorf("%s: %+v", name, save)
		}
		begin := find[Begin](t, m.Step(epoch, Saved{}))
		if len(begin.Voters) != 1 || begin.Voters[0] != id(1, 1) {
			t.Errorf("%s: %+v", name, begin)
		}
		if save := find[Save](t, m.Step(epoch, Begun{})); !save.Begun {
			t.Errorf("%s: %+v", name, save)
		}
	}
	// One address that is this node by another name: it has to ask.
	m := one(func(c *Config) { c.Listed = []Listed{{"localhost:9093", -1}} })
	if ask := find[Ask](t, m.Step(epoch, Tick{})); ask.Address != "localhost:9093" {
		t.Errorf("%+v", ask)
	}
	find[Save](t, m.Step(epoch, Heard{Address: "localhost:9093", Resp: fresh(1, 1)}))
}

// A start after a founding that was interrupted goes on with it, whether or not the
// directory has the cluster's id already; one whose log is gone does not found anew.
func TestAloneAgain(t *testing.T) {
	f := nodewire.Founding{ClusterID: "c", Voters: []nodewire.Identity{id(1, 1)}}
	for _, cluster := range []string{"", "c"} {
		m := one(func(c *Config) { c.Listed, c.ClusterID, c.Promise.Accepted = nil, cluster, &f })
		if begin := find[Begin](t, m.Step(epoch, Tick{})); begin.ClusterID != "c" {
			t.Errorf("%+v", begin)
		}
	}
	gone := "the data directory belongs to cluster c, and has no metadata log: name a node of that cluster (leat serve --join HOST:PORT), or use an empty data directory"
	m := one(func(c *Config) { c.Listed, c.ClusterID, c.Promise = nil, "c", Promise{Accepted: &f, Begun: true} })
	wantRefusal(t, m.Step(epoch, Tick{}), LostLog, gone)
	m = one(func(c *Config) { c.Listed, c.ClusterID = nil, "c" })
	wantRefusal(t, m.Step(epoch, Tick{}), LostLog, gone)
}

// What the others are told is durable first.
func TestAnswersWaitForTheDisk(t *testing.T) {
	m := one(nil)
	ballot := nodewire.Ballot{Round: 7, By: [16]byte{2}}
	out := m.Step(epoch, Asked{1, &nodewire.HelloRequest{From: id(2, 2), Voter: true, Listed: m.addresses(), Ballot: ballot}})
	if find[Save](t, out).Ballot != ballot || has[Answer](out) {
		t.Fatalf("%+v", out)
	}
	if out := m.Step(epoch, Asked{2, &nodewire.HelloRequest{From: id(3, 3), Voter: true, Listed: m.addresses()}}); len(out) != 0 {
		t.Fatalf("before the disk has answered: %+v", out)
	}
	out = m.Step(epoch, Saved{})
	if len(out) != 2 || out[0].(Answer).Token != 1 || out[0].(Answer).Resp.Promised != ballot || out[1].(Answer).Token != 2 {
		t.Fatalf("%+v", out)
	}
}

func TestAnEarlierBallotIsTooLate(t *testing.T) {
	f := &nodewire.Founding{ClusterID: "c", Voters: []nodewire.Identity{id(1, 1), id(2, 2), id(3, 3)}}
	ask := func(m *Machine, round uint64, cluster string) []Action {
		return m.Step(epoch, Asked{round, &nodewire.HelloRequest{
			From: id(2, 2), Voter: true, Listed: m.addresses(), Ballot: nodewire.Ballot{Round: round, By: [16]byte{2}}, Found: f, ClusterID: cluster,
		}})
	}
	m := one(func(c *Config) { c.Promise.Ballot.Round = 5 })
	if r := find[Answer](t, ask(m, 4, "")).Resp; r.Accepted || r.Promised.Round != 5 || r.Founding != nil {
		t.Errorf("accepted: %+v", r)
	}
	if out := ask(m, 4, "c"); has[Begin](out) || has[Save](out) {
		t.Errorf("begun: %+v", out)
	}
	ask(m, 6, "")
	if r := find[Answer](t, m.Step(epoch, Saved{})).Resp; !r.Accepted || !equal(r.Founding, f) {
		t.Errorf("not accepted: %+v", r)
	}
	if begin := find[Begin](t, ask(m, 6, "c")); begin.ClusterID != "c" {
		t.Errorf("%+v", begin)
	}
}

// A founding is accepted by whom it names, directory included, and of its own list.
func TestFoundingsOfOthersAreNotAccepted(t *testing.T) {
	for name, f := range map[string]*nodewire.Founding{
		"another directory": {ClusterID: "c", Voters: []nodewire.Identity{id(1, 9), id(2, 2), id(3, 3)}},
		"another list":      {ClusterID: "c", Voters: []nodewire.Identity{id(1, 1), id(2, 2)}},
	} {
		m := one(nil)
		out := m.Step(epoch, Asked{1, &nodewire.HelloRequest{From: id(2, 2), Voter: true, Listed: m.addresses(),
			Ballot: nodewire.Ballot{Round: 1}, Found: f}})
		if r := find[Answer](t, out).Resp; r.Accepted || r.Founding != nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// A member that never began takes over the founding of a cluster that it meets.
func TestNamedMemberTakesTheFoundingOver(t *testing.T) {
	m := one(nil)
	m.Step(epoch, Tick{})
	r := inCluster(2, "c", 4, id(1, 1), id(2, 2), id(3, 3))
	r.Founding = &nodewire.Founding{ClusterID: "c", Voters: r.Voters}
	find[Save](t, heard(m, r))
	find[Begin](t, m.Step(epoch, Saved{}))

	// Not one that is no voter any more, and not one that has lost a log.
	m = one(nil)
	m.Step(epoch, Tick{})
	r.Voters = r.Voters[1:]
	find[Join](t, heard(m, r))
	m = one(func(c *Config) { c.Promise.Accepted, c.Promise.Begun = r.Founding, true })
	m.Step(epoch, Tick{})
	r.Voters = r.Founding.Voters
	wantRefusal(t, heard(m, r), LostLog, "the data directory is that of a voter of the metadata quorum (node 1), and its metadata log is gone: start the node with an empty data directory, and it joins anew")
}

// A member that had made its log when it ended, and had nothing in it yet, is found by the
// leader before it finds anybody: what a voter answers then does not mean that a log is gone.
func TestFilledLogIsNotTakenForLost(t *testing.T) {
	m := one(func(c *Config) { c.ClusterID = "c" })
	m.Step(epoch, Tick{})
	m.Step(epoch, Filled{})
	r := inCluster(2, "c", 4, id(1, 1), id(2, 2), id(3, 3))
	r.Founding = &nodewire.Founding{ClusterID: "c", Voters: []nodewire.Identity{id(1, 9), id(2, 2), id(3, 3)}}
	if out := heard(m, r); len(out) > 0 {
		t.Errorf("a late answer leads to %v", out)
	}
	m.Step(epoch, Asked{Token: 7, Req: &nodewire.HelloRequest{From: id(3, 3), ClusterID: "c", Voter: true}})
	if out := m.Step(epoch.Add(time.Second), Tick{}); len(out) > 0 {
		t.Errorf("it still looks for a cluster: %v", out)
	}
}

func wantRefusal(t *testing.T, out []Action, kind Kind, text string) {
	t.Helper()
	r := find[Refuse](t, out)
	if !errors.Is(r.Refusal, &Refusal{Kind: kind, Text: text}) {
		t.Errorf("kind %d: %s\nwant %d: %s", r.Kind, r.Text, kind, text)
	}
}

func TestRefusals(t *testing.T) {
	all := func(change func(c *Config), answers ...*nodewire.HelloResponse) []Action {
		m := one(change)
		m.Step(epoch, Tick{})
		var out []Action
		for _, a := range answers {
			out = append(out, heard(m, a)...)
		}
		return out
	}
	at := func(r *nodewire.HelloResponse, address string) *nodewire.HelloResponse {
		r.From.Address = address
		return r
	}
	wantRefusal(t, all(func(c *Config) { c.ClusterID = "ours" }, inCluster(2, "theirs", 4)), OtherCluster,
		"node 2 at n2:9093 belongs to cluster theirs, and this node's data directory to cluster ours: give the address of a node of that cluster, or another data directory")
	wantRefusal(t, all(nil, fresh(2, 2), at(fresh(2, 2), "n3:9093")), ListedTwice,
		"n2:9093 and n3:9093 of controller.quorum.bootstrap.servers lead to the same node, 2")
	wantRefusal(t, all(func(c *Config) { c.Self = id(4, 4) }, fresh(1, 1), fresh(2, 2), fresh(3, 3)), NotListed,
		"this node, node 4 at n4:9093, is a controller and is not among n1:9093,n2:9093,n3:9093 of controller.quorum.bootstrap.servers, who are in no cluster yet: list it on every node, or start it when they have founded one")
	wantRefusal(t, all(func(c *Config) {
		c.Setting = "controller.quorum.voters"
		c.Listed = []Listed{{"n1:9093", 1}, {"n2:9093", 3}, {"n3:9093", 2}}
	}, fresh(2, 2), fresh(3, 3)), WrongID, "controller.quorum.voters says that n2:9093 is node 3, and it is node 2")
	elsewhere := fresh(2, 2)
	elsewhere.ClusterID = "theirs"
	wantRefusal(t, all(nil, elsewhere, fresh(3, 3)), OtherCluster,
		"the data directory of node 2 at n2:9093 belongs to cluster theirs, and none of n1:9093,n2:9093,n3:9093 has the log of that cluster: list a node that has, or give it an empty data directory")
	promised := fresh(2, 2)
	promised.Founding = &nodewire.Founding{ClusterID: "c", Voters: []nodewire.Identity{id(2, 2), id(5, 5)}}
	wantRefusal(t, all(nil, promised, fresh(3, 3)), Promised,
		"node 2 at n2:9093 has promised to found a cluster with n2:9093,n5:9093, and controller.quorum.bootstrap.servers is n1:9093,n2:9093,n3:9093: list those nodes, or give it an empty data directory")
}

// twins are two nodes of one id, and one more.
func twins() []*Machine {
	at := func(n int32, dir byte, address string) *Machine {
		return one(func(c *Config) { c.Self = nodewire.Identity{NodeID: n, DirectoryID: [16]byte{dir}, Address: address} })
	}
	return []*Machine{at(1, 1, "n1:9093"), at(1, 2, "n2:9093"), at(3, 3, "n3:9093")}
}

// round lets every machine that has not ended say hello to all others and hear their answers;
// it gives what each one said and was refused for.
func round(t *testing.T, now time.Time, said, refused map[string]string, all ...*Machine) {
	t.Helper()
	take := func(m *Machine, out []Action) (asks []Ask) {
		for _, a := range out {
			switch a := a.(type) {
			case Ask:
				asks = append(asks, a)
			case Say:
				said[m.cfg.Self.Address] = a.Text
			case Refuse:
				refused[m.cfg.Self.Address] = a.Text
			case Save, Begin, Join:
				t.Errorf("%s: %+v", m.cfg.Self.Address, a)
			}
		}
		return asks
	}
	for _, m := range all {
		for _, ask := range take(m, m.Step(now, Tick{})) {
			h := Heard{Address: ask.Address, Err: errors.New("connection refused")}
			i := slices.IndexFunc(all, func(o *Machine) bool { return o.cfg.Self.Address == ask.Address })
			if i >= 0 && refused[ask.Address] == "" {
				h.Err, h.Resp = nil, find[Answer](t, all[i].Step(now, Asked{1, ask.Req})).Resp
			}
			take(m, m.Step(now, h))
		}
	}
}

// Two nodes with one id: each sees it by itself, also while the others are not there, says so at
// once and ends; the one that is well waits for both, and says why.
func TestTwoNodesOfOneID(t *testing.T) {
	for name, all := range map[string][]*Machine{"they alone": twins()[:2], "with another": twins()} {
		said, refused := map[string]string{}, map[string]string{}
		now := epoch
		for ; len(refused) < 2 && now.Sub(epoch) < time.Minute; now = now.Add(retryEvery) {
			round(t, now, said, refused, all...)
		}
		for i, address := range []string{"n1:9093", "n2:9093"} {
			other := []string{"n2:9093", "n1:9093"}[i]
			if want := fmt.Sprintf("the nodes at %s (this one) and %s both have node.id 1: every node needs its own", address, other); refused[address] != want {
				t.Errorf("%s: %s: %q", name, address, refused[address])
			}
			want := "waiting for " + other + " (it has node.id 1, as has this node: every node needs its own)"
			if len(all) == 2 {
				want += ", n3:9093 (connection refused)"
			}
			if said[address] != want {
				t.Errorf("%s: %s says %q", name, address, said[address])
			}
		}
		if len(all) < 3 {
			continue
		}
		if want := "waiting for n1:9093 (it has node.id 1, as has n2:9093: every node needs its own), " +
			"n2:9093 (it has node.id 1, as has n1:9093: every node needs its own)"; said["n3:9093"] != want || refused["n3:9093"] != "" {
			t.Errorf("%s: says %q, refused: %q", name, said["n3:9093"], refused["n3:9093"])
		}
	}
}

// A node whose twin is stopped in time goes on.
func TestTwinThatIsStopped(t *testing.T) {
	all := twins()
	said, refused := map[string]string{}, map[string]string{}
	round(t, epoch, said, refused, all...)
	for now := epoch.Add(retryEvery); now.Sub(epoch) < time.Minute; now = now.Add(retryEvery) {
		round(t, now, said, refused, all[0], all[2])
	}
	if len(refused) > 0 || said["n1:9093"] != "waiting for n2:9093 (connection refused)" {
		t.Errorf("%v %v", said, refused)
	}
	// One word of the directory that was at its own address before is none of another node.
	m := one(func(c *Config) { c.Listed = append(listed(2), Listed{"alias:9093", -1}) })
	m.Step(epoch, Tick{})
	r := fresh(1, 9)
	for at := epoch; at.Sub(epoch) < time.Minute; at = at.Add(retryEvery) {
		m.Step(at, Heard{Address: "alias:9093", Resp: r})
		if out := m.Step(at, Tick{}); has[Refuse](out) {
			t.Fatalf("%+v", out)
		}
	}
}

// What the other side says is this side's refusal, word for word.
func TestRefusedByAnother(t *testing.T) {
	other := New(Config{Self: id(2, 2), Voter: true, Listed: listed(2, 3)})
	m := one(nil)
	out := m.Step(epoch, Tick{})
	reply := find[Answer](t, other.Step(epoch, Asked{1, find[Ask](t, out).Req})).Resp
	if reply.ErrorCode != kerr.InconsistentVoterSet.Code {
		t.Errorf("%+v", reply)
	}
	wantRefusal(t, heard(m, reply), ListsDisagree,
		"controller.quorum.bootstrap.servers differs: node 1 at n1:9093 has n1:9093,n2:9093,n3:9093, and node 2 at n2:9093 has n2:9093,n3:9093; a new cluster needs the same list on every node")

	member := New(Config{Self: id(2, 2), ClusterID: "theirs", InCluster: true})
	m = one(func(c *Config) { c.ClusterID = "ours" })
	reply = find[Answer](t, member.Step(epoch, Asked{1, find[Ask](t, m.Step(epoch, Tick{})).Req})).Resp
	if reply.ErrorCode != kerr.InconsistentClusterID.Code {
		t.Errorf("%+v", reply)
	}
	wantRefusal(t, heard(m, reply), OtherCluster,
		"node 2 at n2:9093 belongs to cluster theirs, and this node's data directory to cluster ours: give the address of a node of that cluster, or another data directory")
}

// The holder of an id may have died, and not be known to be dead yet.
func TestIDInUse(t *testing.T) {
	member := New(Config{Self: id(2, 2), ClusterID: "c", InCluster: true})
	member.Step(epoch, Known{Standing{Nodes: []nodewire.Identity{id(1, 9), id(2, 2)}}})
	m := one(func(c *Config) { c.Listed = nil; c.Join = "n2:9093" })
	ask := find[Ask](t, m.Step(epoch, Tick{}))
	reply := find[Answer](t, member.Step(epoch, Asked{1, ask.Req})).Resp
	if reply.ErrorCode != kerr.DuplicateBrokerRegistration.Code {
		t.Errorf("%+v", reply)
	}
	if out := heard(m, reply); has[Refuse](out) || has[Join](out) {
		t.Errorf("at once: %+v", out)
	}
	late := m.Step(epoch.Add(patience), Heard{Address: "n2:9093", Resp: reply})
	wantRefusal(t, late, IDTaken, "node.id 1 is in use by another node that is alive, node 1 at n1:9093: give this node another node.id; if it is to take that one's place, stop that one first")

	// The holder is gone: its place is taken.
	member.Step(epoch, Known{Standing{Nodes: []nodewire.Identity{id(2, 2)}, Voters: []nodewire.Identity{id(1, 9), id(2, 2), id(3, 3)}}})
	m = one(func(c *Config) { c.Listed = nil; c.Join = "n2:9093" })
	m.Step(epoch, Tick{})
	reply = find[Answer](t, member.Step(epoch, Asked{2, ask.Req})).Resp
	if j := find[Join](t, heard(m, reply)); j.NodeID != 1 || j.ClusterID != "c" || len(j.Members) != 3 {
		t.Errorf("%+v", j)
	}
}

// Without a leader nobody knows whether the holder of an id is alive: the newcomer waits, is
// told why, and is refused or taken once there is one.
func TestIDOfAClusterWithoutALeader(t *testing.T) {
	member := New(Config{Self: id(2, 2), ClusterID: "c", InCluster: true})
	standing := Standing{Leader: nodewire.Identity{NodeID: -1}, Voters: []nodewire.Identity{id(1, 9), id(2, 2), id(3, 3)}}
	m := one(nil)
	ask := find[Ask](t, m.Step(epoch, Tick{}))
	m.Step(epoch, Heard{Address: "n3:9093", Err: errors.New("connection refused")})
	for name, nodes := range map[string][]nodewire.Identity{"taken for alive": {id(1, 9), id(2, 2)}, "a voter": nil} {
		standing.Nodes = nodes
		member.Step(epoch, Known{standing})
		reply := find[Answer](t, member.Step(epoch, Asked{1, ask.Req})).Resp
		for _, at := range []time.Time{epoch, epoch.Add(2 * patience)} {
			if out := m.Step(at, Heard{Address: "n2:9093", Resp: reply}); has[Refuse](out) || has[Join](out) {
				t.Errorf("%s: %+v", name, out)
			}
		}
	}
	say := find[Say](t, m.Step(epoch.Add(2*patience), Tick{}))
	if want := "waiting for n2:9093 (another data directory has had node.id 1, and whether its node is alive is not known: the cluster's metadata has no leader, " +
		"as far as node 2 at n2:9093 knows, which takes a majority of the voters (node 1 at n1:9093, node 2 at n2:9093, node 3 at n3:9093): " +
		"start those with the data directories that they had; where those of a majority are gone for good, see 'The quorum is lost' in docs/disasters.md), " +
		"n3:9093 (connection refused)"; say.Text != want {
		t.Errorf("%s\nwant %s", say.Text, want)
	}
	standing.Leader, standing.Nodes = id(2, 2), nil
	member.Step(epoch, Known{standing})
	reply := find[Answer](t, member.Step(epoch, Asked{2, ask.Req})).Resp
	if j := find[Join](t, heard(m, reply)); j.NodeID != 1 {
		t.Errorf("%+v", j)
	}

	// A node that answers is alive itself.
	m = one(func(c *Config) { c.Self = id(2, 7) })
	standing.Leader.NodeID = -1
	member.Step(epoch, Known{standing})
	reply = find[Answer](t, member.Step(epoch, Asked{3, find[Ask](t, m.Step(epoch, Tick{})).Req})).Resp
	if reply.ErrorCode != kerr.DuplicateBrokerRegistration.Code {
		t.Errorf("%+v", reply)
	}
}

func TestJoinTakesAFreeID(t *testing.T) {
	m := one(func(c *Config) { c.Self.NodeID, c.Listed, c.Join = -1, nil, "n2:9092" })
	m.Step(epoch, Tick{})
	// The address is that of a listener for clients.
	ask := find[AskControllers](t, m.Step(epoch, Heard{Address: "n2:9092", Err: ErrNoHello}))
	if ask.Address != "n2:9092" {
		t.Errorf("%+v", ask)
	}
	if to := find[Ask](t, m.Step(epoch, Controllers{Addresses: []string{"n2:9093"}})); to.Address != "n2:9093" {
		t.Errorf("%+v", to)
	}
	if out := heard(m, inCluster(2, "c", -1)); has[Join](out) {
		t.Errorf("it does not know a free id: %+v", out)
	}
	if j := find[Join](t, heard(m, inCluster(2, "c", 3, id(2, 2)))); j.NodeID != 3 {
		t.Errorf("%+v", j)
	}
	// Somebody was faster, and the member has not heard of it yet.
	m.Step(epoch, Taken{})
	find[Ask](t, m.Step(epoch, Tick{}))
	if j := find[Join](t, heard(m, inCluster(2, "c", 3, id(2, 2)))); j.NodeID != 4 {
		t.Errorf("%+v", j)
	}
}

// A node that has joined finds its cluster again without being told.
func TestKnownMembersAreAsked(t *testing.T) {
	m := one(func(c *Config) { c.Listed, c.Known, c.ClusterID = nil, []string{"n2:9093"}, "c" })
	if to := find[Ask](t, m.Step(epoch, Tick{})); to.Address != "n2:9093" || to.Req.ClusterID != "c" {
		t.Errorf("%+v", to)
	}
	if out := heard(m, fresh(2, 2)); len(out) != 0 {
		t.Errorf("%+v", out)
	}
	if j := find[Join](t, heard(m, inCluster(2, "c", 3))); j.NodeID != 1 {
		t.Errorf("%+v", j)
	}
}

func TestWhoIsWaitedForIsSaidOnce(t *testing.T) {
	m := one(nil)
	m.Step(epoch, Tick{})
	m.Step(epoch, Heard{Address: "n2:9093", Err: errors.New("connection refused")})
	say := find[Say](t, m.Step(epoch.Add(quiet), Tick{}))
	if say.Text != "waiting for n2:9093 (connection refused), n3:9093 (no answer)" {
		t.Error(say.Text)
	}
	if has[Say](m.Step(epoch.Add(2*quiet), Tick{})) {
		t.Error("it is said again")
	}
}

// TestJoinsItself: under a name that nobody could know for its own, a node does not wait
// for itself without a word.
func TestJoinsItself(t *testing.T) {
	m := one(func(c *Config) { c.Listed, c.Join = nil, "alias:9093" })
	m.Step(epoch, Tick{})
	m.Step(epoch, Heard{Address: "alias:9093", Resp: fresh(1, 1)})
	say := find[Say](t, m.Step(epoch.Add(quiet), Tick{}))
	if say.Text != "waiting for alias:9093 (this is the node itself, which is in no cluster: another node's address is wanted)" {
		t.Error(say.Text)
	}
}

// TestOneThatHasNoIDYet: it is no partner in founding a cluster, and no way into one.
func TestOneThatHasNoIDYet(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"joined": func(c *Config) { c.Listed, c.Join = nil, "n2:9093" },
		"listed": func(c *Config) { c.Listed = listed(1, 2) },
	} {
		m := one(change)
		m.Step(epoch, Tick{})
		r := fresh(-1, 2)
		if out := m.Step(epoch, Heard{Address: "n2:9093", Resp: r}); len(out) != 0 {
			t.Errorf("%s: %+v", name, out)
		}
		say := find[Say](t, m.Step(epoch.Add(quiet), Tick{}))
		if say.Text != "waiting for n2:9093 (it waits to join a cluster, too: the address of a node that is in one is wanted)" {
			t.Errorf("%s: %s", name, say.Text)
		}
	}
}

// TestVoterThatIsNoController: a node with a vote is a controller; its log is not taken
// for lost, whoever founded the cluster.
func TestVoterThatIsNoController(t *testing.T) {
	f := nodewire.Founding{ClusterID: "c", Voters: []nodewire.Identity{id(1, 1), id(2, 2), id(3, 3)}}
	for name, change := range map[string]func(*Config, *nodewire.HelloResponse){
		"a founder":                     func(c *Config, _ *nodewire.HelloResponse) { c.Promise = Promise{Accepted: &f, Begun: true} },
		"of those that a founder knows": func(_ *Config, r *nodewire.HelloResponse) { r.Founding = &f },
		"one that joined":               func(*Config, *nodewire.HelloResponse) {},
	} {
		r := inCluster(2, "c", 4, f.Voters...)
		m := one(func(c *Config) {
			c.Voter, c.ClusterID = false, "c"
			change(c, r)
		})
		m.Step(epoch, Tick{})
		if all := heard(m, r); has[Refuse](all) || has[Join](all) {
			t.Errorf("%s, without a leader: %+v", name, all)
		}
		r.Leader = id(2, 2)
		wantRefusal(t, heard(m, r), StillVotes, "node 1 votes in the metadata quorum, and without the controller's role its vote would count as one that is down: "+
			"start it with process.roles=broker,controller, or take its vote first (leat config set broker 1 leat.quorum.voter=never, while it runs as a controller)")
	}
}
