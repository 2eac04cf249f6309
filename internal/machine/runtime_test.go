package machine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/leat-stream/leat/internal/env"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// outcome collects what a request got; a second answer panics.
type outcome struct {
	mu   sync.Mutex
	done bool
	body any
	err  error
}

func (o *outcome) set(body any, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.done {
		panic("a second answer")
	}
	o.done, o.body, o.err = true, body, err
}

func (o *outcome) get() (bool, any, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.done, o.body, o.err
}

func (o *outcome) want(t *testing.T, err error) {
	t.Helper()
	synctest.Wait()
	done, _, got := o.get()
	if !done || !errors.Is(got, err) || (err == nil) != (got == nil) {
		t.Fatalf("answered %v with %v, want %v", done, got, err)
	}
}

func (o *outcome) wantOpen(t *testing.T) {
	t.Helper()
	synctest.Wait()
	if done, _, err := o.get(); done {
		t.Fatalf("answered with %v, want no answer yet", err)
	}
}

func submit(r *Runtime, shard string, req any) *outcome {
	o := &outcome{}
	r.Submit(shard, req, o.set)
	return o
}

// bubble runs f in a bubble of virtual time with a runtime that is closed after it.
func bubble(t *testing.T, o Options, f func(t *testing.T, r *Runtime)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o.Clock = env.Real
		r := NewRuntime(o)
		defer r.Close()
		f(t, r)
	})
}

func TestRuntimeAnswersAfterCommit(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, r *Runtime) {
		submit(r, "s", get{"a"}).want(t, ErrNotLeader)
		log := &memLog{epoch: 1}
		r.Lead("s", 1, log, newKV)
		synctest.Wait()
		p := submit(r, "s", put{"a", "1"})
		p.wantOpen(t)
		r.Committed("s", 1, 1)
		p.want(t, nil)
		if _, body, _ := p.get(); body != (seen{"1", 1}) {
			t.Fatalf("body %v", body)
		}
		r.Resign("s", 1)
		submit(r, "s", get{"a"}).want(t, ErrNotLeader)
	})
}

// A log that commits within Append calls back into the runtime from the loop.
func TestRuntimeCommitWithinAppend(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, r *Runtime) {
		log := &memLog{epoch: 1}
		log.appended = func(end int64) { r.Committed("s", 1, end) }
		r.Lead("s", 1, log, newKV)
		synctest.Wait()
		for i := range 100 {
			submit(r, "s", put{"a", fmt.Sprint(i)}).want(t, nil)
		}
		if n := len(r.loops[0].alarms.heap); n != 0 {
			t.Fatalf("%d alarms left", n)
		}
	})
}

// surelog is a Confirmer whose word the test gives.
type surelog struct {
	memLog
	asked []func(error)
}

func (l *surelog) Confirm(_ int32, done func(error)) { l.asked = append(l.asked, done) }

// An answer that tells of the state, and commits nothing, waits until the log is known to be
// led.
func TestRuntimeConfirms(t *testing.T) {
	bubble(t, Options{CommitTimeout: time.Second}, func(t *testing.T, r *Runtime) {
		log := &surelog{memLog: memLog{epoch: 1}}
		log.appended = func(end int64) { r.Committed("s", 1, end) }
		r.Lead("s", 1, log, newKV)
		synctest.Wait()
		submit(r, "s", put{"a", "1"}).want(t, nil)
		submit(r, "s", get{"a"}).want(t, nil) // it did not ask for it
		answer := func(err error) {
			t.Helper()
			if len(log.asked) != 1 {
				t.Fatalf("%d asked", len(log.asked))
			}
			log.asked[0](err)
			log.asked = nil
		}
		good := submit(r, "s", sure{"a"})
		good.wantOpen(t)
		answer(nil)
		good.want(t, nil)
		if _, body, _ := good.get(); body != (seen{"1", 1}) {
			t.Fatalf("body %v", body)
		}
		bad := submit(r, "s", sure{"a"})
		bad.wantOpen(t)
		answer(ErrNotLeader)
		bad.want(t, ErrNotLeader)
		late := submit(r, "s", sure{"a"})
		late.wantOpen(t)
		time.Sleep(2 * time.Second)
		late.want(t, ErrTimeout)
		answer(nil) // nobody waits any more
		old := submit(r, "s", sure{"a"})
		old.wantOpen(t)
		r.Resign("s", 1)
		old.want(t, ErrNotLeader)
		answer(nil)
		synctest.Wait()
		if n := len(r.loops[0].alarms.heap); n != 0 {
			t.Fatalf("%d alarms left", n)
		}
	})
}

