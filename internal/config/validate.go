package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// ErrInvalid marks a change of settings that is refused. Kafka's error for it is
// INVALID_CONFIG, its message the text of the error.
var ErrInvalid = errors.New("invalid configuration")

type invalid struct{ text string }

func (e *invalid) Error() string        { return e.text }
func (e *invalid) Is(target error) bool { return target == ErrInvalid }

// Is makes every refused value an ErrInvalid.
func (e *ValueError) Is(target error) bool { return target == ErrInvalid }

// ValidateTopic checks all overrides that a topic is to have, as AlterConfigs and
// CreateTopics do. The error is an ErrInvalid with Kafka's message.
func (c *Config) ValidateTopic(overrides map[string]string) error {
	names := slices.Sorted(maps.Keys(overrides))
	for _, name := range names {
		if Lookup(ScopeTopic, name) == nil {
			return &invalid{"Unknown topic config name: " + name}
		}
	}
	for _, name := range names {
		d := Lookup(ScopeTopic, name)
		v, err := d.Parse(overrides[name])
		if err != nil {
			return err
		}
		if d.Effect == NotBuilt && v.Text() != d.Default {
			return &invalid{notBuiltText(d)}
		}
	}
	t := c.ResolveTopic(overrides)
	if t.MinCompactionLagMs > t.MaxCompactionLagMs {
		return &invalid{fmt.Sprintf("conflict topic config setting min.compaction.lag.ms (%d) > max.compaction.lag.ms (%d)",
			t.MinCompactionLagMs, t.MaxCompactionLagMs)}
	}
	return nil
}

func notBuiltText(d *Def) string {
	if d.Name == "remote.storage.enable" {
		return "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage."
	}
	return fmt.Sprintf("%s is not built yet; the only value is %s", d.Name, d.Default)
}

// ValidateBroker checks dynamic values for one broker (perBroker) or for all
// brokers. Names that are in no table are accepted, as Kafka accepts them.
func (c *Config) ValidateBroker(values map[string]string, perBroker bool) error {
	var readOnly, single []string
	names := slices.Sorted(maps.Keys(values))
	for _, name := range names {
		d := BrokerDef(name)
		switch {
		case d == nil:
		case d.Update == ReadOnly:
			readOnly = append(readOnly, name)
		case d.Update == PerBroker && !perBroker:
			single = append(single, name)
		}
	}
	if len(readOnly) > 0 {
		return &invalid{"Cannot update these configs dynamically: Set(" + strings.Join(readOnly, ", ") + ")"}
	}
	if len(single) > 0 {
		return &invalid{"Cannot update these configs at default cluster level, broker id must be specified: Set(" + strings.Join(single, ", ") + ")"}
	}
	for _, name := range names {
		d := BrokerDef(name)
		if d == nil {
			continue
		}
		v, err := d.Parse(values[name])
		if err != nil {
			return err
		}
		if d.Effect == NotBuilt && v.Text() != d.defaultValue().Text() {
			return &invalid{notBuiltText(d)}
		}
	}
	return nil
}

// ValidateGroup checks all overrides that a group is to have.
func (c *Config) ValidateGroup(overrides map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(overrides)) {
		d := Lookup(ScopeGroup, name)
		if d == nil {
			return &invalid{"Unknown group config name: " + name}
		}
		v, err := d.Parse(overrides[name])
		if err != nil {
			return err
		}
		if err := c.groupLimits(name, v); err != nil {
			return err
		}
	}
	return nil
}

// groupLimits holds a group's value between the broker's group.<kind>.min.* and
// group.<kind>.max.* settings.
func (c *Config) groupLimits(name string, v Value) error {
	kind, rest, _ := strings.Cut(name, ".")
	lo, hi := "group."+kind+".min."+rest, "group."+kind+".max."+rest
	if d, ok := c.values[lo]; ok && v.i < d.i {
		return &invalid{fmt.Sprintf("%s must be greater than or equal to %s", name, lo)}
	}
	if d, ok := c.values[hi]; ok && v.i > d.i {
		return &invalid{fmt.Sprintf("%s must be less than or equal to %s", name, hi)}
	}
	return nil
}
