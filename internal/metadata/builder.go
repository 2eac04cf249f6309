package metadata

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/leat-stream/leat/internal/schema"
)

// ErrInconsistent marks a record that does not fit the state before it: the log
// is damaged, or two builds disagree. The state must not be used further.
var ErrInconsistent = errors.New("metadata record does not fit the state")

// Builder applies records to an image. One goroutine uses it at a time.
type Builder struct {
	cur  Image
	base *Image // as of the last cut
	// owned are the topics that no cut image has yet, which may be changed in place.
	owned map[*Topic]struct{}
	// ownedConfigs are the resources whose map of configs no cut image has yet.
	ownedConfigs map[string]struct{}
	touched      *touched
	lists        interner
	// snapshot is set between a snapshot's header and its footer.
	snapshot bool
	// snapshotRecords counts the records since the header.
	snapshotRecords int64
}

// NewBuilder starts from an image; nil is the empty one. base is not changed.
func NewBuilder(base *Image) *Builder {
	if base == nil {
		base = new(Image)
	}
	return &Builder{
		cur: base.copy(), base: base, touched: newTouched(),
		owned: map[*Topic]struct{}{}, ownedConfigs: map[string]struct{}{},
	}
}

// View is the state after the last record applied. It is read-only, and what is
// reached through it is valid until the next Apply; an image that lasts is cut by Image.
func (b *Builder) View() *Image { return &b.cur }

// SetTerm notes the Raft term of the records that follow.
func (b *Builder) SetTerm(term int64) { b.cur.term = term }

// Image cuts an image of the state, with what changed since the last cut (since
// the base at the first). Between a snapshot's header and footer it is nil, nil.
func (b *Builder) Image() (*Image, *Delta) {
	if b.snapshot {
		return nil, nil
	}
	img := b.cur.copy()
	// The copy's maps and the builder's now both copy a node before they change it.
	b.cur = img.copy()
	delta := b.touched.delta(b.base, &img)
	b.base, b.touched = &img, newTouched()
	clear(b.owned)
	clear(b.ownedConfigs)
	return &img, delta
}

// own returns a topic that may be changed, in place of one that images share.
func (b *Builder) own(t *Topic) *Topic {
	if _, ok := b.owned[t]; ok {
		return t
	}
	c := &Topic{Name: t.Name, ID: t.ID, Partitions: slices.Clone(t.Partitions)}
	b.put(c)
	return c
}

// put sets a topic that the builder owns.
func (b *Builder) put(t *Topic) {
	b.cur.topics.Set(t.Name, t)
	b.cur.byID.Set(string(t.ID[:]), t)
	b.owned[t] = struct{}{}
	b.touched.topics[t.ID] = struct{}{}
}

// setBroker replaces or adds a broker; nil removes it.
func (b *Builder) setBroker(id int32, br *Broker) {
	brokers := slices.Clone(b.cur.brokers)
	i, found := b.cur.brokerPos(id)
	switch {
	case br == nil:
		brokers = slices.Delete(brokers, i, i+1)
	case found:
		brokers[i] = br
	default:
		brokers = slices.Insert(brokers, i, br)
	}
	b.cur.brokers = brokers
	b.touched.brokers[id] = struct{}{}
}

// setConfig sets one config of a resource, or deletes it when value is nil.
func (b *Builder) setConfig(key, name string, value *string) {
	m, _ := b.cur.configs.Get(key)
	if _, owned := b.ownedConfigs[key]; !owned || m == nil {
		if m = maps.Clone(m); m == nil {
			m = map[string]string{}
		}
		b.cur.configs.Set(key, m)
		b.ownedConfigs[key] = struct{}{}
	}
	if value == nil {
		delete(m, name)
	} else {
		m[name] = *value
	}
	if len(m) == 0 {
		b.cur.configs.Delete(key)
	}
	b.touched.configs[key] = struct{}{}
}

// reset forgets everything, at the header of a snapshot.
func (b *Builder) reset(h *schema.SnapshotHeader) {
	b.touched.all(&b.cur)
	b.cur = Image{index: h.Index, term: h.Term, lastBrokerEpoch: h.LastBrokerEpoch}
	clear(b.owned)
	clear(b.ownedConfigs)
	b.snapshot, b.snapshotRecords = true, 0
}

// endSnapshot checks that no record of the snapshot is missing.
func (b *Builder) endSnapshot(f *schema.SnapshotFooter) error {
	if !b.snapshot || f.Records != b.snapshotRecords {
		return fmt.Errorf("%w: a snapshot's footer counts %d records, %d were read", ErrInconsistent, f.Records, b.snapshotRecords)
	}
	b.snapshot = false
	return nil
}

// interner shares equal lists: a cluster has few distinct ones.
type interner struct {
	ints map[string][]int32
	ids  map[string][][16]byte
}

// maxInterned is the number of lists that are remembered before the memory of
// them starts anew; lists in use stay shared.
const maxInterned = 16 << 10

func (in *interner) int32s(list []int32) []int32 {
	if len(list) == 0 {
		return nil
	}
	key := make([]byte, 0, 64)
	for _, n := range list {
		key = append(key, byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
	}
	if known, ok := in.ints[string(key)]; ok {
		return known
	}
	if in.ints == nil || len(in.ints) >= maxInterned {
		in.ints = map[string][]int32{}
	}
	own := slices.Clone(list)
	in.ints[string(key)] = own
	return own
}

func (in *interner) uuids(list [][16]byte) [][16]byte {
	if !slices.ContainsFunc(list, func(id [16]byte) bool { return id != [16]byte{} }) {
		return nil
	}
	key := make([]byte, 0, 64)
	for _, id := range list {
		key = append(key, id[:]...)
	}
	if known, ok := in.ids[string(key)]; ok {
		return known
	}
	if in.ids == nil || len(in.ids) >= maxInterned {
		in.ids = map[string][][16]byte{}
	}
	own := slices.Clone(list)
	in.ids[string(key)] = own
	return own
}
