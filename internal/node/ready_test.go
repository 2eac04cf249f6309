package node

import (
	"strings"
	"testing"
	"time"
)

func TestContact(t *testing.T) {
	var c contact
	at := time.Unix(1000, 0)
	check := func(says string) {
		t.Helper()
		if err := c.ready(at, 3*time.Second); (err == nil) != (says == "") || err != nil && !strings.HasPrefix(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
	check("not in the cluster yet")
	c.beaten(at, true)
	check("fenced")
	c.beaten(at, false)
	check("")
	at = at.Add(3 * time.Second)
	check("")
	at = at.Add(time.Millisecond)
	check("out of touch with the controller for 3s")
	c.beaten(at, false)
	check("")
}
