package record

import "math"

// Recompress appends to dst a batch with the same records in another codec, for a
// topic whose compression.type is not producer, or because Info.Renumber is set:
// offset deltas become 0…n-1 and last offset delta n-1. Everything else in the
// header stays. At most max bytes are decompressed (ErrTooLarge). The result may
// be larger than b: hold it against max.message.bytes again.
func Recompress(dst []byte, b Batch, c Compression, max int) (Batch, error) {
	if !c.Codec.Known() {
		return nil, unknownCodec(c.Codec)
	}
	section, err := b.Decompress(nil, max)
	if err != nil {
		return nil, err
	}
	ordered, err := consecutive(b, section)
	if err != nil {
		return nil, err
	}
	if ordered {
		return rewrap(dst, b, section, c)
	}
	var bl Builder
	bl.Reset(b.Header(), c)
	for r, err := range b.RecordsIn(section) {
		if err != nil {
			return nil, err
		}
		if bl.count == math.MaxInt32 {
			return nil, invalid("too many records")
		}
		r.Offset = b.BaseOffset() + int64(bl.count)
		bl.add(&r)
	}
	at := len(dst)
	dst, err = bl.Build(dst)
	if err != nil {
		return nil, err
	}
	return Batch(dst[at:]), nil
}

// consecutive tells whether the offset deltas are 0…n-1 and the header says so.
func consecutive(b Batch, section []byte) (bool, error) {
	i := int32(0)
	for r, err := range b.RecordsIn(section) {
		if err != nil {
			return false, err
		}
		if r.OffsetDelta != i {
			return false, nil
		}
		i++
	}
	return b.LastOffsetDelta() == i-1, nil
}

// rewrap compresses a section that is right as it is.
func rewrap(dst []byte, b Batch, section []byte, c Compression) (Batch, error) {
	at := len(dst)
	dst, err := appendCompressed(append(dst, b[:HeaderSize]...), section, c)
	if err != nil {
		return nil, err
	}
	out := Batch(dst[at:])
	out.setFrame(b.Attributes()&^AttrCodecMask | int16(c.Codec))
	return out, nil
}
