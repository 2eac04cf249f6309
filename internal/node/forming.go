package node

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/forming"
	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/mutant"
	"github.com/leat-stream/leat/internal/nodewire"
	"github.com/leat-stream/leat/internal/peer"
	"github.com/leat-stream/leat/internal/quorum"
)

// former drives the step machine by which the node finds its cluster. It belongs to the
// node's tasks.
type former struct {
	n       *Node
	machine *forming.Machine
	token   uint64
	asked   map[uint64]func(*nodewire.HelloResponse)

	join      string   // the address of the cluster to join, as it was given
	addresses []string // all that were given, or recorded
	known     []string // those that were recorded
	recorded  string   // content of knownFile
	filled    bool     // there is a metadata log that says something
}

const (
	formingTick = 100 * time.Millisecond
	servingTick = time.Second
	// helloPatience is how long a hello waits for its answer.
	helloPatience = 2 * time.Second
)

// self is this node as others know it.
func (n *Node) self() nodewire.Identity {
	return nodewire.Identity{NodeID: n.id, DirectoryID: n.dir.DirectoryID(), Address: n.opt.Controllers}
}

// newFormer makes the machine. inCluster says that the node belongs to one already.
func newFormer(n *Node, inCluster bool) (*former, error) {
	promise, err := readPromise(n.opt.FS, n.opt.DataDir)
	if err != nil {
		return nil, err
	}
	known, err := readKnown(n.opt.FS, n.opt.DataDir)
	if err != nil {
		return nil, err
	}
	cfg := forming.Config{
		Self: n.self(), Voter: n.Config().Controller(), Join: n.Config().String(config.LeatJoin), Known: known,
		ClusterID: n.dir.ClusterID(), InCluster: inCluster, Promise: promise,
		NewClusterID: func() string { return metadata.UUIDString(env.UUID(n.rand)) }, Software: n.opt.Version,
	}
	cfg.Listed, cfg.Setting = n.listed()
	f := &former{n: n, machine: forming.New(cfg), asked: map[uint64]func(*nodewire.HelloResponse){}, join: cfg.Join, known: known, filled: inCluster}
	for _, l := range cfg.Listed {
		f.addresses = append(f.addresses, l.Address)
	}
	if cfg.Join != "" {
		f.addresses = append(f.addresses, cfg.Join)
	}
	f.addresses = append(f.addresses, known...)
	return f, nil
}

// step feeds an event and carries out what comes of it. An action whose outcome is
// known at once feeds the next. Before all else it is told that a leader has filled the log: an
// answer of a member, which may be an old one, must not be taken for a word on a log that is gone.
func (f *former) step(e forming.Event) {
	if !f.filled && f.n.meta.known() {
		f.filled = true
		f.step(forming.Filled{})
	}
	for _, a := range f.machine.Step(f.n.clock.Now(), e) {
		f.do(a)
	}
}

// tick also takes the broker on its way into the cluster: who leads the metadata may
// become known without anything being committed.
func (f *former) tick() {
	f.step(forming.Tick{})
	f.n.meta.progress()
	next := formingTick
	if f.n.meta.phase == phaseServing {
		next = servingTick // the cluster is found: a node at rest is not woken ten times a second
	}
	f.n.jobs.after(next, func() { f.n.tasks.post(f.tick) })
}

func (f *former) do(a forming.Action) {
	n := f.n
	switch a := a.(type) {
	case forming.Ask:
		n.opt.Caller.Call(peer.Target{Node: -1, Address: a.Address}, peer.Control, a.Req, helloPatience, func(resp kmsg.Response, err error) {
			hello, ok := resp.(*nodewire.HelloResponse)
			switch {
			case noHello(err, ok) && a.Address == f.join, err == nil && !ok:
				err = forming.ErrNoHello
			case noHello(err, ok): // a listener for clients does that, and a node that is ended
				err = errors.New("it hangs up: is it the CONTROLLER listener of a Leat node?")
			}
			n.tasks.post(func() {
				if hello != nil {
					n.addresses.heard(hello.From)
				}
				f.step(forming.Heard{Address: a.Address, Resp: hello, Err: err})
			})
		})
	case forming.AskControllers:
		askControllers(n.opt.Caller, a.Address, func(all []string, err error) {
			n.tasks.post(func() { f.step(forming.Controllers{Addresses: all, Err: err}) })
		})
	case forming.Answer:
		if answer := f.asked[a.Token]; answer != nil {
			delete(f.asked, a.Token)
			answer(a.Resp)
		}
	case forming.Save:
		if err := writePromise(n.opt.FS, n.opt.DataDir, a.Promise); err != nil {
			n.meta.fail(fmt.Errorf("promise to found a cluster: %w", err))
			n.opt.Failed(err)
			return
		}
		n.tasks.post(func() { f.step(forming.Saved{}) })
	case forming.Begin:
		if err := n.begin(a.Founding); err != nil {
			n.meta.fail(err)
			return
		}
		n.tasks.post(func() {
			f.step(forming.Begun{}) // saves that it is begun, before anything is voted on
			n.meta.log.Load().Start()
		})
	case forming.Join:
		n.meta.hint.Store(&a.Leader)
		n.addresses.heard(a.Leader)
		for _, m := range a.Members {
			n.addresses.heard(m)
		}
		if err := n.join(a); err != nil {
			n.meta.fail(err)
		}
	case forming.Say:
		n.log.Info(a.Text)
	case forming.Refuse:
		begun := n.meta.started == nil
		n.meta.fail(a.Refusal)
		if begun {
			n.opt.Failed(a.Refusal)
		}
	}
}

