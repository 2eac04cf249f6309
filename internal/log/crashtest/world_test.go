package crashtest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/log"
	"github.com/leat-stream/leat/internal/record"
)

// world is one log directory with the model beside it.
type world struct {
	cluster string // that the directory is opened for; "" takes what is there

	rng   *rand.Rand
	clock *env.VirtualClock
	disk  *env.Disk
	dir   *log.Dir
	boot  int
	logs  []*partition // of the model, in the order of creation
	next  int          // for names
	trace []string     // for the report of a failure
	alarm error        // an event that no crash explains
	// removed are the ids of which some log was deleted: the state file may speak of that one, and
	// whether it is missed or not is nothing to the next.
	removed map[log.LogID]bool
	full    bool // the disk is: storage errors are expected
	seen    coverage
	habits
	stopped cleanly           // how the last life ended
	skip    func(env.Op) bool // takes syncs out
}

// cleanly is what the next start is to say of the last stop.
type cleanly int

const (
	notClean cleanly = iota
	isClean
	unsure // it was cut short
)

// coverage counts what the cases met, so that a suite that tests nothing is noticed.
type coverage struct {
	crashes, kills, rolls, replayed, compacted, cut, full, failed int
}

func (c *coverage) add(o coverage) {
	c.crashes += o.crashes
	c.kills += o.kills
	c.rolls += o.rolls
	c.replayed += o.replayed
	c.compacted += o.compacted
	c.cut += o.cut
	c.full += o.full
	c.failed += o.failed
}

// batch is one record batch as it is in the log.
type batch struct {
	base, next int64
	bytes      []byte
}

// partition is the model of one log.
type partition struct {
	id       log.LogID
	cfg      log.Config
	log      *log.Log
	follower bool // gets replicated runs
	epoch    int32
	txns     bool

	batches []batch // those whose append was answered, ascending; the oldest may be below start
	maybe   []batch // those of an append that was cut short
	acked   int64   // everything below is durable
	start   int64
	// startLow is the lowest start that may be found: retention is durable later.
	startLow int64
	durable  bool // its directory is durable
	doomed   bool // a deletion is under way
	// cut is the end that a truncation left: where the first batch that went began, which
	// may lie behind the last one that stays. A restart does not know that gap.
	cut int64
	// cutting is the offset of a TruncateTo that is under way, -1: none. The end may be
	// anywhere between the last batch that stays and it.
	cutting int64
	// emptied, if set, is the start of a TruncateFullyTo that is under way.
	emptied   int64
	producers map[int64]*client
	// firm are the segments that a checkpoint found sealed: they are durable with all that
	// is derived from them. The producer snapshot where the last of them ends is, too.
	firm map[int64]bool
	// found are the segments that the latest start found and that were not firm: what the
	// crash left of their indexes may look right until it is used.
	found    map[int64]bool
	dropped  []int64 // bases of segments that retention took
	harmed   int     // batches that a story damages
	evidence []byte  // of the damage
	// kept are the files in which recovery put bytes aside.
	kept map[string][]byte
	// wrote are the producers that may be known: those that wrote since the log was emptied.
	wrote map[int64]bool

	// A compacted partition is compared record by record: records are all that may be
	// found, must those that are to be found if they were acknowledged.
	records map[int64]keyValue
	must    map[int64]bool
}

type keyValue struct{ key, value string }

// client is the producer's side.
type client struct {
	id      int64
	epoch   int16
	nextSeq int32
	open    bool // a transaction
}

const dataDir = "data"

func newWorld(seed uint64) *world {
	w := &world{rng: env.NewRand(seed), clock: env.NewClock(time.UnixMilli(1_700_000_000_000)), disk: env.NewDisk(seed), cluster: "c", removed: map[log.LogID]bool{}}
	w.disk.SetClock(w.clock)
	w.habits = drawHabits(w.rng)
	return w
}

func (w *world) note(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf("%d: ", w.disk.Ops())+fmt.Sprintf(format, args...))
}

