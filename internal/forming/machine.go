package forming

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/leat-stream/leat/internal/mutant"
	"github.com/leat-stream/leat/internal/nodewire"
)

// ErrNoHello: the address answers, and does not speak nodewire: it is a listener for
// clients, or no Leat.
var ErrNoHello = errors.New("this is not the CONTROLLER listener of a Leat node")

// Listed is one address of controller.quorum.bootstrap.servers or controller.quorum.voters.
type Listed struct {
	Address string
	NodeID  int32 // -1: not given
}

// Config of a Machine.
type Config struct {
	// Self has a durable directory id; its NodeID is -1 when it is to be given by the
	// cluster that the node joins.
	Self  nodewire.Identity
	Voter bool // process.roles has controller
	// Listed are the nodes to form a cluster with; Setting is where they come from, for
	// messages. Join is an address of the cluster to join. With neither, a voter founds
	// a cluster alone.
	Listed  []Listed
	Setting string
	Join    string
	// Known are addresses of members that the node heard of before its last stop; a node
	// that has joined once needs nothing else to find its cluster again.
	Known []string
	// ClusterID is that of the data directory, "" when it is new. InCluster says that
	// the node is a part of it already and knows how to go on: it has a metadata log.
	ClusterID string
	InCluster bool
	Promise   Promise
	// NewClusterID makes the id of a cluster that is founded; a new one each time.
	NewClusterID func() string
	Software     string
}

// What is said of an address that leads to no cluster: it is the node's own, or that of one
// that has no id yet, since it waits to be given one by a cluster.
const (
	ItselfWaits = "this is the node itself, which is in no cluster: another node's address is wanted"
	OtherWaits  = "it waits to join a cluster, too: the address of a node that is in one is wanted"
)

// Times of a Machine.
const (
	retryEvery = 250 * time.Millisecond // hellos to one address
	quiet      = time.Second            // before it is said who is being waited for
	patience   = 30 * time.Second       // with an id that is in use: its holder may be dead, and not be known to be yet
	clashing   = 3 * time.Second        // with a listed node of the same id, so that both have said so
	clashQuiet = time.Second            // without an answer of that node, and it counts no more
	maxQueue   = 1024                   // events that wait for the disk
)

type phase int8

const (
	seeking phase = iota // for a cluster, or for those to found one with
	joined               // told to Join
	member               // the log is begun, or was there
	stopped              // refused
)

// Machine is the step machine of one node. It answers hellos for as long as the node
// runs.
type Machine struct {
	cfg     Config
	phase   phase
	promise Promise
	cluster string // that this node is in; "" while seeking
	known   Standing

	// busy: a Save or Begin is under way; everything waits for it, then goes on.
	busy  bool
	then  func()
	queue []Event

	order    []string         // addresses that are asked
	peers    map[string]*peer // by address
	attempt  *attempt         // that this node coordinates
	round    uint64           // highest round seen
	tried    int32            // last id that was taken, -1
	began    time.Time        // of the search
	asked    time.Time        // last round of hellos
	takenAt  time.Time        // since when the id is in use; zero: it is not
	clash    *clash           // a listed node has this one's id; nil: none does
	asking   bool             // AskControllers is under way
	lastSaid string

	now time.Time
	out []Action
}

// peer is what is known of an address.
type peer struct {
	answer *nodewire.HelloResponse // the last one; nil when the last hello failed
	why    string                  // that there is no answer
}

// clash is a listed node that has this one's id while a cluster is to be founded.
type clash struct {
	refusal     *Refusal
	since, last time.Time // of its answers
}

// New makes the machine of a node.
func New(cfg Config) *Machine {
	m := &Machine{cfg: cfg, promise: cfg.Promise, round: cfg.Promise.Ballot.Round, tried: -1, peers: map[string]*peer{}}
	m.known.Leader.NodeID, m.known.FreeNodeID = -1, -1
	for _, l := range cfg.Listed {
		m.order = append(m.order, l.Address)
	}
	if cfg.Join != "" {
		m.order = []string{cfg.Join}
	}
	if len(cfg.Listed) == 0 {
		m.order = append(m.order, slices.DeleteFunc(slices.Clone(cfg.Known), func(a string) bool { return a == cfg.Join })...)
	}
	if f := cfg.Promise.Accepted; !cfg.InCluster && f != nil && f.ClusterID == cfg.ClusterID && !cfg.Promise.Begun {
		m.cfg.ClusterID = "" // Begin was interrupted: the directory has the id, and there is no log
	}
	if cfg.InCluster {
		m.phase, m.cluster = member, cfg.ClusterID
	}
	return m
}

