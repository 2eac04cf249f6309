package broker

import (
	"fmt"
	"testing"
)

// TestCompactionInTheBackground: a compacted topic keeps the latest value of a key.
func TestCompactionInTheBackground(t *testing.T) {
	n := start(t, "log.cleaner.backoff.ms=1000")
	c := n.dial()
	c.createTopic("t", "cleanup.policy=compact", "min.cleanable.dirty.ratio=0.01", "segment.bytes=1048576")
	for i := range 20 { // of one key each
		c.produce("t", append(fmt.Appendf(nil, "%02d", i), make([]byte, 200_000)...))
	}
	n.eventually("older values are gone", func() bool { return c.fetch("t", 0)[0][:2] > "10" })
}