func TestRuntimeLongLoadBlocksNobody(t *testing.T) {
	bubble(t, Options{Loaders: 2}, func(t *testing.T, r *Runtime) {
		slow := &memLog{epoch: 1, gate: make(chan struct{})}
		r.Lead("slow", 1, slow, newKV)
		r.Lead("fast", 1, &memLog{epoch: 1}, newKV)
		synctest.Wait()
		submit(r, "slow", get{"a"}).want(t, ErrLoading)
		submit(r, "fast", get{"a"}).want(t, nil)
		close(slow.gate)
		synctest.Wait()
		submit(r, "slow", get{"a"}).want(t, nil)
		if st := r.Stats(); st.Active != 2 || st.Loading != 0 || st.Pending != 0 || st.Queued != 0 {
			t.Fatalf("stats %v", st)
		}
	})
}

func TestRuntimeTimersInVirtualTime(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, r *Runtime) {
		log := &memLog{epoch: 1}
		log.appended = func(end int64) { r.Committed("s", 1, end) }
		r.Lead("s", 1, log, newKV)
		synctest.Wait()
		submit(r, "s", alarm1{10 * time.Second}).want(t, nil)
		submit(r, "s", alarm1{time.Second}).want(t, nil) // replaces the first
		time.Sleep(time.Second)
		synctest.Wait()
		if log.end() != 1 {
			t.Fatalf("%d records, want the timer's", log.end())
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if log.end() != 1 {
			t.Fatalf("%d records: the replaced timer came due", log.end())
		}
	})
}

func TestRuntimeOnVirtualClock(t *testing.T) {
	clock := env.NewClock(time.UnixMilli(1))
	r := NewRuntime(Options{Clock: clock})
	defer r.Close()
	log := &memLog{epoch: 1}
	ticked := make(chan struct{})
	log.appended = func(int64) { close(ticked) }
	r.Lead("s", 1, log, newKV)
	ask(t, r, "s", alarm1{time.Hour})
	for waiting := true; waiting; {
		if _, ok := clock.Next(); ok {
			clock.Advance(time.Hour)
			waiting = false
		}
	}
	<-ticked
}

// ask submits until the shard has loaded, and waits for the answer.
func ask(t *testing.T, r *Runtime, shard string, req any) any {
	t.Helper()
	for {
		type answer struct {
			body any
			err  error
		}
		c := make(chan answer, 1)
		r.Submit(shard, req, func(body any, err error) { c <- answer{body, err} })
		a := <-c
		if a.err == nil {
			return a.body
		}
		if !errors.Is(a.err, ErrLoading) {
			t.Fatal(a.err)
		}
	}
}

func TestRuntimeCommitTimeout(t *testing.T) {
	bubble(t, Options{CommitTimeout: time.Second}, func(t *testing.T, r *Runtime) {
		r.Lead("s", 1, &memLog{epoch: 1}, newKV)
		synctest.Wait()
		p := submit(r, "s", put{"a", "1"})
		long := &outcome{}
		r.SubmitTimeout("s", put{"a", "2"}, time.Hour, long.set)
		time.Sleep(time.Second)
		p.want(t, ErrTimeout)
		long.wantOpen(t)
		r.Committed("s", 1, 2)
		long.want(t, nil)
		submit(r, "s", get{"a"}).want(t, nil)
	})
}

func TestRuntimeReloadsAfterPause(t *testing.T) {
	var events []Event
	bubble(t, Options{Notify: func(e Event) { events = append(events, e) }}, func(t *testing.T, r *Runtime) {
		log := &memLog{epoch: 1}
		r.Lead("s", 1, log, newKV)
		synctest.Wait()
		for range 2 {
			log.set(func() { log.fail = errors.New("no space") })
			submit(r, "s", put{"a", "1"}).want(t, ErrNotLeader)
			synctest.Wait()
		}
		submit(r, "s", get{"a"}).want(t, ErrLoading)
		time.Sleep(minPause)
		synctest.Wait()
		submit(r, "s", get{"a"}).want(t, nil)
		var kinds []EventKind
		for _, e := range events {
			kinds = append(kinds, e.Kind)
		}
		if want := []EventKind{ShardLoaded, ShardReload, ShardLoaded, ShardReload, ShardLoaded}; !slices.Equal(kinds, want) {
			t.Fatalf("events %v, want %v", kinds, want)
		}
	})
}

