package conn

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
)

// TestUnreachableWithoutALeader: where a node says that the quorum has no leader, a broker that is down is
// named, and not those that the command began with.
func TestUnreachableWithoutALeader(t *testing.T) {
	e := &Env{Getenv: func(string) string { return "" }}
	e.quorum.Do(func() { e.noQuorum = "the metadata quorum has no leader" })
	err := &net.OpError{Op: "dial", Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9102}, Err: syscall.ECONNREFUSED}
	if got := e.Explain(err).Error(); got != "cannot reach the broker at 127.0.0.1:9102: connection refused; the metadata quorum has no leader" {
		t.Error(got)
	}
}

// TestReasonOfARequestInParts: a request that went to several brokers fails for the reason of a part.
func TestReasonOfARequestInParts(t *testing.T) {
	for _, test := range []struct {
		err  error
		want string
	}{
		{errors.New("unknown broker"), "unknown broker"},
		{fmt.Errorf("dial: %w", syscall.ECONNREFUSED), "connection refused"},
	} {
		err := fmt.Errorf("node 2: %w", &kadm.ShardErrors{Name: "IncrementalAlterConfigs", AllFailed: true, Errs: []kadm.ShardError{{Err: test.err}}})
		if got := Reason(err); got != test.want {
			t.Errorf("%v: %s", err, got)
		}
	}
}
