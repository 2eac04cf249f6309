package node

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/leat-stream/leat/internal/config"
)

// contact is what a broker knows of its standing with the controller, for who asks from
// outside of the node's tasks.
type contact struct {
	heard  atomic.Pointer[time.Time] // when a heartbeat was last answered
	fenced atomic.Bool               // what that answer said
}

// beaten takes the answer of a heartbeat.
func (c *contact) beaten(now time.Time, fenced bool) {
	c.fenced.Store(fenced)
	c.heard.Store(&now)
}

// ready is nil while the cluster counts on this broker. One that has heard nothing for a
// session is fenced wherever there is a controller, and has it from nobody.
func (c *contact) ready(now time.Time, session time.Duration) error {
	heard := c.heard.Load()
	switch {
	case heard == nil:
		return errors.New("not in the cluster yet")
	case now.Sub(*heard) > session:
		return fmt.Errorf("out of touch with the controller for %v", now.Sub(*heard).Round(100*time.Millisecond))
	case c.fenced.Load():
		return errors.New("fenced: the controller does not count on this broker now")
	}
	return nil
}

// Ready is nil while the node has its place in the cluster: a broker that the controller
// counts on, a node that follows the metadata. Whether it works at all is Healthy.
func (n *Node) Ready() error {
	now, session := n.clock.Now(), config.Millis(n.Config(), config.BrokerSessionTimeoutMs)
	if n.Config().Broker() {
		if err := n.meta.contact.ready(now, session); err != nil {
			return err
		}
	}
	if n.meta.following() {
		return nil
	}
	st := n.meta.observed()
	if st == nil {
		return errors.New("no controller leads the metadata quorum, as far as this node knows")
	}
	if st.LastContact.IsZero() || now.Sub(st.LastContact) > max(session, pullWait+pullPatience) {
		return errors.New("the metadata is not followed: no member of the quorum answers that knows its leader")
	}
	return nil
}
