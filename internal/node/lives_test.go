package node

import (
	"reflect"
	"testing"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/metadata"
)

func TestLivesAreNoted(t *testing.T) {
	d := env.NewDisk(1)
	if err := d.MkdirAll("data", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, l := range []lives{
		{boot: "b"},
		{boot: "b", epoch: 7},
		{epoch: 7, tried: [][16]byte{{1}, {2}}, copied: true},
		{boot: "0d9f3c1e-8a67-4b52-9a05-1f2e3d4c5b6a", epoch: 1 << 62, tried: make([][16]byte, maxTried), copied: true},
	} {
		if err := l.write(d, "data"); err != nil {
			t.Fatal(err)
		}
		if got, err := readLives(d, "data"); err != nil || !reflect.DeepEqual(got, l) {
			t.Errorf("%+v, %v; want %+v", got, err, l)
		}
	}
}

// TestOldCopyOfADirectory: the registration that the cluster has was made from this
// directory after it was copied, as the note tells; whatever a process did not live to note
// of its own registration is no sign of that.
func TestOldCopyOfADirectory(t *testing.T) {
	dir, me := [16]byte{9}, [16]byte{50}
	registered := func(epoch int64, incarnation byte) *metadata.Broker {
		return &metadata.Broker{Epoch: epoch, IncarnationID: [16]byte{incarnation}, Directories: [][16]byte{dir}}
	}
	for name, c := range map[string]struct {
		note   lives
		b      *metadata.Broker
		copied bool
	}{
		"the last life":               {lives{epoch: 7}, registered(7, 1), false},
		"a later one":                 {lives{epoch: 7}, registered(9, 1), true},
		"a later one, tried others":   {lives{epoch: 7, tried: [][16]byte{{2}, {3}}}, registered(9, 1), true},
		"one that did not note it":    {lives{epoch: 7, tried: [][16]byte{{2}, {3}}}, registered(9, 2), false},
		"this one, asking again":      {lives{epoch: 7}, registered(9, 50), false},
		"found before":                {lives{epoch: 7, tried: [][16]byte{{2}}, copied: true}, registered(9, 2), true},
		"of an earlier build":         {lives{boot: "b"}, registered(9, 1), false},
		"removed from the cluster":    {lives{epoch: 7}, nil, false},
		"the cluster was put back":    {lives{epoch: 7}, registered(5, 1), false},
		"another directory is in use": {lives{epoch: 7}, &metadata.Broker{Epoch: 9, Directories: [][16]byte{{8}}}, false},
	} {
		c.note.trying(me, dir, c.b)
		if c.note.copied != c.copied {
			t.Errorf("%s: copied %v", name, c.note.copied)
		}
		if c.note.epoch > 0 && c.note.tried[len(c.note.tried)-1] != me {
			t.Errorf("%s: %v", name, c.note.tried)
		}
		if c.note.trying(me, dir, c.b) {
			t.Errorf("%s: to be written again", name)
		}
	}
	// It died before it noted what it had registered, and starts again and again while no
	// controller answers.
	l := lives{epoch: 7, tried: [][16]byte{{200}}}
	for i := range byte(100) {
		l.trying([16]byte{i}, dir, registered(9, 200))
	}
	if l.copied || l.epoch != 9 {
		t.Errorf("%+v", l)
	}
	l = lives{epoch: 7}
	for i := range byte(100) {
		l.trying([16]byte{i}, dir, nil)
	}
	if len(l.tried) != maxTried || l.tried[maxTried-1] != [16]byte{99} {
		t.Errorf("%d: %v", len(l.tried), l.tried)
	}
}