// Step takes an event and says what is to be done. The time never goes back.
func (m *Machine) Step(now time.Time, e Event) []Action {
	m.now, m.out = now, nil
	switch e.(type) {
	case Saved, Begun:
		if m.busy {
			then := m.then
			m.busy, m.then = false, nil
			then()
		}
	default:
		if m.busy {
			m.wait(e)
			return m.out
		}
		m.handle(e)
	}
	for len(m.queue) > 0 && !m.busy {
		next := m.queue[0]
		m.queue = m.queue[1:]
		m.handle(next)
	}
	return m.out
}

// wait keeps an event until the disk has answered. Ticks come again.
func (m *Machine) wait(e Event) {
	if _, tick := e.(Tick); tick {
		return
	}
	if len(m.queue) < maxQueue {
		m.queue = append(m.queue, e)
		return
	}
	if a, ok := e.(Asked); ok {
		resp := m.introduce()
		resp.ErrorCode = kerr.RequestTimedOut.Code
		m.do(Answer{a.Token, resp})
	}
}

func (m *Machine) do(a Action) { m.out = append(m.out, a) }

// save makes the promise durable, then goes on.
func (m *Machine) save(then func()) {
	m.busy, m.then = true, then
	m.do(Save{m.promise})
}

func (m *Machine) refuse(r *Refusal) {
	m.phase, m.attempt = stopped, nil
	m.do(Refuse{r})
}

func (m *Machine) handle(e Event) {
	switch e := e.(type) {
	case Asked:
		m.hello(e)
	case Known:
		m.known = e.Standing
	case Taken:
		m.taken()
	case Tick:
		m.tick()
	case Heard:
		if m.phase == seeking {
			m.heard(e)
		}
	case Controllers:
		if m.phase == seeking {
			m.controllers(e)
		}
	case Registered:
		m.tried = -1
	case Filled:
		if m.phase == seeking {
			m.phase, m.cluster, m.attempt = member, cmp.Or(m.cfg.ClusterID, m.acceptedCluster()), nil
		}
	}
}

// tick says hello again, and sees whether enough is known.
func (m *Machine) tick() {
	if f := m.promise.Accepted; m.phase == member && f != nil && f.ClusterID == m.cluster && !m.promise.Begun {
		m.promise.Begun = true // the last process ended before it could say so
		m.save(func() {})
	}
	if m.phase != seeking {
		return
	}
	if m.began.IsZero() {
		m.began = m.now
		if f := m.promise.Accepted; m.alone() && f != nil && len(f.Voters) == 1 && names(f.Voters, m.cfg.Self) && !m.promise.Begun {
			m.found(*f) // once more
			return
		}
		if m.alone() {
			if (m.cfg.ClusterID != "" || m.promise.Accepted != nil) && !mutant.On("node/starts-without-metadata") {
				m.refuse(refusal(LostLog, "the data directory belongs to cluster %s, and has no metadata log: "+
					"name a node of that cluster (leat serve --join HOST:PORT), or use an empty data directory", cmp.Or(m.cfg.ClusterID, m.acceptedCluster())))
				return
			}
			id := m.cfg.NewClusterID()
			if mutant.On("node/starts-without-metadata") {
				id = cmp.Or(m.cfg.ClusterID, id)
			}
			m.found(nodewire.Founding{ClusterID: id, Voters: []nodewire.Identity{m.cfg.Self}})
			return
		}
	}
	if m.asked.IsZero() || m.now.Sub(m.asked) >= retryEvery {
		m.asked = m.now
		for _, a := range m.order {
			if !m.itself(a) {
				m.ask(a)
			}
		}
	}
	if m.clashes() {
		return
	}
	m.consider()
	m.tell()
}

// clashes refuses the start beside a listed node with the same id. Neither can know whose the
// id is, so both end, once both have said so; one that falls silent is looked past.
func (m *Machine) clashes() bool {
	switch c := m.clash; {
	case c == nil:
	case m.now.Sub(c.last) >= clashQuiet:
		m.clash = nil
	case m.now.Sub(c.since) >= clashing:
		m.refuse(c.refusal)
		return true
	}
	return false
}

// alone tells that there is nobody to be asked: no list, or one of this node only.
func (m *Machine) alone() bool {
	if !m.cfg.Voter || m.cfg.Join != "" {
		return false
	}
	return len(m.order) == 0 || len(m.cfg.Listed) == 1 && m.itself(m.order[0]) && (m.cfg.Listed[0].NodeID < 0 || m.cfg.Listed[0].NodeID == m.cfg.Self.NodeID)
}

