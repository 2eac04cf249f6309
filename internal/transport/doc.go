// Package transport is the calling side of one connection to another node: Kafka
// frames with correlation ids, many under way at a time. The other side is an ordinary
// listener of broker.
//
// # What a connection promises
//
//   - Each accepted Call is answered exactly once: by the response, by ErrTimeout when its
//     time is over, or by the reason why the connection ended. Calls that wait are told of
//     the end at once.
//   - Nothing here waits for the network but the connection's own two goroutines, and no
//     callback runs inside Call, Send or under a lock.
//   - A connection that is only half there is found out: when a call's time is over, no
//     older one still waits, and not a byte has come since it was made, the connection
//     ends, unless that is shorter than Options.Silence. So does one that takes no bytes for Options.Stall. On Linux the kernel ends
//     one whose bytes are not acknowledged for Options.Unacked (TCP_USER_TIMEOUT): without
//     it one-way messages would wait for retransmissions long after a cut has healed.
//   - Large fields of nodewire's messages are written from the message's own memory.
//   - The records in the response of a Fetch are lent: when done returns their memory is
//     used again.
package transport
