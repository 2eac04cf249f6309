package node

import (
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
		p.heard(&nodewire.HelloRequest{From: nodewire.Identity{NodeID: 5}, Applied: applied}, commit, at)
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
	p.heard(&nodewire.HelloRequest{From: nodewire.Identity{NodeID: 6}}, 0, at)
	if all := p.all(); len(all) != 1 || all[0].NodeID != 6 {
		t.Errorf("%+v", all)
	}
}

// What a node says of itself counts, until others tell of a change.
func TestAddresses(t *testing.T) {
	var a addresses
	at := func(address string) nodewire.Identity { return nodewire.Identity{NodeID: 2, Address: address} }
	for i, step := range []struct {
		do   func(nodewire.Identity)
		of   string
		want string
	}{{a.told, "old", "old"}, {a.heard, "new", "new"}, {a.told, "old", "new"}, {a.told, "newer", "newer"}, {a.heard, "newest", "newest"}, {a.told, "newer", "newest"}} {
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
