// Package wire reads and writes the bytes of requests and responses where kmsg
// must not or need not: the request header, a check of a request before kmsg may
// decode it, and the two hot paths, Produce in and Fetch out. It is pure.
//
// # Check before decode
//
// kmsg allocates an array's elements from its count, as long as that many bytes
// remain: one byte of a request can cost 60 and more of memory, and a count of
// tagged fields costs time alone. Check walks a request first, by a table that is
// generated from kmsg's own source, allocates nothing, and says what kmsg is going
// to allocate, so that the connection can charge it to a memory budget, or refuse
// it, beforehand. What Check accepts, kmsg decodes.
//
// Check refuses what Kafka 4.4 refuses: arrays above 1,000,000 entries, more than
// 10,000 tagged fields, strings above 32,767 bytes, null where a field is not
// nullable. Bytes behind the last field are ignored, as Kafka ignores them. A known
// tagged field must fill its stated size exactly; Kafka reads on as if it did.
package wire

//go:generate go run ./gen
