package machine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/leat-stream/leat/internal/mutant"
)

type status uint8

const (
	loading status = iota + 1 // by an actLoad, running or due
	active
	lost   // the log refused the epoch; waits for the owner's word
	failed // a record cannot be applied
)

// Pauses before a load is tried again, after the first.
const (
	minPause = 100 * time.Millisecond
	maxPause = 5 * time.Second
)

// limits bound what one shard holds.
type limits struct {
	parked int // decisions waiting for their commit
	bytes  int // of records waiting for their commit
}

// shard is one machine on one log in one leader epoch, as a step function: it
// reads no clock, calls no log and answers nobody. Invariants:
//
//   - end is one past the last record that the state includes; committed is the
//     committed end that the owner told. Both only grow while the state lives.
//   - parked is in the order of decisions, so its needs never fall: a reply
//     leaves when committed has reached the end that its state included.
//   - a token is in tokens from its request until its one reply or failure.
//   - between an actAppend and its evAppended no other event comes.
type shard struct {
	name   string
	epoch  int32
	limits limits
	rand   *rand.Rand

	status    status
	machine   Machine // nil unless active
	loads     uint64  // number of the newest load
	pause     time.Duration
	cause     error // why it failed
	end       int64
	committed int64

	tokens   map[Token]*request
	parked   []parked // from head on
	head     int
	bytes    int // in parked
	deciding *decision
	confirms bool      // the log is a Confirmer
	now      time.Time // of the event

	out []action
}

// request is a token's place: in the machine until its reply is made, then parked.
type request struct {
	timeout time.Duration
	replied bool
	timed   bool // has a deadline
}

// parked is what waits until the log is committed up to need.
type parked struct {
	need    int64
	bytes   int
	replies []Reply
	effects []Effect
}

// decision is one whose records are being appended.
type decision struct {
	Decision
	at time.Time
}

func newShard(name string, epoch int32, l limits, r *rand.Rand) *shard {
	return &shard{name: name, epoch: epoch, limits: l, rand: r, tokens: make(map[Token]*request)}
}

// step takes one event and returns the actions, valid until the next step.
func (s *shard) step(now time.Time, ev event) []action {
	clear(s.out)
	s.out = s.out[:0]
	s.now = now
	switch ev := ev.(type) {
	case evStart:
		s.startLoad(0)
	case evLoaded:
		s.loaded(now, ev)
	case evRequest:
		if s.admit(ev.token, ev.timeout) {
			s.decided(now, s.machine.Decide(Input{Now: now, Rand: s.rand, Token: ev.token, Request: ev.body}))
		}
	case evView:
		if s.admit(ev.token, ev.timeout) {
			s.decided(now, Decision{Replies: []Reply{{Token: ev.token, Body: ev.read(s.machine)}}})
		}
	case evTimer:
		s.timerFired(now, ev.key)
	case evDeadline:
		if _, ok := s.tokens[ev.token]; ok {
			delete(s.tokens, ev.token)
			s.emit(actFail{ev.token, ErrTimeout})
		}
	case evAppended:
		s.appended(now, ev)
	case evCommitted:
		if ev.end > s.committed {
			s.committed = ev.end
			s.pause = 0
			s.release()
		}
	case evConfirmed:
		s.confirmed(ev)
	case evStop:
		s.drop(ev.err)
		s.status = lost
		s.notify(ShardResigned, nil)
	}
	return s.out
}

func (s *shard) emit(a action) { s.out = append(s.out, a) }

func (s *shard) notify(kind EventKind, err error) {
	s.emit(actNotify{Event{Kind: kind, Shard: s.name, Epoch: s.epoch, End: s.end, Err: err}})
}

// admit refuses a request that cannot be decided now, or notes its token.
func (s *shard) admit(t Token, timeout time.Duration) bool {
	var err error
	switch {
	case s.status == loading:
		err = ErrLoading
	case s.status == failed:
		err = fmt.Errorf("%w: %w", ErrFailed, s.cause)
	case s.status != active:
		err = ErrNotLeader
	case s.full():
		err = ErrOverloaded
	default:
		s.tokens[t] = &request{timeout: timeout}
		return true
	}
	s.emit(actFail{t, err})
	return false
}

func (s *shard) full() bool {
	return len(s.parked)-s.head >= s.limits.parked || s.bytes >= s.limits.bytes
}

// timerFired is a request of the machine's own. Nobody can be refused, so while
// commits are far behind it comes again a little later.
func (s *shard) timerFired(now time.Time, key string) {
	switch {
	case s.status != active:
	case s.full():
		s.emit(actTimer{key, now.Add(minPause)})
	default:
		s.decided(now, s.machine.Decide(Input{Now: now, Rand: s.rand, Request: TimerFired{Key: key}}))
	}
}

// decided carries on with a decision: through the log if it has records.
func (s *shard) decided(now time.Time, d Decision) {
	if len(d.Records) == 0 {
		s.settle(now, d, 0)
		return
	}
	s.deciding = &decision{d, now}
	s.emit(actAppend{d.Records})
}

// appended applies the decision's records at once, speculatively.
func (s *shard) appended(now time.Time, ev evAppended) {
	d := s.deciding
	s.deciding = nil
	if ev.err != nil && mutant.On("machine/failed-append-counts") {
		ev = evAppended{last: s.end + int64(len(d.Records)) - 1}
	}
	if ev.err != nil {
		s.appendFailed(ev.err)
		return
	}
	first := ev.last - int64(len(d.Records)) + 1
	if first < s.end {
		s.fail(fmt.Errorf("append gave offsets %d to %d to a state that ends at %d", first, ev.last, s.end))
		return
	}
	bytes := 0
	for i, rec := range d.Records {
		bytes += len(rec.Key) + len(rec.Value)
		if err := s.machine.Apply(first+int64(i), d.at.UnixMilli(), rec); err != nil {
			s.fail(fmt.Errorf("record at offset %d: %w", first+int64(i), err))
			return
		}
	}
	s.end = ev.last + 1
	s.settle(now, d.Decision, bytes)
}

