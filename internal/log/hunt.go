package log

import (
	"encoding/binary"
	"errors"
	"hash/crc32"

	"github.com/leat-stream/leat/internal/record"
)

// hunt looks for where the chain of batches goes on behind a damaged one. What is in the bytes
// of a record may look like a batch, with a good checksum and the offset that is due, and must
// not be taken for one. So what the damaged header still says is asked first: one bit that is
// wrong leaves either its length true, or its checksum true of all that the length should span.
//
//  1. If its own checksum is good, only what is under no checksum is wrong, and the length holds.
//  2. If its length leads to a header whose offset follows on its own, and which leads on
//     itself, the length holds. If that leads nowhere, 3 is asked first.
//  3. If its checksum is that of the bytes up to some good batch, only the length is wrong.
//  4. If its length leads to a good batch, it holds.
//
// If nothing of that is true more is damaged. Then only a batch counts from which an unbroken
// chain of good ones leads to a batch that the index knows, or to the end of the segment; and
// otherwise the one that the index knows.
type hunt struct {
	sc        *scanner
	pos, next int64 // of the damage, and the least offset there
	end       int64 // the offset behind the limit of sc; none goes that far
	whole     bool  // a batch ends at the limit
	strict    bool  // a header without a good checksum proves nothing
	// anchor is the first batch behind the damage that the index knows; size 0: none.
	anchor header
}

// enoughChain is how many bytes of good batches in a row are no part of a record.
const enoughChain = 8 << 20

// run finds the batch; !found: there is none up to the limit.
func (k *hunt) run() (h header, found bool, err error) {
	if h, found, err = k.explained(); found || err != nil {
		return h, found, err
	}
	if h.size > 0 { // it ends at the limit
		return header{}, false, nil
	}
	if h, found, err = k.linked(); found || err != nil {
		return h, found, err
	}
	return k.anchor, k.anchor.size > 0, nil
}

// explained finds the batch behind the damaged one if its header tells. !found with a size: it
// tells that none is.
func (k *hunt) explained() (h header, found bool, err error) {
	sc := k.sc
	for {
		own, _, err := sc.batch(k.pos, 0)
		if err != nil && !errors.Is(err, ErrCorrupt) {
			return h, false, err
		}
		good, behind := err == nil, k.pos+own.size
		if own.size < headerRead || behind > sc.limit {
			return k.spanned(k.bound())
		}
		if behind == sc.limit {
			if k.whole && (good || own.last+1 == k.end && own.base >= k.next) {
				return own, false, nil
			}
			if h, found, err = k.spanned(sc.limit); found || err != nil || !k.whole {
				return h, found, err
			}
			return own, false, nil
		}
		n, ok, err := k.fits(behind, k.strict)
		if err != nil {
			return h, false, err
		}
		if ok && good {
			return n, true, nil
		}
		if good { // what is behind is damaged, too
			k.pos = behind
			continue
		}
		if ok && own.base >= k.next && own.last+1 == n.base {
			return k.followed(n)
		}
		if ok && !k.strict {
			if n, ok, err = k.fits(behind, true); err != nil {
				return h, false, err
			}
		}
		if !ok {
			return k.spanned(k.bound())
		}
		if h, found, err = k.spanned(behind); found || err != nil {
			return h, found, err
		}
		return n, true, nil
	}
}

// followed is n, whose offset is the one that the damaged batch leads to, unless n leads nowhere
// and the length can be wrong: then n may be in a record.
func (k *hunt) followed(n header) (h header, found bool, err error) {
	breaks, err := k.follow(n)
	if breaks < 0 || unreadable(err) {
		return n, true, nil
	}
	if err != nil {
		return h, false, err
	}
	if h, found, err = k.spanned(k.bound()); found || h.size > 0 || err != nil {
		return h, found, err
	}
	return n, true, nil
}

// torn tells whether the damage looks like a write that was never finished: it is longer than
// what is left, or nothing is written behind it.
func (k *hunt) torn() (bool, error) {
	if k.sc.limit-k.pos < headerRead {
		return false, nil
	}
	p, err := k.sc.bytes(k.pos, headerRead)
	if err != nil {
		return false, err
	}
	b := record.Batch(p)
	if b.Magic() != record.Magic || b.BaseOffset() < k.next || b.LastOffsetDelta() < 0 || b.Length() < headerRead-record.Overhead {
		return false, nil
	}
	return k.sc.zeros(k.pos + int64(b.Length()) + record.Overhead)
}

