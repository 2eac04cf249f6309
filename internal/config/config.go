// Package config is the table of settings and their loading: every setting that
// Leat knows, under Kafka's name, with type, default, bounds, update mode and
// documentation, and the rules by which a file, the environment, the command line
// and the dynamic values of the cluster become one resolved set.
//
// Invariants: the package is free of side effects (it reads what it is handed and
// nothing else) and imports the standard library only; the table is never changed
// after the program's start; a *Config is immutable; every value inside a *Config
// has passed its definition's check, so that a typed getter cannot fail.
//
// Where to look: def.go the shape of a setting, table_*.go the settings, names.go
// the typed names, check.go the bounds, load.go the sources and their precedence,
// listeners.go addresses, topic.go the settings of one topic, describe.go what
// DescribeConfigs answers, validate.go what AlterConfigs refuses, markdown.go the
// reference page.
package config

import (
	"maps"
	"slices"
	"time"
)

// Config is one broker's resolved settings. It is immutable.
type Config struct {
	static  map[string]setting // given by file, environment or command line
	unknown map[string]string  // given, but in no table
	broker  map[string]string  // dynamic, of this broker
	cluster map[string]string  // dynamic, of all brokers
	values  map[string]Value   // effective value of every broker setting
	listens []Listener
	adverts map[string]Endpoint // by listener name
	dataDir string
	inter   string  // name of the listener that other brokers use
	voters  []Voter // controllers that are listed; ID -1 where it is not told
	setting string  // where voters come from
}

// setting is a value and where it was given.
type setting struct {
	text  string
	where string // "server.properties line 3", "LEAT_NODE_ID", "--set"
	layer int    // strength of the source; stronger ones win
}

// Bool is the value of a boolean setting.
func (c *Config) Bool(name BoolName) bool { return c.values[string(name)].b }

// Int is the value of a setting of type int or short; 0 when it is null.
func (c *Config) Int(name IntName) int { return int(c.values[string(name)].i) }

// Long is the value of a setting of type long; 0 when it is null.
func (c *Config) Long(name LongName) int64 { return c.values[string(name)].i }

// Double is the value of a setting of type double.
func (c *Config) Double(name DoubleName) float64 { return c.values[string(name)].f }

// String is the value of a setting of type string, class or password; "" when it is null.
func (c *Config) String(name StringName) string { return c.values[string(name)].s }

// List is the value of a setting of type list; nil when it is null or empty.
func (c *Config) List(name ListName) []string {
	return slices.Clone(c.values[string(name)].list)
}

// Millis is a setting in milliseconds (its name ends in .ms) as a duration; -1 and
// other negative values stay negative.
func Millis[N IntName | LongName](c *Config, name N) time.Duration {
	ms := c.values[string(name)].i
	const most = int64(1<<63-1) / int64(time.Millisecond)
	return time.Duration(min(ms, most)) * time.Millisecond
}

// Lookup is the effective value of a broker setting by its name, in Kafka's text
// form; ok is false for a name that is not in the table.
func (c *Config) Lookup(name string) (v Value, ok bool) {
	v, ok = c.values[name]
	return v, ok
}

// IsSet tells whether the setting, or another name of it, was given by a file,
// the environment, the command line or dynamically, rather than by default.
func (c *Config) IsSet(name string) bool {
	for _, n := range brokerGroup(name) {
		_, a := c.static[n]
		_, b := c.broker[n]
		_, d := c.cluster[n]
		if a || b || d {
			return true
		}
	}
	return false
}

// DataDir is the one directory for all data: log.dirs, log.dir or LEAT_DATA, as
// given (it may be relative to the working directory).
func (c *Config) DataDir() string { return c.dataDir }

// GroupInitialRebalanceDelay is how long the first join of an empty classic group
// waits for further members: group.initial.rebalance.delay.ms when it is given,
// else nothing on a single broker and Kafka's three seconds on several.
func (c *Config) GroupInitialRebalanceDelay(brokers int) time.Duration {
	if brokers <= 1 && !c.IsSet(string(GroupInitialRebalanceDelayMs)) {
		return 0
	}
	return Millis(c, GroupInitialRebalanceDelayMs)
}

// WithDynamic is the configuration under the cluster's dynamic values: those of
// this broker and those of all brokers. A value that is no longer valid is left
// out and reported, so that an old record can never stop a broker.
func (c *Config) WithDynamic(broker, cluster map[string]string) (*Config, []Warning) {
	next := *c
	var warns []Warning
	next.broker, warns = dynamicValues(broker, warns)
	next.cluster, warns = dynamicValues(cluster, warns)
	next.values = resolve(next.static, next.cluster, next.broker)
	return &next, warns
}

func dynamicValues(in map[string]string, warns []Warning) (map[string]string, []Warning) {
	out := make(map[string]string, len(in))
	for _, name := range slices.Sorted(maps.Keys(in)) {
		if d := BrokerDef(name); d != nil {
			if _, err := d.Parse(in[name]); err != nil {
				warns = append(warns, Warning{Kind: Ignored, Name: name,
					Text: "dynamic value ignored: " + err.Error()})
				continue
			}
		}
		out[name] = in[name]
	}
	return out, warns
}

// resolve computes the effective value of every broker setting. The values were
// checked when they were taken in.
func resolve(static map[string]setting, cluster, broker map[string]string) map[string]Value {
	values := make(map[string]Value, len(Table))
	for i := range Table {
		d := &Table[i]
		if d.Scope != ScopeBroker {
			continue
		}
		text, ok := broker[d.Name]
		if !ok {
			text, ok = cluster[d.Name]
		}
		if !ok {
			var s setting
			s, ok = static[d.Name]
			text = s.text
		}
		if !ok {
			values[d.Name] = d.defaultValue()
			continue
		}
		v, err := d.Parse(text)
		if err != nil {
			v = d.defaultValue()
		}
		values[d.Name] = v
	}
	return values
}
