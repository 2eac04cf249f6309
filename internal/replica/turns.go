package replica

import (
	"math"
	"sync"
	"time"
)

// Where nobody has room, leadership of every partition that is written to would go round for
// nothing, and fill the metadata log. A partition that comes back without anybody having been
// able to write to it since has to wait for its turn among all that this broker led.

const (
	// yieldPause is how long a leader without room waits until it asks once more.
	yieldPause = 5 * time.Second
	// turnSpace lies between the turns of two partitions,
	turnSpace = time.Second
	// turnMost is the longest wait for a turn; with many partitions turns lie closer for it.
	turnMost = 5 * time.Minute
)

// yielded is how a partition was given up last for want of room.
type yielded struct {
	at   time.Time
	end  int64     // of its log then; who raised the high watermark above it since had room
	turn time.Time // when it may be again, though nobody did; zero while it has not come back
}

// turns gives them, and remembers which leaders were found to have room.
type turns struct {
	mu    sync.Mutex
	last  time.Time
	roomy map[int32]time.Time // by broker id: when it was last seen
}

// take gives the next turn.
func (t *turns) take(now time.Time) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last = t.last.Add(turnSpace); t.last.Before(now) {
		t.last = now
	}
	if most := now.Add(turnMost); t.last.After(most) {
		t.last = most
	}
	return t.last
}

// hasRoom takes note that a broker could write.
func (t *turns) hasRoom(id int32, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.roomy == nil {
		t.roomy = map[int32]time.Time{}
	}
	t.roomy[id] = now
}

// anyRoom tells whether one of these brokers was found to have room after a time.
func (t *turns) anyRoom(ids []int32, after time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, id := range ids {
		if t.roomy[id].After(after) {
			return true
		}
	}
	return false
}

// mayYield tells whether another leader may be asked for: at once where that was not done
// before, after yieldPause where it was of use or somebody in sync has room by now, else in
// turn; mu is held.
func (p *Partition) mayYield(r *role, now time.Time) bool {
	y := p.yielded.Load()
	switch {
	case y == nil:
		return true
	case now.Sub(y.at) < yieldPause:
		return false
	case p.hw.Load() > y.end || p.m.turns.anyRoom(r.isr, y.at):
		return true
	case y.turn.IsZero():
		y = &yielded{y.at, y.end, p.m.turns.take(now)}
		p.yielded.Store(y)
	}
	return !now.Before(y.turn)
}

// heard takes the high watermark that a leader tells of a partition that was led here: if it
// was written to since, that leader has room, for others too. Each hand-over shows that once.
func (p *Partition) heard(leader int32, hw int64) {
	y := p.yielded.Load()
	if y == nil || hw <= y.end {
		return
	}
	if p.yielded.CompareAndSwap(y, &yielded{y.at, math.MaxInt64, y.at}) {
		p.m.turns.hasRoom(leader, p.m.now())
	}
}
