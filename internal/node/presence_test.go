package node

import (
	"strings"
	"testing"
	"time"

	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/nodewire"
	"github.com/leat-stream/leat/internal/schema"
)

func TestPresence(t *testing.T) {
	var p presences
	at := time.Unix(1000, 0)
	hello := func(applied, commit uint64) presence {
		p.heard(&nodewire.HelloRequest{From: nodewire.Identity{NodeID: 5}, Applied: applied}, true, commit, at)
		return p.all()[0]
	}
	if e := hello(7, 9); !e.caughtUp.IsZero() {
		t.Errorf("two entries behind: %v", e.caughtUp)
	}
	first := at
	at = at.Add(time.Second)
	if e := hello(9, 12); !e.caughtUp.Equal(first) {
		t.Errorf("it has what was there a second ago: %v", e.caughtUp)
	}
	at = at.Add(time.Second)
	if e := hello(12, 12); !e.caughtUp.Equal(at) {
		t.Errorf("it has everything: %v", e.caughtUp)
	}

	b := metadata.NewBuilder(nil)
	empty, _ := b.Image()
	if empty == nil {
		empty = new(metadata.Image)
	}
	if err := b.Apply(1, &schema.RegisterController{NodeID: 5}); err != nil {
		t.Fatal(err)
	}
	known, _ := b.Image()
	e := p.all()[0]
	if !e.shown(empty, at) || e.shown(empty, at.Add(presentFor)) || !e.shown(known, at.Add(presentFor)) {
		t.Error("who is silent is shown while the cluster knows it")
	}
	at = at.Add(rememberFor + time.Second)
	p.heard(&nodewire.HelloRequest{From: nodewire.Identity{NodeID: 6}}, true, 0, at)
	if all := p.all(); len(all) != 1 || all[0].NodeID != 6 {
		t.Errorf("%+v", all)
	}
}

// What a node says of itself counts, until others tell of a change.
func TestAddresses(t *testing.T) {
	clock := time.Unix(1000, 0)
	a := addresses{now: func() time.Time { clock = clock.Add(presentFor); return clock }}
	at := func(address string) nodewire.Identity { return nodewire.Identity{NodeID: 2, Address: address} }
	heard := func(id nodewire.Identity) {
		if !a.heard(id) {
			t.Errorf("%+v is not believed", id)
		}
	}
	for i, step := range []struct {
		do   func(nodewire.Identity)
		of   string
		want string
	}{{a.told, "old", "old"}, {heard, "new", "new"}, {a.told, "old", "new"}, {a.told, "newer", "newer"}, {heard, "newest", "newest"}, {a.told, "newer", "newest"}} {
		step.do(at(step.of))
		if got, _ := a.of(2); got != step.want {
			t.Errorf("step %d: %q, want %q", i, got, step.want)
		}
	}
	a.heard(nodewire.Identity{NodeID: -1, Address: "x"})
	if len(a.all()) != 1 {
		t.Error("a node without an id is kept")
	}
}

// TestAWordAgainstANodesOwn: who claims the id of a node that speaks, from another directory
// or another place, is not believed until that one is silent, whatever it was first.
func TestAWordAgainstANodesOwn(t *testing.T) {
	now := time.Unix(1000, 0)
	a := addresses{now: func() time.Time { return now }}
	own := nodewire.Identity{NodeID: 2, DirectoryID: [16]byte{1}, Address: "there:1"}
	disk, place := own, own
	disk.DirectoryID, place.Address = [16]byte{2}, "elsewhere:1"
	say := func(id nodewire.Identity, taken bool, address string) {
		t.Helper()
		if got := a.heard(id); got != taken {
			t.Errorf("%v: %+v is taken: %v", now.Unix()-1000, id, got)
		}
		if got, _ := a.of(2); got != address {
			t.Errorf("%v: it is at %q", now.Unix()-1000, got)
		}
	}
	for range 5 { // the node speaks, and others go on for longer than it would have to be silent
		say(own, true, "there:1")
		say(place, false, "there:1")
		say(disk, false, "there:1")
		now = now.Add(presentFor - time.Second)
	}
	say(place, false, "there:1")
	now = now.Add(time.Second)
	say(place, true, "elsewhere:1") // it moved
	say(own, false, "elsewhere:1")
	// What the cluster says of a move counts at once, and the node's own word stays its own.
	a.told(own)
	a.told(place)
	say(place, true, "elsewhere:1")
	if id := a.all(); len(id) != 1 || id[0] != place {
		t.Errorf("%+v", id)
	}
}

// TestStrangersAreBounded: of nodes that the cluster does not know, no more are kept than
// those that came last; those that it knows stay.
func TestStrangersAreBounded(t *testing.T) {
	a := addresses{belongs: func(node int32) bool { return node < 10 }, now: func() time.Time { return time.Unix(1000, 0) }}
	var p presences
	say := func(id int32) {
		from := nodewire.Identity{NodeID: id, Address: "somewhere:1"}
		a.heard(from)
		a.told(from)
		p.heard(&nodewire.HelloRequest{From: from}, id < 10, 1, time.Unix(1000, 0))
	}
	say(2)
	for id := int32(100); id < 100+3*maxStrangers; id++ {
		say(id)
	}
	say(3)
	all := a.all()
	if len(all) != maxStrangers+2 || all[0].NodeID != 2 || all[1].NodeID != 3 || all[2].NodeID != 100+2*maxStrangers {
		t.Errorf("%d addresses: %+v", len(all), all[:3])
	}
	if len(a.hearsay) != len(a.known) || len(a.said) != len(a.known) || len(a.strangers) != maxStrangers {
		t.Errorf("%d said by others, %d strangers", len(a.hearsay), len(a.strangers))
	}
	if all := p.all(); len(all) != maxStrangers+2 || all[1].NodeID != 3 {
		t.Errorf("%d present", len(all))
	}
	a.heard(nodewire.Identity{NodeID: 4, Address: strings.Repeat("a", maxAddress+1)})
	if _, ok := a.of(4); ok {
		t.Error("an endless address is kept")
	}
	// One that came as a stranger, and belongs by now.
	a.belongs = func(node int32) bool { return node < 10 || node == 100+2*maxStrangers }
	for id := int32(9000); id < 9000+maxStrangers; id++ {
		say(id)
	}
	if _, ok := a.of(100 + 2*maxStrangers); !ok {
		t.Error("forgotten, though it joined")
	}
}
