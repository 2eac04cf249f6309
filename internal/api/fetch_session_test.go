package api

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/replica"
)

func ask(topic string, index int32, offset int64) *sessionPart {
	return &sessionPart{FetchPart: replica.FetchPart{Ref: replica.Ref{Topic: topic, Index: index}, Offset: offset}}
}

func newCache(slots int) (*sessionCache, *env.VirtualClock) {
	clock := env.NewClock(time.Unix(1_700_000_000, 0))
	return newSessionCache(slots, clock), clock
}

func mustContext(t *testing.T, c *sessionCache, l fetchList) *fetchContext {
	t.Helper()
	fc, err := c.context(l)
	if err != nil {
		t.Fatalf("context: %v", err)
	}
	return fc
}

func TestSessionAnswersOnlyNews(t *testing.T) {
	c, _ := newCache(10)
	fc := mustContext(t, c, fetchList{epoch: initialEpoch, parts: []*sessionPart{ask("a", 0, 0), ask("a", 1, 0)}})
	if fc.id() == 0 || fc.incremental {
		t.Fatalf("the first request opened session %d, incremental %v", fc.id(), fc.incremental)
	}
	quiet := []replica.Fetched{{HighWatermark: 5}, {HighWatermark: 7}}
	if got := fc.news(quiet); !got[0] || !got[1] {
		t.Fatalf("the first answer carries %v, want both", got)
	}
	next := mustContext(t, c, fetchList{sessionID: fc.id(), epoch: 1})
	if len(next.parts) != 2 {
		t.Fatalf("the session remembers %d partitions, want 2", len(next.parts))
	}
	if got := next.news(quiet); got[0] || got[1] {
		t.Fatalf("nothing changed, yet the answer carries %v", got)
	}
	moved := []replica.Fetched{{HighWatermark: 5}, {HighWatermark: 8}}
	third := mustContext(t, c, fetchList{sessionID: fc.id(), epoch: 2})
	if got := third.news(moved); got[0] || !got[1] {
		t.Fatalf("one watermark moved, yet the answer carries %v", got)
	}
	failed := []replica.Fetched{{Err: kerr.OffsetOutOfRange, HighWatermark: -1}, {HighWatermark: 8}}
	fourth := mustContext(t, c, fetchList{sessionID: fc.id(), epoch: 3})
	if got := fourth.news(failed); !got[0] || got[1] {
		t.Fatalf("one partition failed, yet the answer carries %v", got)
	}
	fifth := mustContext(t, c, fetchList{sessionID: fc.id(), epoch: 4})
	if got := fifth.news(moved); !got[0] {
		t.Fatal("the answer after an error is news")
	}
	untold := []replica.Fetched{{HighWatermark: 5}, {HighWatermark: 8, News: true}}
	sixth := mustContext(t, c, fetchList{sessionID: fc.id(), epoch: 5})
	if got := sixth.news(untold); got[0] || !got[1] {
		t.Fatalf("a follower of a new leader was not told a watermark, yet the answer carries %v", got)
	}
}

func TestSessionPartitionsComeAndGo(t *testing.T) {
	c, _ := newCache(10)
	fc := mustContext(t, c, fetchList{epoch: initialEpoch, parts: []*sessionPart{ask("a", 0, 0), ask("a", 1, 0)}})
	next := mustContext(t, c, fetchList{
		sessionID: fc.id(), epoch: 1, parts: []*sessionPart{ask("a", 0, 42), ask("b", 0, 1)},
		forgotten: []replica.Ref{{Topic: "a", Index: 1}},
	})
	if len(next.parts) != 2 || next.parts[0].Offset != 42 || next.parts[1].Ref.Topic != "b" {
		t.Fatalf("the session fetches %+v", next.parts)
	}
	if fc.parts[0].Offset != 0 {
		t.Fatal("an earlier fetch saw its partition change")
	}
	last := mustContext(t, c, fetchList{
		sessionID: fc.id(), epoch: 2, forgotten: []replica.Ref{{Topic: "a"}, {Topic: "b"}},
	})
	if last.id() != 0 || len(c.byID) != 0 {
		t.Fatal("an empty session stays open")
	}
}

