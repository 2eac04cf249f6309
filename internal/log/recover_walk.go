package log

import (
	"errors"

	"github.com/leat-stream/leat/internal/record"
)

// eachHeader walks the headers of all batches with offsets from…to-1, and stops quietly where
// they end. Small batches are whole. Damage hides nothing that is behind it; see walk.
func (r *recovery) eachHeader(fn func(*segment, header, record.Batch), from, to int64) error {
	if from >= to {
		return nil
	}
	for i := max(find(r.segs, from), 0); i < len(r.segs) && r.segs[i].base < to; i++ {
		s, end := r.segs[i], to
		if i+1 < len(r.segs) {
			end = min(end, r.segs[i+1].base)
		}
		start := int64(0)
		if from > s.base {
			var err error
			if start, err = s.nearestIn(from); err != nil {
				return err
			}
		}
		if _, err := r.withFile(s, func(sc *scanner) error {
			w := walk{sc: sc, over: s.passed(), pos: start, least: s.base, end: end}
			for w.least < to {
				h, b, ok, err := w.next()
				if err != nil || !ok || h.base >= to {
					return err
				}
				if h.last >= from {
					fn(s, h, b)
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// walk goes from batch to batch of a segment whose damage others set aside, for what can be
// told from the headers. A batch that is damaged counts if its header fits in where it
// stands: it is likely that its records are what is damaged. One whose header does not is
// passed over, and so is what is no batch: neither may hide the batches behind, as one does
// that seems to reach far beyond them. Where a hole is known it tells where to go on.
type walk struct {
	sc    *scanner
	over  holes
	pos   int64
	least int64 // the least offset that the batch at pos can have
	end   int64 // no batch goes that far
}

// next is the next batch; its bytes are a view until the next call. It is whole if it fits
// into the scanner's buffer, otherwise its header. !ok: there is none. Errors: ErrStorage.
func (w *walk) next() (h header, b record.Batch, ok bool, err error) {
	for w.pos < w.sc.limit {
		h, b, err := w.sc.batch(w.pos, w.least)
		good := err == nil
		if err != nil && !errors.Is(err, ErrCorrupt) {
			return h, nil, false, err
		}
		if !good || h.base > w.least { // the offset is under no checksum
			if !w.fits(h, good) {
				if ok, err := w.pass(h, good); err != nil || !ok {
					return h, nil, false, err
				}
				continue
			}
			if b, err = w.sc.bytes(w.pos, min(h.size, int64(len(w.sc.buf)))); err != nil {
				return h, nil, false, err
			}
		}
		w.pos, w.least = h.pos+h.size, h.last+1
		return h, b, true, nil
	}
	return header{}, nil, false, nil
}

// fits tells whether the header of a batch at pos, good or damaged, can be true, as far as the
// one behind it tells. Where that cannot be told, a good batch is believed and a damaged one is
// not.
func (w *walk) fits(h header, good bool) bool {
	if _, err := w.sc.header(h.pos); err != nil || h.base < w.least || h.last < h.base {
		return false
	}
	behind := h.pos + h.size
	if o, ok := w.over.over(h.pos, w.sc.limit); ok && (behind != o.to || h.last >= o.next) {
		return false
	}
	if behind == w.sc.limit {
		return h.last < w.end
	}
	n, err := w.sc.header(behind)
	if err != nil { // whoever goes there meets it
		return good
	}
	return h.last < n.base
}

// pass goes on behind what is no batch that fits: at the next batch if the length leads to
// a good one, and otherwise at the next good one that can be found. !ok: there is none.
func (w *walk) pass(h header, good bool) (ok bool, err error) {
	if o, ok := w.over.over(w.pos, w.sc.limit); ok {
		w.pos, w.least = o.to, o.next
		return true, nil
	}
	if behind := h.pos + h.size; h.size >= headerRead && behind < w.sc.limit {
		if _, _, err = w.sc.batch(behind, w.least); err == nil {
			w.pos = behind
			return true, nil
		}
	}
	from := w.pos + 1
	if good {
		from = h.pos + h.size // its records are no place to look at
	}
	h, ok, err = w.sc.resync(from, w.sc.limit, w.least, func(h header) bool { return h.last < w.end })
	w.pos = h.pos
	return ok, err
}
