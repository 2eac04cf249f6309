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

// refuse ends the connection of a request that was read and cannot be answered.
func (s *Server) refuse(r *Request, kind string, why any) {
	s.Complaints.Warn(kind, "request refused", "why", why, "api", kmsg.NameForKey(r.Key), "version", r.Version, "client", r.ClientID)
	r.Hangup()
}

func (e refused) Error() string {
	name := kmsg.NameForKey(e.key)
	if name == "" {
		name = "unknown"
	}
	return fmt.Sprintf("request refused: key %d (%s) version %d: %s", e.key, name, e.version, e.why)
}