// settle sets the timers and lets replies and effects go, or parks them until
// everything that the state includes is committed.
func (s *shard) settle(now time.Time, d Decision, bytes int) {
	for _, t := range d.Timers {
		s.emit(actTimer{t.Key, t.At})
	}
	p := parked{need: s.end, bytes: bytes, effects: d.Effects}
	for _, r := range d.Replies {
		if q := s.tokens[r.Token]; q != nil && !q.replied {
			q.replied = true
			p.replies = append(p.replies, r)
		}
	}
	if s.committed >= s.end || mutant.On("machine/replies-before-commit") {
		s.let(p)
		return
	}
	if len(p.replies) == 0 && len(p.effects) == 0 && bytes == 0 {
		return
	}
	for _, r := range p.replies {
		q := s.tokens[r.Token]
		q.timed = true
		s.emit(actDeadline{r.Token, now.Add(q.timeout)})
	}
	s.parked = append(s.parked, p)
	s.bytes += bytes
}

// release lets go what the committed end has reached.
func (s *shard) release() {
	for s.head < len(s.parked) && s.parked[s.head].need <= s.committed {
		p := s.parked[s.head]
		s.parked[s.head] = parked{}
		s.head++
		s.bytes -= p.bytes
		s.let(p)
	}
	switch {
	case s.head == len(s.parked):
		s.parked, s.head = s.parked[:0], 0
	case s.head >= 64 && s.head*2 >= len(s.parked):
		n := copy(s.parked, s.parked[s.head:])
		clear(s.parked[n:])
		s.parked, s.head = s.parked[:n], 0
	}
}

func (s *shard) let(p parked) {
	for _, r := range p.replies {
		q := s.tokens[r.Token]
		switch {
		case q == nil: // timed out
		case r.Confirm && s.confirms:
			if !q.timed {
				q.timed = true
				s.emit(actDeadline{r.Token, s.now.Add(q.timeout)})
			}
			s.emit(actConfirm{r.Token, r.Body})
		default:
			s.reply(r.Token, q, r.Body, nil)
		}
	}
	for _, e := range p.effects {
		s.emit(actEffect{e})
	}
}

// reply ends a request.
func (s *shard) reply(t Token, q *request, body any, err error) {
	delete(s.tokens, t)
	if q.timed {
		s.emit(actDeadline{token: t})
	}
	if err != nil {
		s.emit(actFail{t, err})
		return
	}
	s.emit(actReply{t, body})
}

func (s *shard) confirmed(ev evConfirmed) {
	if q := s.tokens[ev.token]; q != nil {
		s.reply(ev.token, q, ev.body, ev.err)
	}
}

// appendFailed throws the speculative state away: what it was built on may not be
// what the log holds. A passed epoch ends the shard, anything else loads it again.
func (s *shard) appendFailed(err error) {
	if errors.Is(err, ErrNotLeader) {
		s.drop(err)
		s.status = lost
		s.notify(ShardLost, err)
		return
	}
	s.drop(fmt.Errorf("%w: append: %w", ErrNotLeader, err))
	s.notify(ShardReload, err)
	s.startLoad(s.nextPause())
}

// fail stops the shard for good: the log and the machine do not agree.
func (s *shard) fail(err error) {
	s.drop(fmt.Errorf("%w: %w", ErrFailed, err))
	s.status, s.cause = failed, err
	s.notify(ShardFailed, err)
}

// drop answers every request with err and forgets the state.
func (s *shard) drop(err error) {
	s.emit(actForget{})
	for _, t := range sortedTokens(s.tokens) {
		if mutant.On("machine/deposed-leaves-waiting") {
			break
		}
		s.emit(actFail{t, err})
	}
	clear(s.tokens)
	clear(s.parked)
	s.parked, s.head, s.bytes = s.parked[:0], 0, 0
	s.machine, s.deciding = nil, nil
}

func (s *shard) startLoad(after time.Duration) {
	s.status = loading
	s.loads++
	s.emit(actLoad{s.loads, after})
}

// nextPause is zero for the first failure since the last commit, and doubles from then on.
func (s *shard) nextPause() time.Duration {
	p := s.pause
	s.pause = min(max(minPause, 2*p), maxPause)
	return p
}

func (s *shard) loaded(now time.Time, ev evLoaded) {
	if s.status != loading || ev.number != s.loads {
		return
	}
	var bad *applyError
	switch {
	case errors.As(ev.err, &bad):
		s.fail(ev.err)
	case errors.Is(ev.err, ErrNotLeader):
		s.drop(ev.err)
		s.status = lost
		s.notify(ShardLost, ev.err)
	case ev.err != nil:
		s.notify(ShardReload, ev.err)
		s.startLoad(max(minPause, s.nextPause()))
	default:
		s.status, s.machine, s.end = active, ev.machine, ev.end
		s.emit(actNotify{Event{Kind: ShardLoaded, Shard: s.name, Epoch: s.epoch, End: ev.end, Records: ev.records, Took: ev.took}})
		s.decided(now, s.machine.Resume(now))
	}
}
