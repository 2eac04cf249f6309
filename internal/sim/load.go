package sim

import (
	"fmt"
	"math/rand/v2"
)

// Load is what clients do beside writing and reading, as it varies with the seed.
type Load struct {
	Deleters int  // clients that delete records
	Anew     bool // a topic is deleted and made anew
}

func drawLoad(r *rand.Rand) Load {
	return Load{Deleters: r.IntN(2), Anew: r.IntN(2) == 0}
}

// startLoad starts the clients that Load tells of.
func (c *Cluster) startLoad() {
	c.Tracef("load %+v", c.load)
	for i := range c.load.Deleters {
		d := newDeleter(c, fmt.Sprint("d", i), c.Settings.partitions())
		c.deleters = append(c.deleters, d)
		d.start()
	}
	if c.Settings.Mix.Throttles {
		c.throttler = newThrottler(c)
		c.throttler.start()
	}
	if c.load.Anew {
		c.anew = newAnew(c)
		c.anew.start()
		c.admin.also = append(c.admin.also, anewTopic)
	}
}

// stopLoad lets them end what they have begun.
func (c *Cluster) stopLoad() {
	for _, d := range c.deleters {
		d.stopped = true
	}
	if c.throttler != nil {
		c.throttler.stopped = true
	}
	if c.anew != nil {
		c.anew.stop()
	}
}
