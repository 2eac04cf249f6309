package broker

import (
	"errors"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestRemovedBrokerStops: a broker that is no longer registered serves nobody on.
func TestRemovedBrokerStops(t *testing.T) {
	n := prepare(t)
	opt := n.options()
	failed := make(chan error, 1)
	opt.Failed = func(err error) { failed <- err }
	b, err := Open(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	n.b = b
	t.Cleanup(func() {
		if err := b.Close(0); err != nil {
			t.Logf("close: %v", err)
		}
	})
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	req := kmsg.NewPtrUnregisterBrokerRequest()
	req.BrokerID = b.node.ID()
	if resp := n.dial().ask(req).(*kmsg.UnregisterBrokerResponse); resp.ErrorCode != 0 {
		t.Fatal(kerr.ErrorForCode(resp.ErrorCode))
	}
	if err := <-failed; !errors.Is(err, ErrRemoved) || !strings.Contains(err.Error(), "was removed from the cluster") {
		t.Fatal(err)
	}
}
