package api

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// refused is a request that cannot be answered: its connection is closed.
type refused struct {
	key, version int16
	why          string
}

func (e refused) Error() string {
	name := kmsg.NameForKey(e.key)
	if name == "" {
		name = "unknown"
	}
	return fmt.Sprintf("request refused: key %d (%s) version %d: %s", e.key, name, e.version, e.why)
}
