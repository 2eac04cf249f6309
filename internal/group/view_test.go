package group

import (
	"fmt"
	"slices"
	"testing"
)

func TestViewOfOffsets(t *testing.T) {
	m := New(Options{})
	id := [16]byte{1}
	put := func(group, topic string, p int32, offset int64, id [16]byte) {
		m.have(group).offsets.put(topic, p, committed{offset: offset, topicID: id})
	}
	put("b", "y", 1, 7, id)
	put("b", "y", 0, 5, id)
	put("a", "y", 0, 3, [16]byte{})
	put("a", "x", 0, 1, id)
	want := []Topic{{"x", id}, {"y", [16]byte{}}, {"y", id}}
	if got := m.Topics(); !slices.Equal(got, want) {
		t.Fatalf("topics %v, want %v", got, want)
	}
	var got []string
	m.EachOffset(func(group string, t Topic, p int32, offset int64) bool {
		got = append(got, fmt.Sprintf("%s %s-%d %d", group, t.Name, p, offset))
		return len(got) < 3
	})
	if want := []string{"a x-0 1", "a y-0 3", "b y-0 5"}; !slices.Equal(got, want) {
		t.Fatalf("offsets %q, want %q", got, want)
	}
}
