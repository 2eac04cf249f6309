package differential

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/leat-stream/leat/conformance/raw"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// answerLimit is how long one answer may take before the step records a timeout.
	answerLimit = 15 * time.Second
	// settleLimit is how long a set-up may take to show its effect.
	settleLimit = 20 * time.Second
	// clientID is what every request says it comes from.
	clientID = "differential"
)

// Range is an API key's lowest and highest version.
type Range struct{ Min, Max int16 }

// Step is one recorded exchange.
type Step struct {
	// Name is the API, the version and the label: "Fetch v4 unknown topic".
	Name string
	// Outcome is the normalised answer.
	Outcome Answer
}

// Session runs scenarios against one broker and records their steps. It is used
// by one goroutine. A set-up that fails panics with a failure, which Run turns
// into an error: a scenario reads as a straight story.
type Session struct {
	addr   string
	ranges map[int16]Range
	names  *names
	conn   *raw.Conn
	steps  []Step
	topics []string
	groups []string
}

// failure is a scenario's set-up that did not come about.
type failure struct{ err error }

// NewSession prepares a session with the broker at addr, whose log folder is
// dir. Versions range over ranges.
func NewSession(addr, dir string, ranges map[int16]Range) *Session {
	return &Session{addr: addr, ranges: ranges, names: newNames(addr, dir)}
}

// Run runs one scenario and returns its steps. Topics and groups that it made
// are deleted afterwards.
func (s *Session) Run(scenario func(*Session)) (steps []Step, err error) {
	s.steps, s.topics, s.groups = nil, nil, nil
	defer func() {
		if r := recover(); r != nil {
			f, ok := r.(failure)
			if !ok {
				panic(r)
			}
			steps, err = s.steps, f.err
		}
	}()
	defer s.hangUp()
	defer s.clean()
	scenario(s)
	return s.steps, nil
}

// Each calls fn for every version of an API that Kafka advertises.
func (s *Session) Each(key kmsg.Key, fn func(v int16)) {
	s.From(key, 0, fn)
}

// From calls fn for every version that Kafka advertises from v on.
func (s *Session) From(key kmsg.Key, v int16, fn func(v int16)) {
	r, ok := s.ranges[int16(key)]
	if !ok {
		s.fail("Kafka does not advertise %s", kmsg.NameForKey(int16(key)))
	}
	for v := max(v, r.Min); v <= r.Max; v++ {
		fn(v)
	}
}

// Latest is the newest version of an API that Kafka advertises.
func (s *Session) Latest(key kmsg.Key) int16 { return s.ranges[int16(key)].Max }

// Do sends a request at a version, records the answer and returns it; nil when
// the broker closed the connection or did not answer.
func (s *Session) Do(label string, v int16, req kmsg.Request) kmsg.Response {
	return s.DoWithin(answerLimit, label, v, req)
}

// DoWithin is Do for a request that Kafka is known to leave unanswered.
func (s *Session) DoWithin(limit time.Duration, label string, v int16, req kmsg.Request) kmsg.Response {
	req.SetVersion(v)
	resp, err := s.exchange(req, limit)
	s.record(label, req, resp, err)
	return resp
}

// Begin sends a request that is not answered before others have done something, on a
// connection of its own. The function that it returns waits for the answer and records it.
func (s *Session) Begin(label string, v int16, req kmsg.Request) (end func() kmsg.Response) {
	req.SetVersion(v)
	c, err := raw.Dial(s.addr, clientID)
	if err == nil {
		err = c.Send(c.Frame(req))
	}
	if err != nil {
		s.fail("%s: %w", label, err)
	}
	return func() kmsg.Response {
		defer c.Close()
		resp, err := c.Receive(req, answerLimit)
		s.record(label, req, resp, err)
		return resp
	}
}

// Bytes sends a frame as it is and records the answer as one to req.
func (s *Session) Bytes(label string, req kmsg.Request, frame []byte) {
	resp, err := s.connected(func(c *raw.Conn) (kmsg.Response, error) {
		if err := c.Send(frame); err != nil {
			return nil, fmt.Errorf("%w: %w", raw.ErrClosed, err)
		}
		return c.Receive(req, answerLimit)
	})
	s.record(label, req, resp, err)
}

// Silent sends a request to which no answer may come, follows it by ApiVersions
// and records whether that was the next answer.
func (s *Session) Silent(label string, v int16, req kmsg.Request) {
	req.SetVersion(v)
	probe := kmsg.NewPtrApiVersionsRequest()
	resp, err := s.connected(func(c *raw.Conn) (kmsg.Response, error) {
		if err := c.Send(append(c.Frame(req), c.Frame(probe)...)); err != nil {
			return nil, fmt.Errorf("%w: %w", raw.ErrClosed, err)
		}
		return c.Receive(probe, answerLimit)
	})
	outcome := Answer{"answer": "none, and the connection lives"}
	if err != nil || resp == nil {
		outcome = s.names.outcome(nil, nil, err)
	}
	s.steps = append(s.steps, Step{stepName(req, label), outcome})
}

// Ask sends a request without recording it.
func (s *Session) Ask(req kmsg.Request) (kmsg.Response, error) { return s.exchange(req, answerLimit) }

// Note records a fact that a scenario worked out itself.
func (s *Session) Note(label, value string) {
	s.steps = append(s.steps, Step{"note: " + label, Answer{"value": value}})
}

// Until repeats a check until it succeeds; a set-up that never does fails the scenario.
func (s *Session) Until(what string, check func() error) {
	deadline := time.Now().Add(settleLimit)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.fail("%s: %w", what, err)
		}
		time.Sleep(3 * time.Millisecond)
	}
}

func (s *Session) fail(format string, args ...any) {
	panic(failure{fmt.Errorf(format, args...)})
}

func (s *Session) record(label string, req kmsg.Request, resp kmsg.Response, err error) {
	s.steps = append(s.steps, Step{stepName(req, label), s.names.outcome(req, resp, err)})
}

func stepName(req kmsg.Request, label string) string {
	return fmt.Sprintf("%s v%d %s", kmsg.NameForKey(req.Key()), req.GetVersion(), label)
}

func (s *Session) exchange(req kmsg.Request, limit time.Duration) (kmsg.Response, error) {
	return s.connected(func(c *raw.Conn) (kmsg.Response, error) {
		if err := c.Send(c.Frame(req)); err != nil {
			return nil, fmt.Errorf("%w: %w", raw.ErrClosed, err)
		}
		return c.Receive(req, limit)
	})
}

// connected runs fn on the session's connection, made if there is none, and
// drops the connection when fn fails.
func (s *Session) connected(fn func(*raw.Conn) (kmsg.Response, error)) (kmsg.Response, error) {
	if s.conn == nil {
		c, err := raw.Dial(s.addr, clientID)
		if err != nil {
			return nil, err
		}
		s.conn = c
	}
	resp, err := fn(s.conn)
	if err != nil {
		s.hangUp()
	}
	return resp, err
}

// hangUp closes the connection; the next exchange makes a new one.
func (s *Session) hangUp() {
	if s.conn != nil {
		_ = s.conn.Close() // nothing more is expected of it
		s.conn = nil
	}
}

// isTimeout says whether an exchange ran out of time.
func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}