func TestSessionErrors(t *testing.T) {
	c, _ := newCache(10)
	fc := mustContext(t, c, fetchList{epoch: initialEpoch, parts: []*sessionPart{ask("a", 0, 0)}})
	for _, tt := range []struct {
		name string
		list fetchList
		want *kerr.Error
	}{
		{"unknown id", fetchList{sessionID: fc.id() + 1, epoch: 1}, kerr.FetchSessionIDNotFound},
		{"wrong epoch", fetchList{sessionID: fc.id(), epoch: 9}, kerr.InvalidFetchSessionEpoch},
		{"ids instead of names", fetchList{sessionID: fc.id(), epoch: 1, usesIDs: true}, kerr.FetchSessionTopicIDError},
	} {
		if _, err := c.context(tt.list); err != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	if fc := mustContext(t, c, fetchList{sessionID: fc.id(), epoch: finalEpoch}); fc.id() != 0 || len(c.byID) != 0 {
		t.Error("the final epoch left the session open")
	}
}

func TestSessionSlotIsTakenOnlyFromTheIdle(t *testing.T) {
	c, clock := newCache(1)
	open := func() int32 {
		return mustContext(t, c, fetchList{epoch: initialEpoch, parts: []*sessionPart{ask("a", 0, 0)}}).id()
	}
	first := open()
	if open() != 0 {
		t.Fatal("a second session found a slot")
	}
	clock.Advance(sessionIdle)
	second := open()
	if second == 0 {
		t.Fatal("the idle session kept its slot")
	}
	if _, err := c.context(fetchList{sessionID: first, epoch: 1}); err != kerr.FetchSessionIDNotFound {
		t.Fatalf("the evicted session answers %v", err)
	}
}

func TestFollowersKeepTheirSessions(t *testing.T) {
	c, clock := newCache(2)
	open := func(follower bool) int32 {
		return mustContext(t, c, fetchList{epoch: initialEpoch, follower: follower, parts: []*sessionPart{ask("a", 0, 0)}}).id()
	}
	consumer := open(false)
	first := open(true)
	second := open(true)
	if first == 0 || second == 0 {
		t.Fatal("a follower found no slot though a consumer had one")
	}
	if _, err := c.context(fetchList{sessionID: consumer, epoch: 1}); err != kerr.FetchSessionIDNotFound {
		t.Fatalf("the consumer whose slot was taken is answered %v", err)
	}
	if open(true) != 0 || open(false) != 0 {
		t.Fatal("a follower's session was given up while in use")
	}
	clock.Advance(sessionIdle)
	if open(false) == 0 {
		t.Fatal("a follower that went away keeps its slot")
	}
}

func TestSessionTurnsPartitionsThatGaveRecords(t *testing.T) {
	c, _ := newCache(10)
	fc := mustContext(t, c, fetchList{epoch: initialEpoch, parts: []*sessionPart{ask("a", 0, 0), ask("a", 1, 0), ask("a", 2, 0)}})
	fc.news([]replica.Fetched{{Run: new(replica.Run)}, {}, {}})
	next := mustContext(t, c, fetchList{sessionID: fc.id(), epoch: 1})
	var order []int32
	for _, p := range next.parts {
		order = append(order, p.Ref.Index)
	}
	if order[0] != 1 || order[2] != 0 {
		t.Fatalf("fetched in the order %v; the partition that gave records comes last", order)
	}
}

func TestSessionsTogetherAreBounded(t *testing.T) {
	c, _ := newCache(10)
	many := func(topic string, n int) []*sessionPart {
		parts := make([]*sessionPart, n)
		for i := range parts {
			parts[i] = ask(topic, int32(i), 0)
		}
		return parts
	}
	first := mustContext(t, c, fetchList{epoch: initialEpoch, parts: many("a", maxSessionParts-10)})
	if first.id() == 0 {
		t.Fatal("the first session found no room")
	}
	if fc := mustContext(t, c, fetchList{epoch: initialEpoch, parts: many("b", 11)}); fc.id() != 0 {
		t.Fatal("a session beyond the bound was opened")
	}
	if _, err := c.context(fetchList{sessionID: first.id(), epoch: 1, parts: many("c", 11)}); err != kerr.FetchSessionIDNotFound {
		t.Fatalf("a session grew beyond the bound: %v", err)
	}
	if c.parts != 0 {
		t.Fatalf("%d partitions are still counted", c.parts)
	}
}
