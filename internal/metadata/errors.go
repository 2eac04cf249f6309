package metadata

import (
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/leat-stream/leat/internal/config"
)

// refusal is one of Kafka's errors with a message of its own.
type refusal struct {
	kind *kerr.Error
	text string
}

func (r *refusal) Error() string { return r.kind.Message + ": " + r.text }
func (r *refusal) Unwrap() error { return r.kind }

// refuse makes a refusal; without a format the message is the error's description.
func refuse(kind *kerr.Error, format string, args ...any) error {
	if format == "" {
		return &refusal{kind, kind.Description}
	}
	return &refusal{kind, fmt.Sprintf(format, args...)}
}

// code is an error as a response carries it, as code and message: 0 and none for nil.
func code(err error) (int16, *string) {
	var r *refusal
	switch {
	case err == nil:
		return 0, nil
	case errors.As(err, &r):
		return r.kind.Code, Message(r.text)
	case errors.Is(err, config.ErrInvalid):
		return kerr.InvalidConfig.Code, Message(err.Error())
	}
	return kerr.UnknownServerError.Code, Message(err.Error())
}

// maxMessage bounds a message: those that quote a request could else be longer than a
// string of the protocol, whose length would then read as null.
const maxMessage = 4 << 10

// Message is a text as a response carries it; what is too long is cut.
func Message(text string) *string {
	if len(text) > maxMessage {
		text = strings.ToValidUTF8(text[:maxMessage], "") + "…"
	}
	return &text
}
