package conn

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
)

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
