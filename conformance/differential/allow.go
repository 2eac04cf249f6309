package differential

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// Allowed is one entry of allow.json: differences that are meant.
type Allowed struct {
	// Where is a pattern for "scenario: API version label: path"; * stands for
	// any run of characters.
	Where string `json:"where"`
	// Kafka and Leat, if given, are patterns for the two values.
	Kafka string `json:"kafka,omitempty"`
	Leat  string `json:"leat,omitempty"`
	// Reason says why Leat differs.
	Reason string `json:"reason"`
}

// ParseAllowed reads allow.json.
func ParseAllowed(b []byte) ([]Allowed, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var list []Allowed
	if err := d.Decode(&list); err != nil {
		return nil, err
	}
	for i, a := range list {
		if a.Where == "" || a.Reason == "" {
			return nil, fmt.Errorf("entry %d (%q): where and reason are both needed", i, a.Where)
		}
	}
	return list, nil
}

// Split takes the allowed differences out of diffs. It returns what is left and
// the entries that allowed nothing.
func Split(diffs []Difference, allowed []Allowed) (left []Difference, unused []Allowed) {
	used := make([]bool, len(allowed))
	for _, d := range diffs {
		ok := false
		for i, a := range allowed {
			if a.matches(d) {
				used[i], ok = true, true
			}
		}
		if !ok {
			left = append(left, d)
		}
	}
	for i, a := range allowed {
		if !used[i] {
			unused = append(unused, a)
		}
	}
	return left, unused
}

func (a Allowed) matches(d Difference) bool {
	return glob(a.Where, d.Where()) &&
		(a.Kafka == "" || glob(a.Kafka, d.Kafka)) &&
		(a.Leat == "" || glob(a.Leat, d.Leat))
}

// glob matches s against a pattern in which * stands for any run of characters.
func glob(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == s
	}
	first, last := parts[0], parts[len(parts)-1]
	if !strings.HasPrefix(s, first) {
		return false
	}
	s = s[len(first):]
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s = s[i+len(part):]
	}
	return strings.HasSuffix(s, last)
}