// acceptedCluster is the id of the founding that was accepted.
func (m *Machine) acceptedCluster() string {
	if m.promise.Accepted == nil {
		return ""
	}
	return m.promise.Accepted.ClusterID
}

// itself tells that an address is this node's by name; others may be, too, and answer
// with its directory.
func (m *Machine) itself(address string) bool {
	return len(m.cfg.Listed) > 0 && address == m.cfg.Self.Address
}

// ask says hello to an address, with what the attempt of this node has for it.
func (m *Machine) ask(address string) {
	req := m.request()
	if m.attempt != nil {
		m.attempt.fill(req, address)
	}
	m.do(Ask{address, req})
}

func (m *Machine) request() *nodewire.HelloRequest {
	return &nodewire.HelloRequest{
		From: m.cfg.Self, ClusterID: cmp.Or(m.cluster, m.cfg.ClusterID), Voter: m.cfg.Voter, Listed: m.addresses(),
	}
}

func (m *Machine) addresses() []string {
	var all []string
	for _, l := range m.cfg.Listed {
		all = append(all, l.Address)
	}
	slices.Sort(all)
	return all
}

// heard takes an answer, or its absence.
func (m *Machine) heard(e Heard) {
	if !slices.Contains(m.order, e.Address) {
		return
	}
	p := m.peers[e.Address]
	if p == nil {
		p = new(peer)
		m.peers[e.Address] = p
	}
	if e.Err != nil || e.Resp == nil {
		p.answer, p.why = nil, strings.TrimPrefix(fmt.Sprint(e.Err), e.Address+": ")
		if errors.Is(e.Err, ErrNoHello) && m.cfg.Join == e.Address && !m.asking {
			m.asking = true
			m.do(AskControllers{e.Address})
		}
		return
	}
	if m.cfg.Join == e.Address && e.Resp.From.DirectoryID == m.cfg.Self.DirectoryID {
		p.answer, p.why = nil, ItselfWaits
		return
	}
	if e.Resp.From.NodeID < 0 { // it could take part in no founding either
		p.answer, p.why = nil, OtherWaits
		return
	}
	if r := Denied(e.Resp); r != nil {
		p.answer, p.why = nil, r.Text
		m.denied(r)
		return
	}
	if e.Resp.ErrorCode != 0 {
		p.answer, p.why = nil, "error "+fmt.Sprint(e.Resp.ErrorCode)
		return
	}
	p.answer, p.why, m.takenAt = e.Resp, "", time.Time{}
	m.compare(e)
	m.round = max(m.round, e.Resp.Promised.Round)
	if e.Resp.HasLog {
		m.meet(e.Resp)
		return
	}
	m.progress(e.Address, e.Resp)
	m.consider()
}

// compare notes a node at another address that has this one's id, while both look for a cluster.
func (m *Machine) compare(e Heard) {
	other := e.Resp.From
	if e.Resp.HasLog || other.NodeID != m.cfg.Self.NodeID || other.DirectoryID == m.cfg.Self.DirectoryID || other.Address == m.cfg.Self.Address {
		return // at its own address, a word of the directory that was there before
	}
	if m.clash == nil {
		m.clash = &clash{since: m.now}
	}
	m.clash.last, m.clash.refusal = m.now, sameID(m.cfg.Self, e.Address)
}

// denied deals with a refusal by another node. One id in use may be that of a node that
// has just died; who has it is not known while the cluster has no leader.
func (m *Machine) denied(r *Refusal) {
	if r.Kind == NoLeader {
		m.takenAt = time.Time{}
		return
	}
	if r.Kind == IDTaken {
		if m.takenAt.IsZero() {
			m.takenAt = m.now
		}
		if m.now.Sub(m.takenAt) < patience {
			return
		}
	}
	m.refuse(r)
}

// controllers takes the addresses that a listener for clients gave.
func (m *Machine) controllers(e Controllers) {
	m.asking = false
	if e.Err != nil || len(e.Addresses) == 0 {
		if p := m.peers[m.cfg.Join]; p != nil && e.Err != nil {
			p.why = e.Err.Error()
		}
		return
	}
	for _, a := range e.Addresses {
		if !slices.Contains(m.order, a) {
			m.order = append(m.order, a)
		}
		m.ask(a)
	}
}