func TestRuntimeFailsShardOnBadRecord(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, r *Runtime) {
		r.Lead("s", 1, &memLog{epoch: 1, recs: []Record{{}}}, newKV)
		synctest.Wait()
		submit(r, "s", get{"a"}).want(t, ErrFailed)
	})
}

func TestRuntimeNewEpochReplacesOld(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, r *Runtime) {
		log := &memLog{epoch: 1}
		r.Lead("s", 1, log, newKV)
		synctest.Wait()
		p := submit(r, "s", put{"a", "1"})
		p.wantOpen(t)
		log.set(func() { log.epoch = 2 })
		r.Lead("s", 2, log, newKV)
		r.Committed("s", 2, 1)
		p.want(t, ErrNotLeader)
		r.Resign("s", 1) // late word about the old epoch
		r.Committed("s", 1, 99)
		g := submit(r, "s", get{"a"})
		g.want(t, nil)
		if _, body, _ := g.get(); body != (seen{"1", 1}) {
			t.Fatalf("body %v", body)
		}
		submit(r, "s", put{"a", "2"}).wantOpen(t) // the old epoch's word does not commit it
	})
}

// A topic deleted and made again starts with epochs below the old ones.
func TestRuntimeLogMadeAnew(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, r *Runtime) {
		r.Lead("s", 7, &memLog{epoch: 7}, newKV)
		r.Committed("s", 7, 50)
		r.Resign("s", 7)
		r.Lead("s", 0, &memLog{epoch: 0}, newKV)
		synctest.Wait()
		p := submit(r, "s", put{"a", "1"})
		p.wantOpen(t)
		r.Committed("s", 0, 1)
		p.want(t, nil)
	})
}

func TestRuntimeViewWaitsForCommit(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, r *Runtime) {
		r.Lead("s", 1, &memLog{epoch: 1}, newKV)
		synctest.Wait()
		submit(r, "s", put{"a", "1"})
		v := &outcome{}
		r.View("s", func(m Machine) any { return m.(*kv).data["a"] }, v.set)
		v.wantOpen(t)
		r.Committed("s", 1, 1)
		v.want(t, nil)
		if _, body, _ := v.get(); body != "1" {
			t.Fatalf("body %v", body)
		}
	})
}

func TestRuntimeOverload(t *testing.T) {
	bubble(t, Options{QueueDepth: 4}, func(t *testing.T, r *Runtime) {
		log := &memLog{epoch: 1}
		r.Lead("s", 1, log, newKV)
		synctest.Wait()
		hold, entered := make(chan struct{}), make(chan struct{})
		r.View("s", func(Machine) any { close(entered); <-hold; return nil }, func(any, error) {})
		<-entered
		var queued []*outcome
		for range 4 {
			queued = append(queued, submit(r, "s", get{"a"}))
		}
		over := submit(r, "s", get{"a"})
		if _, _, err := over.get(); !errors.Is(err, ErrOverloaded) {
			t.Fatalf("refused with %v", err)
		}
		close(hold)
		for _, o := range queued {
			o.want(t, nil)
		}
	})
}

func TestRuntimeServesShardsInTurn(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, r *Runtime) {
		for _, s := range []string{"busy", "calm"} {
			r.Lead(s, 1, &memLog{epoch: 1}, newKV)
		}
		synctest.Wait()
		hold, entered := make(chan struct{}), make(chan struct{})
		r.View("busy", func(Machine) any { close(entered); <-hold; return nil }, func(any, error) {})
		<-entered
		var order []string
		for range 10 * share {
			r.Submit("busy", get{"a"}, func(any, error) { order = append(order, "busy") })
		}
		r.Submit("calm", get{"a"}, func(any, error) { order = append(order, "calm") })
		close(hold)
		synctest.Wait()
		if at := slices.Index(order, "calm"); at < 0 || at > share {
			t.Fatalf("the calm shard was served after %d of the busy one's requests", at)
		}
	})
}

func TestRuntimeClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRuntime(Options{Clock: env.Real, Loops: 3})
		gate := make(chan struct{})
		r.Lead("loads", 1, &memLog{epoch: 1, gate: gate, recs: []Record{{Key: []byte("k")}}}, newKV)
		r.Lead("s", 1, &memLog{epoch: 1}, newKV)
		synctest.Wait()
		parked := submit(r, "s", put{"a", "1"})
		waiting := submit(r, "s", wait{"a2"})
		synctest.Wait()
		go func() { time.Sleep(time.Second); close(gate) }()
		r.Close()
		parked.want(t, ErrClosed)
		waiting.want(t, ErrClosed)
		submit(r, "s", get{"a"}).want(t, ErrClosed)
		r.Lead("s", 2, &memLog{epoch: 2}, newKV)
		r.Committed("s", 1, 1)
		r.Close()
		if st := r.Stats(); st.Pending != 0 || st.Queued != 0 || st.Active != 0 || st.Loading != 0 {
			t.Fatalf("stats after close: %v", st)
		}
	})
}

