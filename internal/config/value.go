package config

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Value is a parsed value of one setting.
type Value struct {
	Type Type
	Null bool

	b    bool
	i    int64
	f    float64
	s    string
	list []string
}

// Text is the value in Kafka's text form: numbers in decimal, lists joined by
// commas; "" when it is null.
func (v Value) Text() string {
	if v.Null {
		return ""
	}
	switch v.Type {
	case Boolean:
		return strconv.FormatBool(v.b)
	case Int, Short, Long:
		return strconv.FormatInt(v.i, 10)
	case Double:
		return formatDouble(v.f)
	case List:
		return strings.Join(v.list, ",")
	default:
		return v.s
	}
}

// ValueError is a value that its definition refuses. Its text is the one that
// Kafka's brokers answer.
type ValueError struct {
	Name, Value, Reason string
	text                string // overrides the usual form
}

func (e *ValueError) Error() string {
	if e.text != "" {
		return e.text
	}
	s := "Invalid value " + e.Value + " for configuration " + e.Name
	if e.Reason != "" {
		s += ": " + e.Reason
	}
	return s
}

// Parse turns text into a checked value. Blanks around it do not count. The error
// is a *ValueError.
func (d *Def) Parse(text string) (Value, error) {
	v := Value{Type: d.Type}
	trimmed := strings.TrimFunc(text, javaBlank)
	var err error
	switch d.Type {
	case Boolean:
		switch {
		case strings.EqualFold(trimmed, "true"):
			v.b = true
		case !strings.EqualFold(trimmed, "false"):
			return v, &ValueError{Name: d.Name, Value: text, Reason: "Expected value to be either true or false"}
		}
	case Int:
		v.i, err = strconv.ParseInt(trimmed, 10, 32)
	case Short:
		v.i, err = strconv.ParseInt(trimmed, 10, 16)
	case Long:
		v.i, err = strconv.ParseInt(trimmed, 10, 64)
	case Double:
		v.f, err = parseDouble(trimmed)
	case List:
		v.list = splitList(trimmed)
	default:
		v.s = trimmed
	}
	if err != nil {
		return v, &ValueError{Name: d.Name, Value: text, Reason: "Not a number of type " + strings.ToUpper(d.Type.String())}
	}
	if d.Check != nil {
		if err := d.Check.check(d.Name, v); err != nil {
			return v, err
		}
		if l, ok := d.Check.(listOf); ok && l.repeats {
			v.list = unique(v.list)
		}
	}
	return v, nil
}

// unique drops the later ones of equal words.
func unique(list []string) []string {
	var out []string
	for _, s := range list {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// javaBlank is what Java's String.trim removes: everything up to the space.
func javaBlank(r rune) bool { return r <= ' ' }

func splitList(s string) []string {
	if s == "" {
		return nil
	}
	parts := strings.Split(s, ",")
	for i, p := range parts {
		parts[i] = strings.TrimSpace(p)
	}
	// Java's split drops empty strings at the end.
	for len(parts) > 0 && parts[len(parts)-1] == "" {
		parts = parts[:len(parts)-1]
	}
	return parts
}

func parseDouble(s string) (float64, error) {
	low := strings.ToLower(s)
	if strings.ContainsAny(low, "_xp") || strings.Contains(low, "inf") {
		return 0, fmt.Errorf("not a number: %q", s)
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil && math.IsInf(f, 0) {
		return f, nil // Java rounds an overflow to infinity
	}
	return f, err
}

// formatDouble writes a number as Java's Double.toString does.
func formatDouble(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	if a := math.Abs(f); a == 0 || a >= 1e-3 && a < 1e7 {
		s := strconv.FormatFloat(f, 'f', -1, 64)
		if !strings.Contains(s, ".") {
			s += ".0"
		}
		return s
	}
	mantissa, exp, _ := strings.Cut(strconv.FormatFloat(f, 'e', -1, 64), "e")
	if !strings.Contains(mantissa, ".") {
		mantissa += ".0"
	}
	n, _ := strconv.Atoi(exp) // FormatFloat always writes a decimal exponent
	return mantissa + "E" + strconv.Itoa(n)
}
