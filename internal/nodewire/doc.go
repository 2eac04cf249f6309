// Package nodewire holds the requests between Leat nodes that Kafka has no message for.
// They implement kmsg.Request and kmsg.Response, so that they travel as ordinary Kafka
// frames, on the CONTROLLER listener only, under keys of their own from FirstKey on.
//
// # Format, version 0
//
// Headers are Kafka's: version 1 of the request's, version 0 of the response's, since
// no message here is flexible. Fields follow in the order of the Go types, Version
// excepted, all numbers big-endian:
//
//	int8 … int64, uint64   1 … 8 bytes
//	bool                   1 byte, 0 or 1
//	[16]byte               16 bytes
//	string                 length int16, bytes; at most 32,767
//	*string                the same; a length of -1 is nil
//	[]byte                 length int32, bytes
//	[]T                    count int32, then each; at most MaxX entries
//	structure              its fields
//	*structure             1 byte, 0 (nil) or 1, then its fields
//
// A message fills its frame: bytes behind the last field are an error, as is a byte
// with no meaning. A field is never added to a version; it comes with a new one, and
// which are spoken is told by ApiVersions like those of every key.
//
// # Memory
//
// Decoding allocates what Check says at most, and nothing for a length or count that
// the remaining bytes do not cover. As in kmsg, every []byte of a decoded message is a
// view of the bytes it was read from and ends where the field ends; strings are
// copies. Who keeps a message must own its bytes, or clone them.
package nodewire
