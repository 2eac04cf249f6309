package out

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// The exit codes of leat. They are part of its contract.
const (
	ExitOK          = 0
	ExitFailure     = 1   // the command was understood and failed, wholly or in part
	ExitUsage       = 2   // a flag or an argument is wrong; nothing was done
	ExitRemoved     = 3   // of a server: it was removed from its cluster, and is not to be started again
	ExitInterrupted = 130 // stopped by Ctrl-C
)

// UsageError is a wrong flag or argument.
type UsageError struct{ text string }

func (e *UsageError) Error() string { return e.text }

// Usagef makes a UsageError.
func Usagef(format string, args ...any) error {
	return &UsageError{fmt.Sprintf(format, args...)}
}

// hinted is an error with what to do about it.
type hinted struct {
	err  error
	hint string
}

func (e *hinted) Error() string { return strings.TrimSuffix(e.err.Error(), ".") + "; " + e.hint }
func (e *hinted) Unwrap() error { return e.err }

// Hint adds to an error what a person can do.
func Hint(err error, hint string) error { return &hinted{err, hint} }

// Hinted tells whether an error already says what can be done.
func Hinted(err error) bool {
	var h *hinted
	return errors.As(err, &h)
}

// Removed marks the end of a server that was removed from its cluster.
func Removed(err error) error { return &removed{err} }

type removed struct{ error }

func (e *removed) Unwrap() error { return e.error }

// ErrSilent is a failure that the command has already reported.
var ErrSilent = errors.New("already reported")

// Code is the exit code of an error.
func Code(err error) int {
	var (
		usage *UsageError
		gone  *removed
	)
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &usage):
		return ExitUsage
	case errors.As(err, &gone):
		return ExitRemoved
	case errors.Is(err, context.Canceled):
		return ExitInterrupted
	}
	return ExitFailure
}

// Report writes an error in one line and gives its exit code.
func (o *Out) Report(err error) int {
	code := Code(err)
	if code != ExitOK && code != ExitInterrupted && !errors.Is(err, ErrSilent) {
		text := strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
		fmt.Fprintln(o.Err, "leat: "+Printable(text))
	}
	return code
}