// meet deals with a node that is in a cluster.
func (m *Machine) meet(resp *nodewire.HelloResponse) {
	if m.cfg.ClusterID != "" && m.cfg.ClusterID != resp.ClusterID {
		m.refuse(otherCluster(resp.From, resp.ClusterID, m.cfg.ClusterID))
		return
	}
	f := resp.Founding
	if f == nil && m.promise.Accepted != nil && m.promise.Accepted.ClusterID == resp.ClusterID {
		f = m.promise.Accepted
	}
	votes := names(resp.Voters, m.cfg.Self)
	switch {
	case votes && !m.cfg.Voter:
		if resp.Leader.NodeID >= 0 { // else who votes may have changed since
			m.refuse(stillVotes(m.cfg.Self))
		}
	case f != nil && f.ClusterID == resp.ClusterID && names(f.Voters, m.cfg.Self) && (votes || len(resp.Voters) == 0):
		if m.promise.Begun {
			m.lost()
			return
		}
		m.found(*f)
	case votes && f != nil:
		m.lost()
	case votes:
		// Somebody who knows the founding has to answer.
	default:
		m.join(resp)
	}
}

func (m *Machine) lost() {
	m.refuse(refusal(LostLog, "the data directory is that of a voter of the metadata quorum (node %d), and its metadata log is gone: "+
		"start the node with an empty data directory, and it joins anew", m.cfg.Self.NodeID))
}

// join makes the node a part of the cluster, without a vote.
func (m *Machine) join(resp *nodewire.HelloResponse) {
	id := m.cfg.Self.NodeID
	if id < 0 {
		if id = max(resp.FreeNodeID, m.tried+1); resp.FreeNodeID < 0 {
			return // it does not know yet
		}
	}
	m.phase, m.cluster, m.attempt = joined, resp.ClusterID, nil
	members := []nodewire.Identity{resp.From}
	for _, v := range resp.Voters {
		if !names(members, v) {
			members = append(members, v)
		}
	}
	m.tried = id
	m.do(Join{resp.ClusterID, id, resp.Leader, members})
}

// taken: the id that was free a moment ago is in use.
func (m *Machine) taken() {
	if m.phase != joined {
		return
	}
	if m.cfg.Self.NodeID >= 0 {
		m.refuse(idTaken(nodewire.Identity{NodeID: m.cfg.Self.NodeID}))
		return
	}
	m.phase, m.cluster, m.asked = seeking, "", time.Time{}
}

// found begins a founding that is decided: first it is kept that this node takes part
// in no other.
func (m *Machine) found(f nodewire.Founding) {
	m.attempt = nil
	begin := func() {
		m.busy, m.then = true, func() { m.begun(f) }
		m.do(Begin{f})
	}
	if equal(m.promise.Accepted, &f) {
		begin()
		return
	}
	m.promise.Accepted, m.promise.AcceptedAt = &f, m.promise.Ballot
	m.save(begin)
}

func (m *Machine) begun(f nodewire.Founding) {
	m.phase, m.cluster = member, f.ClusterID
	for _, a := range m.order {
		if !m.itself(a) {
			m.do(Ask{a, m.decided(f)})
		}
	}
	m.promise.Begun = true
	m.save(func() {})
}

// decided is a hello that tells of a founding that is decided.
func (m *Machine) decided(f nodewire.Founding) *nodewire.HelloRequest {
	req := m.request()
	req.ClusterID, req.Ballot, req.Found = f.ClusterID, m.promise.Ballot, &f
	return req
}

// tell says whom the node waits for, when that has changed.
func (m *Machine) tell() {
	if m.phase != seeking || m.busy || m.now.Sub(m.began) < quiet {
		return
	}
	var missing []string
	for _, a := range m.order {
		p := m.peers[a]
		switch twin := m.twin(a); {
		case twin != "":
			missing = append(missing, fmt.Sprintf("%s (it has node.id %d, as has %s: every node needs its own)", a, p.answer.From.NodeID, twin))
		case m.itself(a), p != nil && p.answer != nil && len(m.cfg.Listed) > 0:
		case p == nil:
			missing = append(missing, a+" (no answer)")
		case p.answer != nil:
			missing = append(missing, a+" (it is in no cluster yet)")
		default:
			missing = append(missing, a+" ("+p.why+")")
		}
	}
	text := "waiting for the others to agree on the new cluster"
	switch {
	case len(missing) > 0:
		text = "waiting for " + strings.Join(missing, ", ")
	case !m.cfg.Voter:
		text = "waiting for the controllers to found the cluster"
	}
	if text != m.lastSaid {
		m.lastSaid = text
		m.do(Say{text})
	}
}
