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
// brokers. Names that are in no table are accepted, as Kafka accepts them. Kafka's
// error for what is refused here is INVALID_REQUEST.
func (c *Config) ValidateBroker(values map[string]string, perBroker bool) error {
	var readOnly, single, secret []string
	names := slices.Sorted(maps.Keys(values))
	for _, name := range names {
		d := BrokerDef(name)
		switch {
		case d == nil:
		case d.Update == ReadOnly:
			readOnly = append(readOnly, name)
		case d.Update == PerBroker && !perBroker:
			single = append(single, name)
		case d.Effect == NotBuilt:
			secret = append(secret, name)
		}
	}
	for _, refused := range []struct {
		why   string
		names []string
	}{
		{"Cannot update these configs at default cluster level, broker id must be specified", single},
		{"Cannot update these configs dynamically", readOnly},
		{"These security configs can be dynamically updated only per-listener using the listener prefix", secret},
	} {
		if len(refused.names) > 0 {
			return &invalid{refused.why + ": [" + strings.Join(refused.names, ", ") + "]"}
		}
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
		if least, ok := leastDynamic[name]; ok && v.i < least {
			return &invalid{fmt.Sprintf("requirement failed: %s must be greater than or equal to %d", name, least)}
		}
	}
	return nil
}

// leastDynamic are lower bounds that Kafka holds beside its table.
var leastDynamic = map[string]int64{"log.roll.ms": 1, "log.roll.jitter.ms": 0}

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
	rest = strings.TrimPrefix(rest, "num.") // streams.num.standby.replicas has group.streams.max.standby.replicas
	lo, hasLo := c.values["group."+kind+".min."+rest]
	hi, hasHi := c.values["group."+kind+".max."+rest]
	if hasLo && v.i < lo.i || hasHi && v.i > hi.i {
		if hasLo && hasHi {
			return &invalid{fmt.Sprintf("%s must be in the range %d to %d inclusive.", name, lo.i, hi.i)}
		}
		return &invalid{fmt.Sprintf("%s must not exceed %d.", name, hi.i)}
	}
	return nil
}
