package metadata

import (
	"errors"
	"fmt"

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
		return r.kind.Code, &r.text
	case errors.Is(err, config.ErrInvalid):
		text := err.Error()
		return kerr.InvalidConfig.Code, &text
	}
	text := err.Error()
	return kerr.UnknownServerError.Code, &text
}