// open opens the directory as a new process does.
func (w *world) open() error {
	w.trace = append(w.trace, "open")
	var err error
	w.disk.SkipSync(w.skip)
	w.dir, err = log.OpenDir(log.DirOptions{
		FS: w.disk, Clock: w.clock, Path: dataDir, Rand: env.NewRand(w.rng.Uint64()),
		ClusterID: w.cluster, NodeID: 1, BootID: fmt.Sprint("boot ", w.boot),
		MaxOpenFiles: 8, RecoveryThreads: 1, SyncParallel: 1,
		CheckpointBytes: 4000, CheckpointEvery: 5 * time.Second,
		JournalBytes: int64(16+4*w.rng.IntN(8)) << 10,
		Events:       w.event,
	})
	switch {
	case err == nil:
		w.stopped = notClean
	case w.stopped == isClean:
		w.stopped = unsure
	}
	return err
}

// event fails the case on events that a power cut must not cause.
func (w *world) event(e log.Event) {
	w.trace = append(w.trace, "  "+e.String())
	if w.disk.Crashed() {
		return
	}
	switch e := e.(type) {
	case log.Rolled:
		w.seen.rolls++
	case log.JournalReplayed:
		w.seen.replayed += e.Entries
	case log.Truncated:
		w.seen.cut++
	case log.Quarantined, log.DamageMet, log.JournalDamaged:
		w.fail(e.String())
	case log.Opened:
		if w.stopped != unsure && e.Clean != (w.stopped == isClean) {
			w.fail("not so: " + e.String())
		}
	case log.LogMissing:
		if slices.ContainsFunc(w.logs, func(p *partition) bool { return p.id == e.Log && !p.doomed && !w.removed[p.id] }) {
			w.fail("not so: " + e.String())
		}
	case log.IndexRebuilt:
		if w.isFirm(e) {
			w.fail("needlessly: " + e.String())
		}
	}
}

func (w *world) fail(why string) {
	if w.alarm == nil {
		w.alarm = errors.New(why)
	}
}

// isFirm tells whether the file that is built again was durable, so that no crash
// explains it: it bounds the work of the next start.
func (w *world) isFirm(e log.IndexRebuilt) bool {
	digits, suffix, ok := strings.Cut(e.File, ".")
	base, err := strconv.ParseInt(digits, 10, 64)
	if !ok || err != nil {
		return true // a file that is replaced as a whole
	}
	i := slices.IndexFunc(w.logs, func(p *partition) bool { return p.id.String() == e.Log.String() })
	if i < 0 {
		return false
	}
	sealed, firm := w.logs[i].firm[base]
	return sealed || firm && suffix == "snapshot"
}

// harden notes what a checkpoint made firm.
func (w *world) harden() error {
	for _, p := range w.logs {
		list, err := p.log.Segments()
		if err != nil {
			return err
		}
		p.firm = map[int64]bool{}
		for i, s := range list {
			if !p.found[s.Base] && (i > 0 || len(list) > 1) {
				p.firm[s.Base] = i < len(list)-1
			}
		}
	}
	return nil
}

// findSegments notes what a start found.
func (p *partition) findSegments() error {
	list, err := p.log.Segments()
	p.found = map[int64]bool{}
	for _, s := range list {
		p.found[s.Base] = !p.firm[s.Base]
	}
	return err
}

func (w *world) randomConfig() log.Config {
	c := log.DefaultConfig()
	c.SegmentBytes = int64(700 + w.rng.IntN(w.segment))
	c.IndexIntervalBytes = int64(w.rng.IntN(800))
	c.FileDeleteDelayMs = int64(w.rng.IntN(3)) * 1000
	c.RetentionMs = -1
	c.RetentionBytes = int64(2000 + w.rng.IntN(6000))
	c.Durable = w.rng.Float64() < w.durable
	c.Preallocate = w.rng.IntN(8) == 0
	if w.rng.Float64() < w.clean {
		c.Compact, c.Delete = true, w.rng.IntN(2) == 0
		c.MinCleanable, c.DeleteRetention = 0, 0
	}
	return c
}

