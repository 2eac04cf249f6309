package machine

import (
	"container/heap"
	"time"
)

// alarm is one pending timer of a loop.
type alarm struct {
	at    time.Time
	order uint64 // of setting: equal times come due in the order they were set
	place int    // in the heap; -1 when not in it
	shard *leadership
	what  alarmKind
	key   string // of a machine's timer
	token Token  // of a deadline
}

type alarmKind uint8

const (
	alarmTimer alarmKind = iota + 1
	alarmDeadline
	alarmLoad
)

// alarms is a heap of alarms by time.
type alarms struct {
	heap  []*alarm
	order uint64
}

func (h *alarms) Len() int { return len(h.heap) }
func (h *alarms) Less(i, j int) bool {
	a, b := h.heap[i], h.heap[j]
	if a.at.Equal(b.at) {
		return a.order < b.order
	}
	return a.at.Before(b.at)
}
func (h *alarms) Swap(i, j int) {
	h.heap[i], h.heap[j] = h.heap[j], h.heap[i]
	h.heap[i].place, h.heap[j].place = i, j
}
func (h *alarms) Push(x any) {
	a := x.(*alarm)
	a.place = len(h.heap)
	h.heap = append(h.heap, a)
}
func (h *alarms) Pop() any {
	n := len(h.heap) - 1
	a := h.heap[n]
	h.heap[n] = nil
	h.heap = h.heap[:n]
	a.place = -1
	return a
}

// set adds the alarm, or moves it when it is pending.
func (h *alarms) set(a *alarm, at time.Time) {
	a.at = at
	h.order++
	a.order = h.order
	if a.place >= 0 {
		heap.Fix(h, a.place)
		return
	}
	heap.Push(h, a)
}

func (h *alarms) cancel(a *alarm) {
	if a != nil && a.place >= 0 {
		heap.Remove(h, a.place)
	}
}

// due takes the earliest alarm out if its time has come.
func (h *alarms) due(now time.Time) *alarm {
	if len(h.heap) == 0 || h.heap[0].at.After(now) {
		return nil
	}
	return heap.Pop(h).(*alarm)
}