// told are the addresses by which the node was to find its cluster.
func (f *former) told() []string { return f.addresses }

// standing is what this node knows of its cluster.
func (n *Node) standing() forming.Standing {
	s := forming.Standing{Leader: nodewire.Identity{NodeID: -1}, FreeNodeID: -1}
	leader, led := n.meta.leader()
	for _, m := range n.meta.members() {
		id := identity(m.Member)
		if m.Voter {
			s.Voters = append(s.Voters, id)
		}
		if led && m.NodeID == leader {
			s.Leader = id
		}
	}
	img := n.Image()
	if img.ClusterID() == "" {
		return s
	}
	for _, b := range img.Brokers() {
		if b.Active() && len(b.Directories) > 0 {
			s.Nodes = append(s.Nodes, nodewire.Identity{NodeID: b.ID, DirectoryID: b.Directories[0]})
		}
	}
	s.FreeNodeID = img.FreeNodeID(n.idsInUse()...)
	return s
}

// listed are the nodes to form a cluster with, and the setting that says so.
func (n *Node) listed() (all []forming.Listed, setting string) {
	voters, setting := n.Config().Voters()
	for _, v := range voters {
		all = append(all, forming.Listed{Address: v.Endpoint.String(), NodeID: v.ID})
	}
	return all, setting
}

// begin creates the metadata log of a new cluster.
func (n *Node) begin(f nodewire.Founding) error {
	if err := n.dir.SetCluster(f.ClusterID); err != nil {
		return dataDirError(n.opt.DataDir, err)
	}
	var voters []quorum.Member
	for _, v := range f.Voters {
		voters = append(voters, quorum.Member{NodeID: v.NodeID, DirectoryID: v.DirectoryID, Address: v.Address})
	}
	return n.meta.open(voters, false)
}

// join follows the metadata of a cluster that exists; its leader makes a controller a
// member of the quorum.
func (n *Node) join(j forming.Join) error {
	if err := n.dir.SetCluster(j.ClusterID); err != nil {
		return dataDirError(n.opt.DataDir, err)
	}
	if n.Config().Controller() && n.meta.log.Load() == nil {
		if err := n.meta.open(nil, true); err != nil {
			return err
		}
		n.meta.log.Load().Start()
	}
	if err := n.remember(); err != nil {
		return err
	}
	n.meta.created = true
	n.meta.cluster = j.ClusterID
	n.meta.observe()
	n.meta.progress()
	return nil
}

// knownFile holds the addresses of the controllers that a node heard of when it joined,
// one a line, so that it finds its cluster again without being told.
const knownFile = "controllers"

// remember records them, when they are others than before.
func (n *Node) remember() error {
	var b strings.Builder
	voters := n.meta.members()
	for _, id := range n.addresses.all() {
		if id.NodeID != n.id && (len(voters) == 0 || slices.ContainsFunc(voters, func(v member) bool { return v.NodeID == id.NodeID })) {
			fmt.Fprintln(&b, id.Address)
		}
	}
	if b.Len() == 0 || b.String() == n.former.recorded {
		return nil
	}
	n.former.recorded = b.String()
	return replaceFile(n.opt.FS, n.opt.DataDir, knownFile, []byte(b.String()))
}

func readKnown(fsys env.FS, dir string) ([]string, error) {
	b, err := readFile(fsys, filepath.Join(dir, knownFile), maxPromise)
	return strings.Fields(string(b)), err
}

// readPromise reads what the node promised when a cluster was founded.
func readPromise(fsys env.FS, dir string) (forming.Promise, error) {
	b, err := readFile(fsys, filepath.Join(dir, forming.PromiseFile), maxPromise)
	if err != nil || b == nil || mutant.On("node/promise-forgotten") {
		return forming.Promise{}, err
	}
	p, err := forming.DecodePromise(b)
	if err != nil {
		return p, fmt.Errorf("data directory %s: %w", dir, err)
	}
	return p, nil
}

func writePromise(fsys env.FS, dir string, p forming.Promise) error {
	return replaceFile(fsys, dir, forming.PromiseFile, p.Encode())
}

// maxPromise is the most bytes of the promise's file.
const maxPromise = 1 << 20