// create makes a new partition, or makes a removed one again.
func (w *world) create(id log.LogID) error {
	p := &partition{id: id, cfg: w.randomConfig(), emptied: -1, cutting: -1, producers: map[int64]*client{}, wrote: map[int64]bool{}}
	p.follower = w.rng.Float64() < w.follow
	p.txns = !p.cfg.Compact && w.rng.Float64() < w.txn
	if p.cfg.Compact {
		p.records, p.must = map[int64]keyValue{}, map[int64]bool{}
	}
	w.logs = append(w.logs, p)
	w.note("create %v durable=%v segment.bytes=%d", id, p.cfg.Durable, p.cfg.SegmentBytes)
	return w.attach(p)
}

func (w *world) newID() log.LogID {
	w.next++
	return log.LogID{Topic: fmt.Sprintf("t%d", w.next/2), Partition: int32(w.next % 2), TopicID: env.UUID(w.rng)}
}

// attach opens a partition's log. Records of a log that was never synced, its topic id
// neither, are set aside, as by package replica.
func (w *world) attach(p *partition) (err error) {
	hooks := log.Hooks{Synced: func(end int64) {
		p.acked = max(p.acked, end)
		p.durable = true
	}}
	p.log, err = w.dir.OpenLog(p.id, p.cfg, hooks)
	if !errors.Is(err, log.ErrInconsistentTopicID) || p.acked > 0 {
		return err
	}
	id := log.LogID{Topic: p.id.Topic, Partition: p.id.Partition}
	if l := w.dir.Log(id.Topic, id.Partition); l == nil || l.ID() != id {
		return err
	}
	w.note("%v is set aside", p.id)
	path, err := w.dir.SetAside(id)
	if err != nil {
		return err
	}
	for name := range p.kept { // what recovery had put aside goes with it
		if _, err := w.disk.Stat(path + "/" + name); err != nil && !w.keptAgain(name) {
			return err
		}
	}
	p.kept = nil
	p.log, err = w.dir.OpenLog(p.id, p.cfg, hooks)
	return err
}

// habits are how often a case does what: drawn for each case, so that some do much of
// one thing and nothing of another.
type habits struct {
	steps                       []weighted
	durable, follow, txn, clean float64 // chances of a new partition's kinds; clean: compacted
	segment                     int
	uniform                     bool // batches of one size, so that what was cut off could fit in again
}

type weighted struct {
	weight int
	do     func(*world, *partition) error
}

func drawHabits(rng *rand.Rand) (h habits) {
	for _, s := range []weighted{
		{50, (*world).append},
		{20, func(w *world, _ *partition) error { return w.round() }},
		{4, func(w *world, _ *partition) error { return w.checkpoint() }},
		{5, func(w *world, _ *partition) error { return w.tick() }},
		{4, (*world).truncate},
		{2, (*world).truncateFully},
		{3, (*world).deleteRecords},
		{4, (*world).retain},
		{2, (*world).remove},
		{2, func(w *world, _ *partition) error { return w.createOne() }},
		{1, func(w *world, _ *partition) error { return w.fillDisk() }},
		{1, func(w *world, _ *partition) error { return w.dir.Settle() }},
		{3, (*world).compact},
		{4, (*world).bumpEpoch},
		{1, func(w *world, _ *partition) error { return w.restart() }},
		{2, func(w *world, _ *partition) error { w.note("scrub"); w.scrub(); return w.alarm }},
	} {
		s.weight = s.weight * []int{0, 1, 2, 2, 2, 6}[rng.IntN(6)]
		h.steps = append(h.steps, s)
	}
	h.steps[0].weight = max(h.steps[0].weight, 20)
	chance := func() float64 { return []float64{0, 0.25, 0.5, 1}[rng.IntN(4)] }
	h.durable, h.follow, h.txn, h.clean = 1-chance()/2, chance()/2, chance(), chance()/2
	h.segment = []int{1000, 4000, 20000}[rng.IntN(3)]
	h.uniform = rng.IntN(4) == 0
	return h
}

