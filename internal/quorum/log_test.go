package quorum

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/machine"
)

// owner is what a broker does with the log: it keeps the committed state, leads the
// shard, and takes snapshots.
type owner struct {
	mu    sync.Mutex
	state map[string]string
	last  int64
	epoch int32
	leads int
	due   int
	rt    *machine.Runtime
	log   *Log
}

func (o *owner) hooks() LogHooks {
	return LogHooks{
		Restore: func(last, _ int64, recs iter.Seq2[machine.Record, error]) error {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.state, o.last = map[string]string{}, last
			for r, err := range recs {
				if err != nil {
					return err
				}
				o.state[string(r.Key)] = string(r.Value)
			}
			return nil
		},
		Records: func(b Batch) error {
			o.mu.Lock()
			for i, r := range b.Records {
				o.state[string(r.Key)] = string(r.Value)
				o.last = b.Base + int64(i)
			}
			epoch := o.epoch
			o.mu.Unlock()
			if o.rt != nil {
				o.rt.Committed("meta", epoch, b.End())
			}
			return nil
		},
		Lead: func(epoch int32, end int64) {
			o.mu.Lock()
			o.epoch, o.leads = epoch, o.leads+1
			o.mu.Unlock()
			if o.rt != nil {
				o.rt.Lead("meta", epoch, o.log, newRegister)
				o.rt.Committed("meta", epoch, end)
			}
		},
		Resign:      func(epoch int32) {},
		SnapshotDue: func(int64) { o.mu.Lock(); o.due++; o.mu.Unlock() },
	}
}

func (o *owner) snapshot() (int64, iter.Seq[machine.Record]) {
	o.mu.Lock()
	defer o.mu.Unlock()
	state := maps.Clone(o.state)
	return o.last, func(yield func(machine.Record) bool) {
		for _, k := range slices.Sorted(maps.Keys(state)) {
			if !yield(machine.Record{Key: []byte(k), Value: []byte(state[k])}) {
				return
			}
		}
	}
}

// register is a machine of keys and values.
type register struct {
	state map[string]string
	last  int64
}

func newRegister() machine.Machine { return &register{state: map[string]string{}} }

type set struct{ key, value string }

func (r *register) Decide(in machine.Input) machine.Decision {
	s := in.Request.(set)
	return machine.Decision{
		Records: []machine.Record{{Key: []byte(s.key), Value: []byte(s.value)}, {Key: []byte(s.key + "2"), Value: []byte(s.value)}},
		Replies: []machine.Reply{{Token: in.Token, Body: r.last + 2}},
	}
}

func (r *register) Apply(offset, _ int64, rec machine.Record) error {
	r.state[string(rec.Key)] = string(rec.Value)
	r.last = offset
	return nil
}

func (r *register) Resume(time.Time) machine.Decision { return machine.Decision{} }

var self = Member{NodeID: 1, DirectoryID: [16]byte{1, 2, 3}}

func openLog(t *testing.T, fs env.FS, o *owner, change func(*Options)) *Log {
	t.Helper()
	opts := Options{FS: fs, Dir: "d/meta", Clock: env.Real, Self: self, Voters: []Member{self}, SegmentBytes: 4096}
	if change != nil {
		change(&opts)
	}
	l, err := OpenLog(opts, o.hooks())
	if err != nil {
		t.Fatal(err)
	}
	o.log = l
	l.Start()
	return l
}

func newDisk(t *testing.T) *env.Disk {
	t.Helper()
	d := env.NewDisk(1)
	if err := errors.Join(d.MkdirAll("d", 0o755), d.SyncDir(".")); err != nil {
		t.Fatal(err)
	}
	return d
}

// submit sets a key through the runtime, once the shard has loaded.
func submit(t *testing.T, rt *machine.Runtime, key, value string) int64 {
	t.Helper()
	var body any
	var err error
	rt.Submit("meta", set{key, value}, func(b any, e error) { body, err = b, e })
	synctest.Wait()
	if err != nil {
		t.Fatal(err)
	}
	return body.(int64)
}

// TestLogUnderRuntime runs a machine on a one-voter log through restarts, with
// snapshots and segments small enough to come often.
func TestLogUnderRuntime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newDisk(t)
		want := map[string]string{}
		for round := range 5 {
			rt := machine.NewRuntime(machine.Options{Clock: env.Real})
			o := &owner{rt: rt}
			l := openLog(t, disk, o, func(o *Options) { o.KeepEntries = 3 })
			synctest.Wait()
			for i := range 50 {
				key, value := fmt.Sprint("k", i%7), fmt.Sprint(round, "-", i)
				last := submit(t, rt, key, value)
				want[key], want[key+"2"] = value, value
				if o.last != last || last != int64(round*50+i+1)*2 {
					t.Fatalf("round %d: record %d has offset %d, reply %d", round, i, o.last, last)
				}
				if i == 20 {
					if err := l.TakeSnapshot(o.snapshot()); err != nil {
						t.Fatal(err)
					}
				}
			}
			if !maps.Equal(o.state, want) {
				t.Fatalf("committed state %v, want %v", o.state, want)
			}
			rt.View("meta", func(m machine.Machine) any { return maps.Clone(m.(*register).state) }, func(got any, err error) {
				if err != nil || !maps.Equal(got.(map[string]string), want) {
					t.Errorf("machine's state %v, %v, want %v", got, err, want)
				}
			})
			synctest.Wait()
			rt.Close()
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}
