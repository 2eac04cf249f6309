package sim

import (
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/sim/history"
)

// anewTopic is deleted and made anew under its name, while clients write to it and read it.
// Each topic that had the name is another one: a life, told by its id.
const anewTopic = "anew"

// anew is who does that, and those clients.
type anew struct {
	*Client
	c       *Cluster
	parts   int32
	lives   []*life
	seen    int64    // index of the newest image
	exists  bool     // as far as it was answered,
	id      [16]byte // under this id
	leaving bool     // its deletion was asked for, and not answered
	settled bool     // stopped, and the topic is there
	writers []*wanderer
	readers []*reader
	keepers []*keeper
	last    *reader
}

// life is one topic of the name.
type life struct {
	id   [16]byte
	from history.Time // some node knows it
}

func (l *life) history(part int32) history.Partition {
	return history.Partition{Topic: anewTopic + "@" + hex.EncodeToString(l.id[:]), Number: part}
}

// nameless are those of which no request told in which life they are.
const nameless = anewTopic + "@?"

func newAnew(c *Cluster) *anew {
	a := &anew{Client: newClient(c.World, "maker", c.brokers(), &c.Rec), c: c, parts: 2}
	a.versions = nil // it has to be told of ids
	for i := range 3 {
		a.writers = append(a.writers, newWanderer(a, fmt.Sprint("w", i)))
	}
	for i := range 2 {
		a.readers = append(a.readers, newReader(a, fmt.Sprint("r", i)))
		a.keepers = append(a.keepers, newKeeper(a, fmt.Sprint("o", i)))
	}
	return a
}

func (a *anew) start() {
	a.refresh(nil, func(bool) { a.work() })
	for _, w := range a.writers {
		w.start()
	}
	for _, r := range a.readers {
		r.start()
	}
	for _, k := range a.keepers {
		k.start()
	}
}

func (a *anew) stop() {
	a.stopped = true
	for _, w := range a.writers {
		w.stopped = true
	}
	for _, k := range a.keepers {
		k.stopped = true
	}
}

// look takes note of a newer image of the metadata, also of a node that does not serve yet:
// it may lead already, and what it was asked meanwhile is answered.
func (a *anew) look(img *metadata.Image) {
	if img == nil || img.Index() <= a.seen {
		return
	}
	a.seen = img.Index()
	t := img.Topic(anewTopic)
	if t == nil || len(a.lives) > 0 && a.lives[len(a.lives)-1].id == t.ID {
		return
	}
	a.lives = append(a.lives, &life{id: t.ID, from: history.Time(a.w.Now())})
	if len(a.lives) > 1 {
		a.w.Count["topic made anew"]++
	}
}

// life is the one with an id; nil when no node has told of it.
func (a *anew) life(id [16]byte) *life {
	for _, l := range a.lives {
		if l.id == id {
			return l
		}
	}
	return nil
}

// work makes the topic, lets it be for a while and deletes it.
func (a *anew) work() {
	switch {
	case a.leaving: // whether it is done is not known
		a.delete()
	case a.exists && a.stopped:
		a.settled = true
	case a.exists:
		a.delete()
	default:
		a.create()
	}
}

func (a *anew) create() {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 5000
	rt := kmsg.NewCreateTopicsRequestTopic()
	rt.Topic, rt.NumPartitions, rt.ReplicationFactor = anewTopic, a.parts, int16(a.c.Settings.OffsetsRF)
	req.Topics = append(req.Topics, rt)
	a.callHost(a.any(), req, 2*requestTimeout, func(r kmsg.Response) {
		resp, ok := r.(*kmsg.CreateTopicsResponse)
		if ok && len(resp.Topics) == 1 {
			switch err := a.noted("CreateTopics", resp.Topics[0].ErrorCode); {
			case err == nil:
				a.exists, a.id = true, resp.Topics[0].TopicID
			case errors.Is(err, kerr.TopicAlreadyExists): // an answer did not come
				a.found()
				return
			}
		}
		wait := a.backoff()
		if a.exists && !a.stopped {
			wait += a.upTo(5 * time.Second)
		}
		a.after(wait, a.work)
	})
}

// found learns the id of a topic that is there. If it is the one that was said to be gone,
// a controller that was deposed, and did not know it, may have said so.
func (a *anew) found() {
	a.refresh([]string{anewTopic}, func(bool) {
		if t := a.topics[anewTopic]; t != nil {
			a.exists, a.leaving, a.id = true, t.id == a.id, t.id
		}
		a.after(a.backoff(), a.work)
	})
}