// bound is behind what may be the next batch.
func (k *hunt) bound() int64 {
	if k.anchor.size > 0 {
		return k.anchor.pos + 1
	}
	return k.sc.limit
}

// fits tells whether a batch may stand at pos: its offsets lie between those that are good
// before and behind it. Its checksum is good, too, if that is asked for.
func (k *hunt) fits(pos int64, good bool) (h header, ok bool, err error) {
	if good {
		h, _, err = k.sc.batch(pos, k.next)
	} else {
		h, err = k.sc.header(pos)
	}
	if errors.Is(err, ErrCorrupt) {
		return h, false, nil
	}
	if err != nil || h.base <= k.next || h.last >= k.end { // the damaged batch has an offset, too
		return h, false, err
	}
	if at := pos + h.size; at < k.sc.limit {
		n, err := k.sc.header(at)
		if err != nil && !errors.Is(err, ErrCorrupt) {
			return h, false, err
		}
		return h, err != nil || n.base > h.last, nil
	}
	return h, true, nil
}

// may tells whether a batch with that header can be there, before it is read: what a record holds
// can look like the beginning of very many long ones. None goes across the one that the index
// knows.
func (k *hunt) may(h header) bool {
	return h.base > k.next && h.last < k.end && (k.anchor.size == 0 || h.pos >= k.anchor.pos || h.pos+h.size <= k.anchor.pos)
}

// good is the next batch at or behind pos and before limit that fits and is good.
func (k *hunt) good(pos, limit int64) (h header, found bool, err error) {
	for {
		if h, found, err = k.sc.resync(pos, limit, k.next, k.may); err != nil || !found {
			return h, false, err
		}
		if h, found, err = k.fits(h.pos, true); err != nil || found {
			return h, found, err
		}
		pos = h.pos + 1
	}
}

// spanned finds the good batch before limit up to which the damaged one's checksum is true:
// but for its length it is good. !found with a size: it is true up to the end.
func (k *hunt) spanned(limit int64) (h header, found bool, err error) {
	if k.sc.limit-k.pos < headerRead {
		return header{}, false, nil
	}
	p, err := k.sc.bytes(k.pos, headerRead)
	if err != nil {
		return h, false, err
	}
	want := binary.BigEndian.Uint32(p[record.OffCRC:])
	sc := newScanner(k.sc.f, k.sc.limit) // of its own: both go forward
	sum, at := uint32(0), k.pos+record.OffAttributes
	upTo := func(pos int64) (bool, error) {
		for at < pos {
			n := min(int64(len(sc.buf)), pos-at)
			p, err := sc.bytes(at, n)
			if err != nil {
				return false, err
			}
			sum, at = crc32.Update(sum, castagnoli, p), at+n
		}
		return sum == want, nil
	}
	for pos := k.pos + headerRead; ; pos = h.pos + 1 {
		if h, found, err = k.good(pos, limit); err != nil {
			return h, false, err
		}
		if !found {
			break
		}
		if ok, err := upTo(h.pos); ok || err != nil {
			return h, ok, err
		}
	}
	if !k.whole || limit < k.sc.limit {
		return header{}, false, nil
	}
	if ok, err := upTo(k.sc.limit); !ok || err != nil {
		return header{}, false, err
	}
	return header{pos: k.pos, size: k.sc.limit - k.pos}, false, nil
}

// linked finds the first good batch from which good ones lead on.
func (k *hunt) linked() (h header, found bool, err error) {
	limit := k.bound()
	for pos := k.pos + 1; ; {
		if h, found, err = k.good(pos, limit); err != nil || !found {
			return h, false, err
		}
		if pos, err = k.follow(h); err != nil || pos < 0 {
			return h, pos < 0, err
		}
	}
}

// follow goes from a good batch on, and says where the chain breaks before it has proved
// anything; -1: it does not.
func (k *hunt) follow(h header) (breaks int64, err error) {
	began := h.pos
	for {
		if k.anchor.size > 0 && h.pos >= k.anchor.pos {
			if h.pos == k.anchor.pos {
				return -1, nil
			}
			return h.pos, nil
		}
		at := h.pos + h.size
		if at == k.sc.limit && k.whole || at-began > enoughChain {
			return -1, nil
		}
		if h, _, err = k.sc.batch(at, h.last+1); err != nil {
			if errors.Is(err, ErrCorrupt) {
				return at, nil
			}
			return at, err
		}
	}
}