// step does one thing at random.
func (w *world) step() error {
	if len(w.logs) < 2 {
		return w.createOne()
	}
	total := 0
	for _, s := range w.habits.steps {
		total += s.weight
	}
	r := w.rng.IntN(total)
	for _, s := range w.habits.steps {
		if r -= s.weight; r < 0 {
			return s.do(w, w.logs[w.rng.IntN(len(w.logs))])
		}
	}
	return nil
}

func (w *world) createOne() error {
	if len(w.logs) >= 5 {
		return nil
	}
	return w.create(w.newID())
}

func (w *world) tick() error {
	d := time.Duration(w.rng.IntN(4000)) * time.Millisecond
	w.clock.Advance(d)
	w.note("tick after %v", d)
	return w.dir.Tick(w.clock.Now())
}

func (p *partition) end() int64 { return max(p.recordsEnd(), p.cut) }

// recordsEnd is the end of the last batch.
func (p *partition) recordsEnd() int64 {
	if n := len(p.batches); n > 0 {
		return max(p.batches[n-1].next, p.start)
	}
	return p.start
}

// round is a sync round; what the hooks told counts, whatever it answers.
func (w *world) round() error {
	w.note("sync round")
	if _, err := w.dir.SyncRound(); err != nil {
		return w.tolerate(err)
	}
	for _, p := range w.logs {
		if p.cfg.Durable && p.log.SyncedOffset() != p.log.EndOffset() {
			return fmt.Errorf("%v: synced to %d of %d after a round", p.id, p.log.SyncedOffset(), p.log.EndOffset())
		}
	}
	return nil
}

func (w *world) checkpoint() error {
	w.note("checkpoint")
	if err := w.dir.Checkpoint(); err != nil {
		return err
	}
	return w.harden()
}

func (w *world) bumpEpoch(p *partition) error {
	p.epoch++
	if p.follower || w.rng.IntN(2) == 0 {
		return nil // the next batch brings it
	}
	w.note("%v epoch %d", p.id, p.epoch)
	return p.log.AssignEpoch(p.epoch)
}

func (w *world) truncate(p *partition) error {
	from := max(p.start, p.end()-2000)
	to := from + w.rng.Int64N(p.end()-from+1)
	if !p.follower && to < p.log.HighWatermark() {
		return nil // nobody does that
	}
	w.note("%v truncate to %d of %d", p.id, to, p.end())
	keep := 0
	for keep < len(p.batches) && p.batches[keep].next <= to {
		keep++
	}
	if keep < len(p.batches) {
		p.acked = min(p.acked, to, p.batches[keep].base) // until it returns any of it may be found
		p.dropRecords(p.batches[keep].base, false)
	}
	p.cutting, p.firm = to, nil
	if err := p.log.TruncateTo(to); err != nil {
		return err
	}
	p.cutting = -1
	if to < p.end() {
		if keep < len(p.batches) {
			p.dropRecords(p.batches[keep].base, true)
		}
		p.batches, p.cut = p.batches[:keep], 0
		if e := p.log.EndOffset(); e <= to {
			p.cut, p.acked = e, min(p.acked, e)
		}
		p.forgetClients()
	}
	if p.follower && p.durable { // what is known of producers is what the log implies
		if err := p.verifyDerived(p.readable()); err != nil {
			return fmt.Errorf("truncated: %w", err)
		}
	}
	return w.agree(p)
}

// readable are the batches at or behind the start.
func (p *partition) readable() []batch {
	i := 0
	for i < len(p.batches) && p.batches[i].next <= p.start {
		i++
	}
	return p.batches[i:]
}

func (w *world) truncateFully(p *partition) error {
	to := p.end() + w.rng.Int64N(100)
	switch n := len(p.dropped); {
	case n > 0 && w.rng.IntN(2) == 0: // a segment of that base may wait for its removal
		to = p.dropped[w.rng.IntN(n)]
	case w.rng.IntN(4) == 0:
		to = w.rng.Int64N(p.end() + 1)
	}
	w.note("%v truncate fully to %d", p.id, to)
	p.emptied, p.acked, p.firm = to, 0, nil
	p.dropRecords(0, false)
	if err := p.log.TruncateFullyTo(to); err != nil {
		return err
	}
	p.emptied = -1
	p.wrote = map[int64]bool{}
	p.dropRecords(0, true)
	p.batches, p.start, p.startLow, p.acked, p.cut = nil, to, to, to, 0
	p.forgetClients()
	return w.agree(p)
}

