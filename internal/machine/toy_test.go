package machine

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// kv is the machine of the tests: a map, with requests that wait for a key.
type kv struct {
	data    map[string]string
	end     int64
	waiting map[string][]Token
	ticks   int
	resumed func()
}

func newKV() Machine { return &kv{data: map[string]string{}, waiting: map[string][]Token{}} }

type (
	put    struct{ key, value string }
	put2   struct{ key, value string } // two records: the value, and the value again under key+"'"
	get    struct{ key string }
	sure   struct{ key string } // get, once the log is known to be led
	wait   struct{ key string } // answered by the next put of the key
	twice  struct{}             // replies twice
	alarm1 struct{ in time.Duration }
	effect struct{ key, value string }
	bad    struct{} // a record that cannot be applied
)

// seen is every reply: what was read, and the end of the state it was read from.
type seen struct {
	value string
	end   int64
}

func (m *kv) Decide(in Input) Decision {
	switch r := in.Request.(type) {
	case put:
		return m.put(in.Token, r.key, Record{[]byte(r.key), []byte(r.value)})
	case put2:
		return m.put(in.Token, r.key, Record{[]byte(r.key), []byte(r.value)}, Record{[]byte(r.key + "'"), []byte(r.value)})
	case get:
		return Decision{Replies: []Reply{{Token: in.Token, Body: seen{m.data[r.key], m.end}}}}
	case sure:
		return Decision{Replies: []Reply{{Token: in.Token, Body: seen{m.data[r.key], m.end}, Confirm: true}}}
	case wait:
		m.waiting[r.key] = append(m.waiting[r.key], in.Token)
		return Decision{}
	case twice:
		return Decision{Replies: []Reply{{Token: in.Token, Body: seen{"first", m.end}}, {Token: in.Token, Body: seen{"second", m.end}}}}
	case alarm1:
		return Decision{Replies: []Reply{{Token: in.Token, Body: seen{"", m.end}}}, Timers: []Timer{{"tick", in.Now.Add(r.in)}}}
	case effect:
		return Decision{Records: []Record{{[]byte(r.key), []byte(r.value)}}, Effects: []Effect{r},
			Replies: []Reply{{Token: in.Token, Body: seen{r.value, m.end + 1}}}}
	case bad:
		return Decision{Records: []Record{{}}}
	case TimerFired:
		m.ticks++
		return Decision{Records: []Record{{[]byte(r.Key), fmt.Append(nil, m.ticks)}}}
	}
	panic(fmt.Sprintf("%T", in.Request))
}

func (m *kv) put(t Token, key string, recs ...Record) Decision {
	end := m.end + int64(len(recs))
	d := Decision{Records: recs, Replies: []Reply{{Token: t, Body: seen{string(recs[0].Value), end}}}}
	for _, w := range m.waiting[key] {
		d.Replies = append(d.Replies, Reply{Token: w, Body: seen{string(recs[0].Value), end}})
	}
	delete(m.waiting, key)
	return d
}

func (m *kv) Apply(offset, _ int64, r Record) error {
	if len(r.Key) == 0 {
		return errors.New("record without a key")
	}
	m.end = offset + 1
	if r.Value == nil {
		delete(m.data, string(r.Key))
	} else {
		m.data[string(r.Key)] = string(r.Value)
	}
	return nil
}

func (m *kv) Resume(time.Time) Decision {
	if m.resumed != nil {
		m.resumed()
	}
	return Decision{}
}

// memLog is a log in memory whose commits, failures and epochs the test moves.
type memLog struct {
	mu        sync.Mutex
	epoch     int32
	recs      []Record
	committed int64
	fail      error         // of the next append
	loadFail  error         // of every load
	gate      chan struct{} // a load waits for it, if not nil
	appended  func(end int64)
}

func (l *memLog) Append(epoch int32, _ time.Time, recs []Record) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if epoch != l.epoch {
		return 0, ErrNotLeader
	}
	if err := l.fail; err != nil {
		l.fail = nil
		return 0, err
	}
	l.recs = append(l.recs, recs...)
	if l.appended != nil {
		l.appended(int64(len(l.recs)))
	}
	return int64(len(l.recs)) - 1, nil
}

func (l *memLog) Load(epoch int32, fn func(offset, ts int64, rec Record) error) (int64, error) {
	l.mu.Lock()
	gate, err, recs := l.gate, l.loadFail, slices.Clone(l.recs)
	if epoch != l.epoch {
		err = ErrNotLeader
	}
	l.mu.Unlock()
	if gate != nil {
		<-gate
	}
	if err != nil {
		return 0, err
	}
	for i, r := range recs {
		if err := fn(int64(i), 0, r); err != nil {
			return 0, err
		}
	}
	return int64(len(recs)), nil
}

// replay is the state of the log's first n records.
func (l *memLog) replay(n int64) map[string]string {
	m := newKV().(*kv)
	for i, r := range l.recs[:n] {
		if err := m.Apply(int64(i), 0, r); err != nil {
			panic(err)
		}
	}
	return m.data
}

func (l *memLog) end() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int64(len(l.recs))
}

func (l *memLog) set(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

func equalMaps(a, b map[string]string) bool { return maps.Equal(a, b) }