func (a *anew) delete() {
	a.leaving = true
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TimeoutMillis = 5000
	rt := kmsg.NewDeleteTopicsRequestTopic()
	rt.TopicID = a.id // by name, a request that comes late would delete the next one
	req.Topics = append(req.Topics, rt)
	a.callHost(a.any(), req, 2*requestTimeout, func(r kmsg.Response) {
		resp, ok := r.(*kmsg.DeleteTopicsResponse)
		if ok && len(resp.Topics) == 1 {
			if err := a.noted("DeleteTopics", resp.Topics[0].ErrorCode); err == nil || errors.Is(err, kerr.UnknownTopicID) {
				a.exists, a.leaving = false, false
			}
		}
		wait := a.backoff()
		if !a.exists && a.rng.IntN(2) == 0 {
			wait = time.Millisecond + a.upTo(20*time.Millisecond)
		}
		a.after(wait, a.work)
	})
}

// idle tells whether the topic is there for good, and nobody writes.
func (a *anew) idle() bool {
	for _, w := range a.writers {
		if !w.idle() {
			return false
		}
	}
	return a.settled
}

// gone tells whether an error says that the topic is not there.
func gone(err error) bool {
	return errors.Is(err, kerr.UnknownTopicID) || errors.Is(err, kerr.UnknownTopicOrPartition) || errors.Is(err, kerr.InconsistentTopicID)
}

// judge reads what the last life has, and prepares the history: who wrote by name learns
// in which life that is.
func (a *anew) judge() error {
	final := a.lives[len(a.lives)-1]
	a.last = newReader(a, "last anew")
	a.last.only = final
	a.last.start()
	ends := map[int32]int64{}
	var ask func(part int32)
	ask = func(part int32) {
		again := func() { a.last.after(a.last.backoff(), func() { ask(part) }) }
		if !a.everywhere(final) { // ends are asked for by name: a node that is late tells the last life's
			again()
			return
		}
		a.last.end(part, func(end int64, ok bool) {
			if ok {
				ends[part] = end
				return
			}
			again()
		})
	}
	for part := range a.parts {
		a.last.after(time.Second, func() { ask(part) })
	}
	caughtUp := func() bool {
		for part := range a.parts {
			if end, ok := ends[part]; !ok || a.last.at[part] < end {
				return false
			}
		}
		return true
	}
	if !a.w.RunUntil(finishing, caughtUp) {
		return a.c.stuck("%v of the topic made anew is not read, which ends at %v; known of it is %+v", a.last.at, ends, a.last.topics[anewTopic])
	}
	for _, k := range a.keepers {
		k.judge(final)
	}
	if !a.w.RunUntil(finishing, func() bool {
		for _, k := range a.keepers {
			if !k.judged {
				return false
			}
		}
		return true
	}) {
		return a.c.stuck("offsets of the topic made anew are not told")
	}
	a.resolve()
	for part := range a.parts {
		l := history.Log{Partition: final.history(part), End: ends[part]}
		for _, r := range a.c.Rec.Reads {
			if r.Consumer == a.last.h.Name && r.Partition == l.Partition {
				l.Records = append(l.Records, r.Records...)
			}
		}
		a.c.Rec.Logs = append(a.c.Rec.Logs, l)
	}
	return nil
}

// everywhere tells whether all nodes know of a life.
func (a *anew) everywhere(of *life) bool {
	for _, h := range a.c.Nodes {
		if p, ok := h.Process.(insides); ok {
			if t := p.Image().Topic(anewTopic); t == nil || t.ID != of.id {
				return false
			}
		}
	}
	return true
}

// resolve finds out in which lives the records are that were written by name.
func (a *anew) resolve() {
	byName := map[string]int{}
	for i := range a.c.Rec.Produces {
		if o := &a.c.Rec.Produces[i]; o.Partition.Topic == nameless {
			byName[o.Value] = i
			o.Outcome, o.Offset = history.Unknown, -1 // in which life, nobody was told
		}
	}
	in := map[history.Partition]*life{}
	for _, l := range a.lives {
		for part := range a.parts {
			in[l.history(part)] = l
		}
	}
	for _, r := range a.c.Rec.Reads {
		l := in[r.Partition]
		if l == nil {
			continue
		}
		for _, rec := range r.Records {
			i, ok := byName[rec.Value]
			if !ok {
				continue
			}
			o := &a.c.Rec.Produces[i]
			switch {
			case o.End < l.from:
				a.w.Failf("%s was given %q in %v, which was acknowledged at %d and made at %d", r.Consumer, rec.Value, r.Partition, o.End, l.from)
			case o.Partition.Topic != nameless && o.Partition != r.Partition:
				a.w.Failf("%q was written once, and is in %v and %v", rec.Value, o.Partition, r.Partition)
			}
			o.Partition = r.Partition
		}
	}
}
