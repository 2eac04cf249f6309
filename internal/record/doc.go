// Package record knows Kafka's record batch, format v2 (KIP-98), as bytes: a
// header view, the checksum, splitting a run into batches, validation,
// compression, iteration and building. It is pure: it owns no clock, file,
// socket or goroutine, and keeps no state between calls but pools of codecs.
//
// # Layout
//
// All integers are big-endian; the checksum (CRC-32C) covers everything from the
// attributes to the end, so that a leader patches base offset and leader epoch
// without touching it.
//
//	 0  base offset       int64     43  producer id      int64
//	 8  length            int32     51  producer epoch   int16
//	12  leader epoch      int32     53  base sequence    int32
//	16  magic = 2         int8      57  record count     int32
//	17  crc               uint32    61  records section, compressed as one piece
//	21  attributes        int16
//	23  last offset delta int32     attributes: bits 0–2 codec, 3 append time,
//	27  base timestamp    int64     4 transactional, 5 control, 6 the base
//	35  max timestamp     int64     timestamp is a delete horizon (KIP-534)
//
// length counts the bytes after itself, so a batch occupies 12 + length.
//
// # Trust
//
// A Batch made by First, Split or Sole has a whole header and exactly as many
// bytes as its length says; nothing else about it is known before Validate. A
// Batch made by hand from fewer than HeaderSize bytes makes accessors panic.
//
// # What validation decodes
//
// A batch from a client is checked to the depth that Kafka checks it, because a
// record that only a reader finds to be malformed would stop every consumer of
// the partition. A section without compression is walked in place, without a
// copy and without an allocation. A compressed section is decompressed through a
// window of fixed size and walked record by record, keys and values skipped: no
// header field can prove that the records inside are whole, that their offset
// deltas are 0…n-1, that their timestamps lie in the bounds (the default bound is
// finite) or that they have keys. Batches that this cluster wrote itself
// (Origin Replica) need none of that: their checksum is verified, and no record
// is decoded. Rules.Shallow asks for the same for clients that are trusted.
//
// Answers that differ from Kafka's, each to something stricter or safer: an unknown
// codec is ErrCodec and a section that does not decompress is ErrInvalid, where Kafka
// answers with UNKNOWN_SERVER_ERROR; offset deltas that are not 0…n-1 are reported
// in Info.Renumber; a varint that overflows its type, and a compressed record whose
// fields do not fill its size, are ErrInvalid where Kafka is content and its own
// consumer is not.
package record
