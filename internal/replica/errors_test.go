package replica

import (
	"errors"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/leat-stream/leat/internal/log"
)

// Whatever the log says of an append, a producer is never told UNKNOWN_SERVER_ERROR,
// after which some write again: what is not in the table is a storage error.
func TestAppendErrors(t *testing.T) {
	for _, row := range appendErrors {
		if got := appendError(fmt.Errorf("in some words: %w", row.err)); got != row.code {
			t.Errorf("%v is answered with %v, want %v", row.err, got, row.code)
		}
	}
	for _, err := range []error{log.ErrStorage, log.ErrClosed, log.ErrDeleted, errors.New("something new")} {
		if got := appendError(err); got != kerr.KafkaStorageError {
			t.Errorf("%v is answered with %v", err, got)
		}
	}
}
