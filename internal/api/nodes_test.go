package api

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/nodewire"
)

// TestRequestsBetweenNodes: they are served at the controllers' door only, and only
// when they decode.
func TestRequestsBetweenNodes(t *testing.T) {
	cfg, _, err := config.Load(config.Sources{})
	if err != nil {
		t.Fatal(err)
	}
	clock := env.NewClock(time.Unix(0, 0))
	s := &Server{Config: func() *config.Config { return cfg }, Clock: clock, Budget: NewBudget(1<<20, clock)}
	s.Init()
	got := ""
	s.Nodes = func(r *Request, req kmsg.Request) {
		got = req.(*nodewire.PullRequest).ClusterID
		r.Reply(&nodewire.PullResponse{Commit: 7})
	}
	good := kmsg.NewRequestFormatter().AppendRequest(nil, &nodewire.PullRequest{ClusterID: "c"}, 3)[4:]
	for name, c := range map[string]struct {
		conn  Conn
		frame []byte
		ok    bool
	}{
		"controllers": {Conn{Controller: true}, good, true},
		"clients":     {Conn{}, good, false},
		"cut":         {Conn{Controller: true}, good[:len(good)-1], false},
	} {
		got = ""
		var r Request
		var answer Answer
		v := s.Serve(&c.conn, c.frame, &r, func(a Answer) { answer = a })
		if ok := v.Err == nil; ok != c.ok || (got == "c") != c.ok || (answer != nil) != c.ok {
			t.Fatalf("%s: %v, got %q", name, v.Err, got)
		}
		if !c.ok {
			continue
		}
		var resp nodewire.PullResponse
		if err := resp.ReadFrom(answer().Pieces[0].Bytes[8:]); err != nil || resp.Commit != 7 {
			t.Fatalf("answered %+v, %v", resp, err)
		}
	}
}
