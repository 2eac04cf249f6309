package sim

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/sim/history"
)

// keeper commits and fetches the offsets of a group, without members, in a topic that is
// made anew: a topic has no offsets but those committed for it.
type keeper struct {
	*Client
	a           *anew
	group       string
	coordinator int32
	commits     map[string]*kept // by id
	order       []*kept
	number      int
	judged      bool
}

// kept is a commit.
type kept struct {
	id   string
	life [16]byte // zero when it was by name
	end  history.Time
	ok   bool
}

func newKeeper(a *anew, name string) *keeper {
	return &keeper{Client: newClient(a.c.World, name, a.c.brokers(), &a.c.Rec), a: a, group: "group " + name, coordinator: -1, commits: map[string]*kept{}}
}

func (k *keeper) start() { k.again() }

func (k *keeper) again() {
	if k.stopped {
		return
	}
	k.after(k.backoff()+k.upTo(time.Second), func() {
		k.refresh([]string{anewTopic}, func(bool) {
			if k.topics[anewTopic] == nil {
				k.again()
				return
			}
			k.find(func(ok bool) {
				switch {
				case !ok:
					k.again()
				case k.rng.IntN(2) == 0:
					k.commit()
				default:
					k.fetch(func(bool) { k.again() })
				}
			})
		})
	})
}

func (k *keeper) find(done func(ok bool)) {
	if k.coordinator >= 0 {
		done(true)
		return
	}
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.CoordinatorKeys = []string{k.group}
	k.callHost(k.any(), req, requestTimeout, func(r kmsg.Response) {
		resp, ok := r.(*kmsg.FindCoordinatorResponse)
		if ok = ok && len(resp.Coordinators) > 0 && k.noted("FindCoordinator", resp.Coordinators[0].ErrorCode) == nil; ok {
			k.coordinator = resp.Coordinators[0].NodeID
			k.brokers[k.coordinator] = resp.Coordinators[0].Host
		}
		done(ok)
	})
}

func (k *keeper) commit() {
	t := k.topics[anewTopic]
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.Generation = k.group, -1
	k.number++
	c := &kept{id: fmt.Sprintf("%s-%d", k.h.Name, k.number), end: history.Never}
	if k.version(req.Key()) >= commitByID {
		c.life = t.id
	}
	k.commits[c.id] = c
	k.order = append(k.order, c)
	rt, rp := kmsg.NewOffsetCommitRequestTopic(), kmsg.NewOffsetCommitRequestTopicPartition()
	rt.Topic, rt.TopicID, rp.Offset, rp.Metadata = anewTopic, t.id, int64(k.number), &c.id
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	k.call(k.coordinator, req, requestTimeout, func(r kmsg.Response) {
		k.again()
		resp, ok := r.(*kmsg.OffsetCommitResponse)
		if !ok || len(resp.Topics) == 0 || k.noted("OffsetCommit", resp.Topics[0].Partitions[0].ErrorCode) != nil {
			k.coordinator = -1
			return
		}
		c.ok, c.end = true, k.now()
	})
}

// fetch asks for the offset and judges the answer.
func (k *keeper) fetch(done func(ok bool)) {
	t := k.topics[anewTopic]
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group, g.MemberEpoch = k.group, -1
	rt := kmsg.NewOffsetFetchRequestGroupTopic()
	rt.Topic, rt.TopicID, rt.Partitions = anewTopic, t.id, []int32{0}
	g.Topics = append(g.Topics, rt)
	life, begin := k.a.life(t.id), k.now()
	k.call(k.coordinator, k.offsetRequest(g), requestTimeout, func(r kmsg.Response) {
		resp, ok := r.(*kmsg.OffsetFetchResponse)
		var got kmsg.OffsetFetchResponseGroup
		if ok {
			got, ok = k.offsetsOf(resp)
		}
		if !ok || k.noted("OffsetFetch", got.ErrorCode) != nil || len(got.Topics) == 0 || k.noted("OffsetFetch", got.Topics[0].Partitions[0].ErrorCode) != nil {
			k.coordinator = -1
			done(false)
			return
		}
		if resp.Version >= offsetsByID && life != nil {
			k.check(life, begin, got.Topics[0].Partitions[0])
		}
		done(true)
	})
}

// check holds the offset of a life against what was committed.
func (k *keeper) check(in *life, begin history.Time, got kmsg.OffsetFetchResponseGroupTopicPartition) {
	if got.Offset >= 0 {
		c := k.commits[*got.Metadata]
		switch {
		case c == nil:
			k.w.Failf("%s: nobody committed %d (%q)", k.group, got.Offset, *got.Metadata)
		case c.life != [16]byte{} && c.life != in.id:
			k.w.Failf("%s: %q was committed for %x and is the offset of %x", k.group, c.id, c.life, in.id)
		case c.ok && c.end < in.from:
			k.w.Failf("%s: %q was committed at %d for a topic that is gone, and is the offset of the one made at %d", k.group, c.id, c.end, in.from)
		}
		return
	}
	for _, c := range k.order {
		if c.ok && c.life == in.id && c.end < begin {
			k.w.Failf("%s: %q, committed at %d for %x, is gone at %d", k.group, c.id, c.end, in.id, begin)
		}
		if c.ok && c.life != in.id && c.end < in.from {
			k.w.Count["offsets of a deleted topic gone"]++
		}
	}
}

// judge asks once more when all is well: by name, too, there is nothing of earlier lives.
func (k *keeper) judge(final *life) {
	k.after(k.backoff(), func() {
		k.refresh([]string{anewTopic}, func(bool) {
			k.find(func(ok bool) {
				t := k.topics[anewTopic]
				if !ok || t == nil {
					k.judge(final)
					return
				}
				if t.id != final.id { // its versions know no ids, or it asked who is behind
					k.versions = nil
					k.judge(final)
					return
				}
				k.versions = nil
				k.fetch(func(ok bool) {
					if ok {
						k.judged = true
						return
					}
					k.judge(final)
				})
			})
		})
	})
}
