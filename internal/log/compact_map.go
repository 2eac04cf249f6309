package log

import "hash/maphash"

// offsetMap maps the hashes of keys to the last offset of each. It has a fixed number
// of slots and refuses keys when nine tenths of them are taken. Keys are known by two
// independent 64-bit hashes with seeds of the process.
type offsetMap struct {
	slots []mapSlot
	mask  uint64
	n     int
	max   int
	end   int64 // the offset behind the last batch in the map
	seeds [2]maphash.Seed
}

type mapSlot struct {
	h1, h2 uint64
	next   int64 // offset+1; 0: free
}

const mapSlotBytes = 24

// newOffsetMap is a map of at most buffer bytes, and not larger than offsets keys need.
func newOffsetMap(buffer, offsets int64) *offsetMap {
	slots := int64(64)
	for slots*2*mapSlotBytes <= buffer && slots*9/10 < offsets {
		slots *= 2
	}
	return &offsetMap{
		slots: make([]mapSlot, slots), mask: uint64(slots - 1), max: int(slots * 9 / 10),
		seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
	}
}

func (m *offsetMap) len() int { return m.n }

func (m *offsetMap) find(key []byte) (slot *mapSlot, h1, h2 uint64) {
	h1, h2 = maphash.Bytes(m.seeds[0], key), maphash.Bytes(m.seeds[1], key)
	for i := h1 & m.mask; ; i = (i + 1) & m.mask {
		s := &m.slots[i]
		if s.next == 0 || (s.h1 == h1 && s.h2 == h2) {
			return s, h1, h2
		}
	}
}

// put enters a key's offset; false when there is no room for another key.
func (m *offsetMap) put(key []byte, offset int64) bool {
	s, h1, h2 := m.find(key)
	if s.next == 0 {
		if m.n == m.max {
			return false
		}
		m.n++
		s.h1, s.h2 = h1, h2
	}
	s.next = max(s.next, offset+1)
	return true
}

// get is the key's last offset, -1 when it is not in the map.
func (m *offsetMap) get(key []byte) int64 {
	s, _, _ := m.find(key)
	return s.next - 1
}
