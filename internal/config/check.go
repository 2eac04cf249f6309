package config

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Check bounds the values of a setting.
type Check interface {
	// check refuses a value with a *ValueError whose text is Kafka's.
	check(name string, v Value) error
	// Allowed says in a few words what is allowed, e.g. "1 or more".
	Allowed() string
}

// bounds is a range of numbers, both ends included; nil is open.
type bounds struct{ lo, hi *float64 }

func atLeast(lo int64) Check { f := float64(lo); return bounds{lo: &f} }

func between(lo, hi float64) Check { return bounds{lo: &lo, hi: &hi} }

func (b bounds) check(name string, v Value) error {
	n := v.f
	if v.Type != Double {
		n = float64(v.i)
	}
	switch {
	case b.lo != nil && n < *b.lo:
		return &ValueError{Name: name, Value: v.Text(), Reason: "Value must be at least " + number(*b.lo)}
	case b.hi != nil && n > *b.hi:
		return &ValueError{Name: name, Value: v.Text(), Reason: "Value must be no more than " + number(*b.hi)}
	}
	return nil
}

func (b bounds) Allowed() string {
	switch {
	case b.hi == nil:
		return number(*b.lo) + " or more"
	case b.lo == nil:
		return number(*b.hi) + " or less"
	}
	return number(*b.lo) + " to " + number(*b.hi)
}

func number(f float64) string {
	if f == math.Trunc(f) {
		return strconv.FormatInt(int64(f), 10)
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}

// gzipLevel allows -1 (the codec's default) and 1 to 9.
type gzipLevel struct{}

func (gzipLevel) check(name string, v Value) error {
	if v.i == -1 || v.i >= 1 && v.i <= 9 {
		return nil
	}
	return &ValueError{Name: name, Value: v.Text(), Reason: "Value must be between 1 and 9 or equal to -1"}
}

func (gzipLevel) Allowed() string { return "-1 or 1 to 9" }

// oneOf allows a fixed set of strings.
type oneOf struct {
	anyCase bool
	words   []string
}

func words(w ...string) Check        { return oneOf{words: w} }
func wordsAnyCase(w ...string) Check { return oneOf{anyCase: true, words: w} }

func (o oneOf) has(s string) bool {
	return slices.ContainsFunc(o.words, func(w string) bool {
		return w == s || o.anyCase && strings.EqualFold(w, s)
	})
}

func (o oneOf) check(name string, v Value) error {
	if o.has(v.s) {
		return nil
	}
	reason := "String must be one of: "
	if o.anyCase {
		reason = "String must be one of (case insensitive): "
	}
	return &ValueError{Name: name, Value: v.s, Reason: reason + strings.Join(o.words, ", ")}
}

func (o oneOf) Allowed() string { return "one of " + strings.Join(o.words, ", ") }

// listOf allows lists, of the given words when there are any.
type listOf struct {
	words    oneOf
	nonEmpty bool
	repeats  bool // a word may come twice and counts once
}

func (l listOf) check(name string, v Value) error {
	if len(v.list) == 0 && l.nonEmpty {
		valid := "any non-empty value"
		if len(l.words.words) > 0 {
			valid = "[" + strings.Join(l.words.words, ", ") + "]"
		}
		return &ValueError{Name: name, text: fmt.Sprintf(
			"Configuration '%s' must not be empty. Valid values include: %s", name, valid)}
	}
	if !l.repeats && len(slices.Compact(slices.Sorted(slices.Values(v.list)))) != len(v.list) {
		return &ValueError{Name: name, text: fmt.Sprintf("Configuration '%s' values must not be duplicated.", name)}
	}
	for _, s := range v.list {
		if len(l.words.words) > 0 {
			if err := l.words.check(name, Value{Type: String, s: s}); err != nil {
				return err
			}
		}
		if s == "" {
			return &ValueError{Name: name, text: fmt.Sprintf("Configuration '%s' values must not be empty.", name)}
		}
	}
	return nil
}

func (l listOf) Allowed() string {
	s := "a list"
	if len(l.words.words) > 0 {
		s = "a list of " + strings.Join(l.words.words, ", ")
	}
	if l.nonEmpty {
		s += ", not empty"
	}
	return s
}

// nonEmpty allows every string but the empty one.
type nonEmpty struct{}

func (nonEmpty) check(name string, v Value) error {
	if v.s == "" {
		return &ValueError{Name: name, Reason: "String must be non-empty"}
	}
	return nil
}

func (nonEmpty) Allowed() string { return "any non-empty string" }

// funcCheck is a check with a rule of its own.
type funcCheck struct {
	fn      func(name string, v Value) error
	allowed string
}

func (f funcCheck) check(name string, v Value) error { return f.fn(name, v) }
func (f funcCheck) Allowed() string                  { return f.allowed }

// Allowed says in a few words what values the setting takes.
func (d *Def) Allowed() string {
	if d.Check != nil {
		return d.Check.Allowed()
	}
	switch d.Type {
	case Boolean:
		return "true or false"
	case Int:
		return "a whole number of 32 bits"
	case Short:
		return "a whole number of 16 bits"
	case Long:
		return "a whole number of 64 bits"
	case Double:
		return "a number"
	case List:
		return "a list, comma separated"
	}
	return "any text"
}
