package sim

import (
	"strings"
	"testing"
	"time"
)

// TestListThatLeadsElsewhere: a node whose list of controllers is another than that of a cluster
// that is there starts, and says once what of it leads to no voter; a list that only lacks
// voters is no news.
func TestListThatLeadsElsewhere(t *testing.T) {
	const says = "controller.quorum.voters names what is no voter: nowhere:9093 (nobody answers there)"
	for seed := uint64(1); seed <= 2; seed++ {
		c, out := voters(t, seed)
		victim := c.Nodes[2]
		list := []string{"controller.quorum.voters=1@" + c.Nodes[0].Address(ControllerDoor), "3@" + victim.Address(ControllerDoor)}
		restart := func(list ...string) {
			t.Helper()
			victim.Kill()
			c.Settings.More = append(c.Settings.More, strings.Join(list, ","))
			victim.Start()
			if !c.RunUntil(forming, func() bool { return victim.Serving }) {
				t.Fatalf("seed %d: it does not serve again", seed)
			}
			c.RunUntil(3*time.Minute, func() bool { return false })
		}
		restart(list...)
		if said := out.String(); strings.Contains(said, "names what is no voter") {
			t.Errorf("seed %d: said of a list that is short\n%s", seed, said)
		}
		restart(append(list, "9@nowhere:9093")...)
		if got := strings.Count(out.String(), says); got != 1 || c.Err() != nil {
			t.Errorf("seed %d: said %d times, %v", seed, got, c.Err())
		}
	}
}
