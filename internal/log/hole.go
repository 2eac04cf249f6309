package log

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"
)

// hole is a place in a segment's file that holds no batches any more: damage behind which the
// chain of batches goes on where no length leads. Whoever walks a segment passes over it. It
// stays as long as its bytes do, also when the log's start has gone beyond its offsets.
type hole struct {
	at, to int64 // positions; to is where the next batch is, or will be
	next   int64 // the offset of the batch at to
}

// holes are those of one segment, ascending.
type holes []hole

// over is the hole in which a position is, if it ends within limit.
func (list holes) over(pos, limit int64) (h hole, ok bool) {
	for _, h := range list {
		if pos >= h.at && pos < h.to {
			return h, h.to <= limit
		}
	}
	return hole{}, false
}

// cover tells whether one of the holes reaches over another one's place.
func (list holes) cover(o hole) bool {
	return slices.ContainsFunc(list, func(h hole) bool { return h.at <= o.at && o.to <= h.to })
}

// passed are the segment's holes.
func (s *segment) passed() holes {
	if p := s.gaps.Load(); p != nil {
		return *p
	}
	return nil
}

// addHole takes a hole for others that it covers or that have the same place; Log.w is held.
func (s *segment) addHole(h hole) {
	list := slices.DeleteFunc(slices.Clone(s.passed()), func(o hole) bool { return o.at < h.to && h.at < o.to })
	list = append(list, h)
	slices.SortFunc(list, func(a, b hole) int { return int(a.at - b.at) })
	s.gaps.Store(&list)
}

// dropHoles forgets the holes that reach beyond a position, where the file is cut.
func (s *segment) dropHoles(pos int64) {
	if list := s.passed(); len(list) > 0 {
		list = slices.DeleteFunc(slices.Clone(list), func(h hole) bool { return h.to > pos })
		s.gaps.Store(&list)
	}
}

// holeMagic begins the record of a hole, the content of a ".corrupt" file whose bytes stay
// where they are. A build that does not know it reads the name alone.
const (
	holeMagic = "LEATHOLE"
	holeSize  = len(holeMagic) + 4*8 + 4
)

// encode is the record of a hole in the segment base.
func (h hole) encode(base int64) []byte {
	p := []byte(holeMagic)
	for _, n := range [...]int64{base, h.at, h.to, h.next} {
		p = binary.BigEndian.AppendUint64(p, uint64(n))
	}
	return binary.BigEndian.AppendUint32(p, crc32.Checksum(p, castagnoli))
}

// parseHole is the inverse of encode; !ok: these are other bytes, as those that were kept.
func parseHole(p []byte) (base int64, h hole, ok bool) {
	if len(p) != holeSize || string(p[:len(holeMagic)]) != holeMagic {
		return 0, h, false
	}
	body := p[:holeSize-4]
	if crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(p[holeSize-4:]) {
		return 0, h, false
	}
	at := func(i int) int64 { return int64(binary.BigEndian.Uint64(body[len(holeMagic)+8*i:])) }
	base, h = at(0), hole{at: at(1), to: at(2), next: at(3)}
	return base, h, h.at >= 0 && h.at < h.to
}

// readHoles takes over the holes that were recorded. One that does not lead to a batch with
// the offset that it says is of a file that was replaced or cut since: its offsets stay
// refused, and the next scrub looks at the place again.
func (r *recovery) readHoles() error {
	for _, d := range slices.Backward(r.damage) { // what a hole leads to first
		name := r.dir + "/" + corruptName(d)
		info, err := r.l.d.fs.Stat(name)
		if err != nil || info.Size() != int64(holeSize) {
			if err != nil {
				return err
			}
			continue
		}
		p, err := readSmall(r.l.d.fs, name, int64(holeSize))
		if err != nil {
			return err
		}
		base, h, ok := parseHole(p)
		i := find(r.segs, base)
		if !ok || i < 0 || r.segs[i].base != base || r.wasSwapped(base) {
			continue
		}
		if r.segs[i].passed().cover(h) { // found later, with what is behind damaged, too
			continue
		}
		if ok, err = r.leads(r.segs[i], h); err != nil {
			return err
		}
		if ok {
			r.segs[i].addHole(h)
		}
	}
	return nil
}

// leads tells whether a hole ends at the batch of which it says so, at another hole, at the end
// of the file, or where no batch needs to be yet.
func (r *recovery) leads(s *segment, h hole) (ok bool, err error) {
	if size := s.size.Load(); h.to >= size {
		return h.to == size, nil
	}
	if _, ok := s.passed().over(h.to, s.size.Load()); ok {
		return true, nil
	}
	_, err = r.withFile(s, func(sc *scanner) error {
		n, err := sc.header(h.to)
		ok = err == nil && n.base == h.next
		if errors.Is(err, ErrCorrupt) {
			ok, err = h.next >= r.point, nil // space that was reserved, or a torn write
		}
		return err
	})
	return ok, err
}