// TestRuntimeConcurrent lets goroutines submit, commit and change epochs at will:
// every request has one answer, and an answered put is in the committed log.
func TestRuntimeConcurrent(t *testing.T) {
	r := NewRuntime(Options{Clock: env.Real, Loops: 2, CommitTimeout: time.Hour})
	defer r.Close()
	type shardLog struct {
		*memLog
		epoch int32
	}
	logs := map[string]*shardLog{}
	for i := range 4 {
		name := fmt.Sprint("s", i)
		logs[name] = &shardLog{&memLog{epoch: 1}, 1}
		r.Lead(name, 1, logs[name], newKV)
	}
	stop := make(chan struct{})
	var commits sync.WaitGroup
	for name, l := range logs {
		commits.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(name[1])))
			for {
				select {
				case <-stop:
					return
				default:
				}
				var epoch int32
				var end int64
				l.set(func() {
					l.committed = int64(len(l.recs))
					if rng.IntN(50) == 0 {
						l.fail = errors.New("no space")
					}
					if rng.IntN(200) == 0 {
						l.memLog.epoch++
						r.Lead(name, l.memLog.epoch, l, newKV)
					}
					epoch, end = l.memLog.epoch, l.committed
				})
				r.Committed(name, epoch, end)
				runtime.Gosched()
			}
		})
	}
	var submits sync.WaitGroup
	for g := range 4 {
		submits.Go(func() {
			for i := range 500 {
				name := fmt.Sprint("s", (g+i)%4)
				value := fmt.Sprint(g, "-", i)
				c := make(chan error, 1)
				r.Submit(name, put{value, value}, func(_ any, err error) { c <- err })
				if err := <-c; err != nil {
					continue
				}
				l := logs[name]
				l.set(func() {
					if !slices.ContainsFunc(l.recs[:l.committed], func(rec Record) bool { return string(rec.Key) == value }) {
						t.Errorf("put %s was answered but is not committed", value)
					}
				})
			}
		})
	}
	submits.Wait()
	close(stop)
	commits.Wait()
}

// Words about commits may cross a change of epoch in any order.
func TestRuntimeCommitsCrossEpochs(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, r *Runtime) {
		r.Lead("s", 1, &memLog{epoch: 1}, newKV)
		synctest.Wait()
		hold, entered := make(chan struct{}), make(chan struct{})
		r.View("s", func(Machine) any { close(entered); <-hold; return nil }, func(any, error) {})
		<-entered
		r.Lead("s", 2, &memLog{epoch: 2, recs: []Record{{Key: []byte("a"), Value: []byte("1")}}}, newKV)
		r.Committed("s", 2, 1)
		r.Committed("s", 1, 99)
		r.Committed("s", 2, 0)
		close(hold)
		synctest.Wait()
		submit(r, "s", get{"a"}).want(t, nil)
		submit(r, "s", put{"a", "2"}).wantOpen(t)
	})
}

func TestRuntimeLeadsAnEpochOnce(t *testing.T) {
	loads := 0
	bubble(t, Options{Notify: func(e Event) { loads++ }}, func(t *testing.T, r *Runtime) {
		for range 3 {
			r.Lead("s", 2, &memLog{epoch: 2}, newKV)
			r.Lead("s", 1, &memLog{epoch: 1}, newKV)
			synctest.Wait()
		}
		if loads != 1 {
			t.Fatalf("%d events, want one load", loads)
		}
	})
}

// errLog notes how its load ended.
type errLog struct {
	memLog
	ended chan error
}

func (l *errLog) Load(epoch int32, fn func(offset, ts int64, rec Record) error) (int64, error) {
	end, err := l.memLog.Load(epoch, fn)
	l.ended <- err
	return end, err
}

func TestRuntimeCancelsLoad(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, r *Runtime) {
		log := &errLog{memLog{epoch: 1, gate: make(chan struct{}), recs: []Record{{Key: []byte("a")}}}, make(chan error, 1)}
		r.Lead("s", 1, log, newKV)
		synctest.Wait()
		r.Resign("s", 1)
		synctest.Wait()
		close(log.gate)
		if err := <-log.ended; !errors.Is(err, errCancelled) {
			t.Fatalf("load ended with %v", err)
		}
	})
}