// forgetClients makes the producers start anew, as after a truncation the leader's
// clients are others.
func (p *partition) forgetClients() { p.producers = map[int64]*client{} }

func (w *world) deleteRecords(p *partition) error {
	to := p.start + w.rng.Int64N(p.end()-p.start+1)
	w.note("%v delete records below %d of %d", p.id, to, p.end())
	p.start = to
	if err := p.log.SetStartOffset(to); err != nil {
		return err
	}
	p.startLow = to
	return w.agree(p)
}

func (w *world) retain(p *partition) error {
	p.log.SetHighWatermark(p.log.SyncedOffset())
	hw := p.log.SyncedOffset()
	w.note("%v retain below %d", p.id, hw)
	before, err := p.log.Segments()
	if err != nil {
		return err
	}
	if _, err := p.log.Retain(w.clock.Now(), hw); err != nil {
		return err
	}
	start := p.log.StartOffset()
	if start < p.start || start > p.end() {
		return fmt.Errorf("%v: retention moved the start from %d to %d of %d", p.id, p.start, start, p.end())
	}
	p.start = start
	for _, s := range before {
		if s.End <= start {
			p.dropped = append(p.dropped, s.Base)
		}
	}
	return nil
}

// remove deletes a partition's log, now and then all with it.
func (w *world) remove(p *partition) error {
	going := []*partition{p}
	if w.rng.IntN(4) == 0 {
		going = slices.Clone(w.logs)
	}
	var ids []log.LogID
	for _, q := range going {
		w.note("%v remove", q.id)
		q.doomed = true
		w.removed[q.id] = true
		ids = append(ids, q.id)
	}
	if err := w.dir.Delete(ids...); err != nil {
		return err
	}
	w.logs = slices.DeleteFunc(w.logs, func(q *partition) bool { return slices.Contains(going, q) })
	if w.rng.IntN(3) > 0 {
		return nil
	}
	id := p.id
	if w.rng.IntN(2) == 0 {
		id.TopicID = env.UUID(w.rng)
	}
	return w.create(id)
}

// agree compares the log's offsets with the model's.
func (w *world) agree(p *partition) error {
	if s, e := p.log.StartOffset(), p.log.EndOffset(); s != p.start || e != p.end() {
		return fmt.Errorf("%v: log is %d to %d, model is %d to %d", p.id, s, e, p.start, p.end())
	}
	if s := p.log.SyncedOffset(); s > p.end() {
		return fmt.Errorf("%v: synced to %d, ends at %d", p.id, s, p.end())
	}
	return nil
}

// append lets a client, a transaction's coordinator or a leader write.
func (w *world) append(p *partition) error {
	o := log.AppendOptions{LeaderEpoch: p.epoch, Now: w.clock.Now(), Origin: log.OriginClient}
	var run []byte
	var parts []batch
	at := p.end()
	add := func(b []byte) {
		view := record.Batch(bytes.Clone(b))
		view.SetBaseOffset(at)
		view.SetLeaderEpoch(p.epoch)
		if p.follower {
			run = append(run, view...)
		} else {
			run = append(run, b...) // the log stamps it
		}
		parts = append(parts, batch{at, view.NextOffset(), view})
		at = view.NextOffset()
	}
	var undo func()
	switch {
	case p.follower:
		o.Origin = log.OriginReplication
		for range 1 + w.rng.IntN(4) {
			if w.rng.IntN(6) == 0 {
				p.epoch++
			}
			if w.rng.IntN(10) == 0 {
				at += int64(w.rng.IntN(5)) // the leader's log is compacted
			}
			if p.cfg.Compact || w.rng.IntN(2) == 0 { // a truncation would meet what compaction made of their last batches
				add(w.build(record.NewHeader(0)))
				continue
			}
			b, _, _, err := w.produce(p)
			if err != nil {
				return err
			}
			add(b)
		}
	case w.rng.IntN(3) == 0:
		add(w.build(record.NewHeader(0)))
	default:
		b, u, origin, err := w.produce(p)
		if err != nil {
			return err
		}
		o.Origin, undo = origin, u
		add(b)
	}
	return w.put(p, o, run, parts, undo)
}

