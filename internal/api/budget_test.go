package api

import (
	"log/slog"
	"runtime"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/env"
)

// untilWaiting returns when somebody has set a timer.
func untilWaiting(clock *env.VirtualClock) {
	for {
		if _, waiting := clock.Next(); waiting {
			return
		}
		runtime.Gosched()
	}
}

// waits says whether a take has to wait; it ends the wait by giving back other's bytes.
func waits(t *testing.T, b *Budget, c *Conn, n int64, release func()) {
	t.Helper()
	got := make(chan bool)
	go func() { got <- b.take(c, n) }()
	untilWaiting(b.clock.(*env.VirtualClock))
	select {
	case ok := <-got:
		t.Fatalf("the budget gave %d bytes at once: %v", n, ok)
	default:
	}
	release()
	if !<-got {
		t.Fatalf("%d bytes were refused", n)
	}
}

func TestBudgetHoldsTheLimit(t *testing.T) {
	clock := env.NewClock(time.Unix(0, 0))
	b := NewBudget(800, clock)
	var one, two, three Conn
	if !b.take(&one, 500) || !b.take(&two, 200) {
		t.Fatal("what fits was refused")
	}
	if b.take(&three, 801) {
		t.Fatal("more than there is was given")
	}
	waits(t, b, &three, 200, func() { b.give(&two, 200) })
	if b.more(&three, 200) {
		t.Fatal("an answer grew beyond the limit")
	}
	late := make(chan bool)
	go func() { late <- b.take(&two, 200) }()
	untilWaiting(clock)
	clock.Advance(budgetWait)
	if <-late {
		t.Fatal("bytes that never came back were given")
	}
	b.give(&one, 500)
	b.give(&three, 200)
	if b.used != 0 || one.charged != 0 || three.charged != 0 {
		t.Fatalf("%d bytes are still counted", b.used)
	}
}

func TestOneConnectionGetsAShareOfTheBudget(t *testing.T) {
	b := NewBudget(800, env.NewClock(time.Unix(0, 0)))
	var greedy, other Conn
	if !b.take(&greedy, 90) {
		t.Fatal("the first request was refused")
	}
	waits(t, b, &greedy, 20, func() { b.give(&greedy, 90) })
	if !b.take(&other, 700) {
		t.Fatal("another connection was kept out")
	}
}

func TestWhatARequestHoldsIsGivenBackWhenItsAnswerIsOut(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(r *Request)
	}{
		{"answer", func(r *Request) { r.ReplyRaw(func() Output { return Output{} }) }},
		{"no answer", (*Request).ReplyNone},
		{"hangup", (*Request).Hangup},
		{"cancelled and answered later", func(r *Request) {
			r.Park()
			r.Cancel()
			r.ReplyRaw(func() Output { return Output{} })
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &Server{Budget: NewBudget(1<<20, env.NewClock(time.Unix(0, 0)))}
			answers := 0
			r := &Request{Conn: new(Conn), server: s}
			r.done = func(a Answer) {
				answers++
				if a == nil {
					return
				}
				out := a()
				if s.Budget.used == 0 {
					t.Error("given back before the answer was written")
				}
				out.Release()
			}
			if err := s.charge(r, 10_000); err != nil {
				t.Fatal(err)
			}
			if !s.grow(r, 500) || s.Budget.used != 10_500 {
				t.Fatalf("%d bytes are counted", s.Budget.used)
			}
			c.end(r)
			if s.Budget.used != 0 || answers != 1 {
				t.Fatalf("%d bytes are still counted after %d answers", s.Budget.used, answers)
			}
		})
	}
}

// TestAnswersCountUntilTheyAreWritten: a client that does not read a large answer holds
// a part of the budget; when there is no more, answers are not made.
func TestAnswersCountUntilTheyAreWritten(t *testing.T) {
	s := &Server{Budget: NewBudget(100_000, env.NewClock(time.Unix(0, 0))), Complaints: NewComplaints(slog.New(slog.DiscardHandler), env.Real)}
	resp := kmsg.NewPtrListGroupsResponse()
	resp.Groups = make([]kmsg.ListGroupsResponseGroup, 10_000)
	conn := new(Conn)
	var unread []Output
	for range 10 {
		r := &Request{Conn: conn, server: s}
		r.done = func(a Answer) { unread = append(unread, a()) }
		r.Reply(resp)
	}
	for i, out := range unread {
		if full := i >= 2; full != out.Close || full == (len(out.Pieces) > 0) {
			t.Errorf("answer %d has %d pieces, close %v", i, len(out.Pieces), out.Close)
		}
		if out.Release != nil {
			out.Release()
		}
	}
	if s.Budget.used != 0 || conn.charged != 0 {
		t.Errorf("%d bytes are counted after all", s.Budget.used)
	}
}
