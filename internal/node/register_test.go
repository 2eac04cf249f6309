package node

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/leat-stream/leat/internal/machine"
	"github.com/leat-stream/leat/internal/metadata"
)

// TestPlainly: what passes by itself is said in an operator's words; what is unknown is said as it is.
func TestPlainly(t *testing.T) {
	for _, err := range []error{machine.ErrNotLeader, machine.ErrLoading, machine.ErrTimeout, metadata.ErrNotBootstrapped, kerr.NotController} {
		if got := plainly(fmt.Errorf("asked: %w", err)); !strings.Contains(got, "quorum") || strings.Contains(got, "machine:") {
			t.Errorf("%v: %s", err, got)
		}
	}
	if got := plainly(errors.New("else")); got != "else" {
		t.Error(got)
	}
}