// put appends a run whose batches will be parts.
func (w *world) put(p *partition, o log.AppendOptions, run []byte, parts []batch, undo func()) error {
	at := parts[len(parts)-1].next
	w.note("%v append %d batches, %d bytes at %d", p.id, len(parts), len(run), p.end())
	p.maybe = parts
	p.addRecords(parts)
	info, err := p.log.Append(run, o)
	if errors.Is(err, log.ErrRecordListTooLarge) {
		p.maybe = nil
		p.dropRecords(p.end(), true)
		if undo != nil {
			undo()
		}
		return nil
	}
	if err != nil && w.tolerate(err) == nil {
		return w.failedAppend(p, parts, undo, err)
	}
	if err != nil {
		return err
	}
	if info.Duplicate || info.FirstOffset != parts[0].base || info.LastOffset != at-1 {
		return fmt.Errorf("%v: append of %d to %d answered %+v", p.id, parts[0].base, at-1, info)
	}
	p.batches, p.maybe, p.cut = append(p.batches, parts...), nil, 0
	p.mustHave(parts)
	return w.agree(p)
}

// build makes a batch of one to four records.
func (w *world) build(h record.BatchHeader) []byte {
	if w.uniform {
		return w.batch(h, 2, 40)
	}
	return w.batch(h, 1+w.rng.IntN(4), w.rng.IntN(150))
}

func (w *world) batch(h record.BatchHeader, records, size int) []byte {
	var b record.Builder
	b.Reset(h, record.Compression{})
	for range records {
		value := make([]byte, size)
		for i := range value {
			value[i] = byte(w.rng.Uint32())
		}
		b.Append(w.clock.Now().UnixMilli(), []byte{byte(w.rng.IntN(20))}, value)
	}
	out, err := b.Build(nil)
	if err != nil {
		panic(err) // the test's own mistake
	}
	return out
}

// produce makes the next batch of an idempotent or transactional producer, or the
// marker that ends a transaction. undo takes its sequence numbers back.
func (w *world) produce(p *partition) (b []byte, undo func(), origin log.Origin, err error) {
	id := int64(1 + w.rng.IntN(3))
	c := p.producers[id]
	if c == nil {
		c = &client{id: id, epoch: int16(w.next)}
		for _, known := range p.log.Producers() { // an earlier life of the client
			if known.ProducerID == id {
				c.epoch = known.ProducerEpoch + 1
				if known.TxnStartOffset >= 0 {
					c.epoch, c.open = known.ProducerEpoch, true
				}
			}
		}
		p.producers[id] = c
	}
	h := record.NewHeader(0)
	h.ProducerID, h.ProducerEpoch = c.id, c.epoch
	p.wrote[c.id] = true
	if c.open && w.rng.IntN(2) == 0 || c.open && c.nextSeq == 0 {
		h.Transactional = true
		kind := record.ControlCommit
		if w.rng.IntN(2) == 0 {
			kind = record.ControlAbort
		}
		h.Control = true
		b, err = record.AppendEndTxn(nil, h, kind, 1, w.clock.Now().UnixMilli())
		was := *c
		c.open = false
		c.epoch++
		h.ProducerEpoch = c.epoch
		c.nextSeq = 0
		return b, func() { *c = was }, log.OriginCoordinator, err
	}
	was := *c
	if p.txns && id == 1 {
		h.Transactional, c.open = true, true
	}
	if !c.open && w.rng.IntN(10) == 0 {
		c.epoch++
		c.nextSeq = 0
		h.ProducerEpoch = c.epoch
	}
	h.BaseSequence = c.nextSeq
	b = w.build(h)
	c.nextSeq += record.Batch(b).Count()
	return b, func() { *c = was }, log.OriginClient, nil
}
