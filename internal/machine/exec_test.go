package machine

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leat-stream/leat/internal/env"
)

// stepped runs shards on one goroutine by a seed and returns what happened, in order.
func stepped(t *testing.T, seed uint64) []string {
	var trace []string
	note := func(s string) { trace = append(trace, s) }
	exec := env.NewStepper(env.NewRand(seed))
	exec.Ran = note
	clock := env.NewClock(time.Unix(0, 0))
	r := NewRuntime(Options{
		Clock: clock, Exec: exec, Loops: 2, Loaders: 1,
		Notify: func(e Event) { note(e.String()) },
	})
	shards := []string{"a", "b", "c", "d"}
	for _, s := range shards {
		log := &memLog{epoch: 1}
		log.appended = func(end int64) { r.Committed(s, 1, end) }
		r.Lead(s, 1, log, newKV)
	}
	answer := func(what string) Done { return func(_ any, err error) { note(fmt.Sprint(what, " ", err)) } }
	for round := range 3 {
		for _, s := range shards {
			r.Submit(s, put{"k", fmt.Sprint(round)}, answer(fmt.Sprint(s, " ", round)))
		}
		r.Submit("a", alarm1{time.Second}, answer("alarm"))
		if !exec.Run(1000) {
			t.Fatal("the loops never rest")
		}
	}
	clock.Advance(time.Second)
	if !exec.Run(1000) {
		t.Fatal("the loops never rest")
	}
	if st := r.Stats(); st.Active != 4 || st.Pending != 0 || st.Queued != 0 {
		t.Fatalf("stats %v", st)
	}
	return trace
}

func TestRuntimeOnOneGoroutine(t *testing.T) {
	first := stepped(t, 1)
	if !slices.Equal(first, stepped(t, 1)) {
		t.Error("one seed gave two histories")
	}
	other := false
	for seed := uint64(2); seed < 20 && !other; seed++ {
		other = !slices.Equal(first, stepped(t, seed))
	}
	if !other {
		t.Error("the seed changes nothing")
	}
	loads := 0
	for _, s := range first {
		if strings.HasSuffix(s, "load") {
			loads++
		}
	}
	if loads != 4 {
		t.Errorf("%d turns of loads, want one for each shard", loads)
	}
}

// A turn serves a bounded number of shards and asks for the next one itself.
func TestRuntimeTurnIsBounded(t *testing.T) {
	exec := env.NewStepper(env.NewRand(1))
	r := NewRuntime(Options{Clock: env.NewClock(time.Unix(0, 0)), Exec: exec})
	const shards = 3 * rounds
	for i := range shards {
		r.Lead(fmt.Sprint(i), 1, &memLog{epoch: 1}, newKV)
	}
	exec.Step()
	if n := r.Stats().Loading; n > rounds {
		t.Fatalf("%d shards in one turn, want at most %d", n, rounds)
	}
	exec.Run(1000)
	if n := r.Stats().Active; n != shards {
		t.Fatalf("%d shards active, want %d", n, shards)
	}
}

// Close must not wait for turns that nobody will ever run.
func TestRuntimeClosesWithoutTurns(t *testing.T) {
	exec := env.NewStepper(env.NewRand(1))
	r := NewRuntime(Options{Clock: env.NewClock(time.Unix(0, 0)), Exec: exec})
	r.Lead("loaded", 1, &memLog{epoch: 1}, newKV)
	exec.Run(1000)
	parked := submit(r, "loaded", put{"a", "1"})
	exec.Run(1000)
	r.Lead("loading", 1, &memLog{epoch: 1}, newKV)
	exec.Step() // the loop has asked for the load
	queued := submit(r, "loaded", get{"a"})
	r.Close()
	for _, o := range []*outcome{parked, queued, submit(r, "loaded", get{"a"})} {
		if done, _, err := o.get(); !done || !errors.Is(err, ErrClosed) {
			t.Errorf("answered %v with %v, want %v", done, err, ErrClosed)
		}
	}
	exec.Run(1000)
	if st := r.Stats(); st.Active != 0 || st.Loading != 0 || st.Pending != 0 || st.Queued != 0 {
		t.Errorf("stats %v", st)
	}
}
