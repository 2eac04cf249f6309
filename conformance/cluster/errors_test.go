//go:build conformance

package cluster

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// clientError is an error that a client's application was given, beside those of sends.
type clientError struct {
	who  string // the client, and what it is in the load
	what string // what it was told in: a poll, a commit
	text string
	at   time.Time
}

func (e clientError) String() string {
	return fmt.Sprintf("%s %s, %s: %s", e.at.UTC().Format("15:04:05.000"), e.who, e.what, e.text)
}

// maxErrors bounds how many are kept.
const maxErrors = 1000

// saw notes an error; the load's lock is held.
func (l *load) saw(who, what, text string) {
	e := clientError{who, what, text, time.Now()}
	kind := who + ", " + what
	if l.seen[kind] == nil {
		l.seen[kind] = &errorCount{first: e}
	}
	l.seen[kind].all++
	if !e.normal() && len(l.errors) < maxErrors {
		l.errors = append(l.errors, e)
	}
}

// errorCount is how many errors of a kind there were.
type errorCount struct {
	all   int
	first clientError
}

// tellErrors logs what there was of errors, normal ones, too.
func (l *load) tellErrors(t *testing.T) {
	t.Helper()
	for _, kind := range slices.Sorted(maps.Keys(l.seen)) {
		t.Logf("errors that an application saw: %d, the first at %v", l.seen[kind].all, l.seen[kind].first)
	}
}

// noErrors fails the test for every error that an application saw, but those that its
// client library gives out in normal work.
func (l *load) noErrors(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.errors) == 0 {
		return
	}
	var first []string
	for _, e := range l.errors[:min(len(l.errors), 20)] {
		first = append(first, e.String())
	}
	t.Errorf("%d errors that a client should not have seen, such as:\n%s", len(l.errors), strings.Join(first, "\n"))
}

// usual is what client libraries give to an application though nothing went wrong for
// it. Everything else is an error that somebody has to deal with.
var usual = []struct{ who, what, text, why string }{
	{"franz ends", "list offsets", "OFFSET_NOT_AVAILABLE",
		"A new leader whose high watermark is not certain yet answers so (KIP-207), Kafka's too. Consumers ask again by themselves; kadm, " +
			"which is none, gives it to its caller: kgo asks again only for what another broker may lead (listOffsetsSharder.onResp)."},
	{"franz ends", "list offsets", "NOT_LEADER_FOR_PARTITION",
		"kgo asks again for the first of the brokers that answer so and drops what it knows of the topic. Of a second one, asked at the same " +
			"time, it gives the answer to the caller, since what it knows is dropped already (maybeDeleteCachedMeta)."},
	{"franz ends", "list offsets", context.DeadlineExceeded.Error(), ownLimit},
	{"franz franz-", "commit", context.DeadlineExceeded.Error(), ownLimit},
	{"librdkafka", "error_cb", "_TRANSPORT",
		"What the callback is told is for information (rdkafka.h, error_cb): a connection to the node that is away was refused or broke. " +
			"Records and requests go elsewhere or wait, and an error that they end with is told in the delivery report, the poll or the commit."},
}

const ownLimit = "The load waits for an answer for a while and asks again; how long one takes is not asserted. That all comes to an end is (awaitGiven)."

func (e clientError) normal() bool {
	for _, u := range usual {
		if strings.HasPrefix(e.who, u.who) && e.what == u.what && strings.Contains(e.text, u.text) {
			return true
		}
	}
	return false
}
