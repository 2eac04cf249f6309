package conn

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/leat-stream/leat/internal/cli/out"
)

// Failures gathers what went wrong with single topics, groups and the like of one
// command, so that the others are still done and shown.
type Failures struct {
	env  *Env
	errs []error
}

// Failures begins an empty collection.
func (e *Env) Failures() *Failures { return &Failures{env: e} }

// Add takes an error of one thing, e.g. "topic orders"; nil is none.
func (f *Failures) Add(thing string, err error) {
	if err != nil {
		f.errs = append(f.errs, fmt.Errorf("%s: %w", thing, f.env.Explain(err)))
	}
}

// Err is nil without failures; it is the failure when there is one, and reports
// them all when there are several.
func (f *Failures) Err() error {
	switch len(f.errs) {
	case 0:
		return nil
	case 1:
		return f.errs[0]
	}
	for _, err := range f.errs {
		f.env.Report(err)
	}
	return out.ErrSilent
}

// Altered adds the failures of a change of settings.
func (f *Failures) Altered(thing string, rs kadm.AlterConfigsResponses) {
	for _, r := range rs {
		f.Add(thing+" "+r.Name, WithMessage(r.Err, r.ErrMessage))
	}
}
