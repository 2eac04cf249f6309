package config

import (
	"iter"
	"sync"
)

// Type is a setting's type, numbered as DescribeConfigs numbers them.
type Type int8

// The types of Kafka's settings. Short and Int are both read with Config.Int.
const (
	Boolean Type = iota + 1
	String
	Int
	Short
	Long
	Double
	List
	Class
	Password
)

var typeNames = [...]string{"unknown", "boolean", "string", "int", "short", "long", "double", "list", "class", "password"}

// String is the type's name as Kafka's documentation writes it.
func (t Type) String() string {
	if t < 0 || int(t) >= len(typeNames) {
		return typeNames[0]
	}
	return typeNames[t]
}

// Scope is what a setting belongs to.
type Scope int8

// The scopes. One name may be defined in several of them.
const (
	ScopeBroker Scope = iota
	ScopeTopic
	ScopeGroup
	ScopeClientMetrics
)

// String names the scope.
func (s Scope) String() string {
	return [...]string{"broker", "topic", "group", "client-metrics"}[s]
}

// Update is how a broker setting may be changed while the broker runs.
type Update int8

// The update modes of broker settings; topic and group settings can always be changed.
const (
	ReadOnly Update = iota
	PerBroker
	ClusterWide
)

// String names the mode as Kafka's documentation does.
func (u Update) String() string {
	return [...]string{"read-only", "per-broker", "cluster-wide"}[u]
}

// Effect is what Leat does with a setting.
type Effect int8

const (
	// Built settings do what their documentation says.
	Built Effect = iota
	// NoEffect settings are accepted, checked and reported back, and change
	// nothing; their documentation says why.
	NoEffect
	// NotBuilt settings stop the start when they are given another value than
	// their default, since ignoring them would be unsafe.
	NotBuilt
)

// Synonym is a broker setting from which another one takes its value when it has
// none of its own. The value is multiplied by Scale (units), unless Scale is 0.
type Synonym struct {
	Name  string
	Scale int64
}

// Def defines one setting.
type Def struct {
	Name  string
	Scope Scope
	Type  Type
	// Default in Kafka's text form. Null means that there is none.
	Default string
	Null    bool
	// Check bounds the value; nil allows every value of the type.
	Check Check
	// Update is how a broker setting may change at run time.
	Update Update
	// Synonyms of a topic setting: the broker settings that it falls back to,
	// strongest first. Of a broker setting: all names of the same thing, itself
	// included, strongest first; nil when there is only the one.
	Synonyms []Synonym
	// Internal settings are accepted and work, and are neither listed nor, unless they are
	// given, described.
	Internal bool
	Effect   Effect
	// Doc is one or more sentences of plain text.
	Doc string
	// Difference says how Leat departs from Kafka here; "" when it does not.
	Difference string
}

// Sensitive tells whether the value is never shown.
func (d *Def) Sensitive() bool { return d.Type == Password }

func (d *Def) defaultValue() Value {
	if d.Null {
		return Value{Type: d.Type, Null: true}
	}
	v, err := d.Parse(d.Default)
	if err != nil {
		return Value{Type: d.Type, Null: true} // a test parses every default
	}
	return v
}

type index struct {
	byScope [4]map[string]*Def
	byEnv   map[string]string // environment variable -> broker setting
}

var indexOnce = sync.OnceValue(func() *index {
	x := &index{byEnv: map[string]string{}}
	for s := range x.byScope {
		x.byScope[s] = map[string]*Def{}
	}
	for i := range Table {
		d := &Table[i]
		x.byScope[d.Scope][d.Name] = d
		if d.Scope == ScopeBroker {
			x.byEnv[EnvName(d.Name)] = d.Name
		}
	}
	return x
})

// dynamicOnly tells of the settings that Kafka defines apart from its others
// (DynamicConfig): they are described where they are given, and without a default.
func (d *Def) dynamicOnly() bool { return d.Internal && d.Update == PerBroker }

// Lookup finds a definition; nil when there is none.
func Lookup(scope Scope, name string) *Def { return indexOnce().byScope[scope][name] }

// BrokerDef finds a broker setting; nil when there is none.
func BrokerDef(name string) *Def { return Lookup(ScopeBroker, name) }

// Defs iterates over the settings of a scope that are not internal, by name.
func Defs(scope Scope) iter.Seq[*Def] {
	return func(yield func(*Def) bool) {
		for i := range Table {
			if d := &Table[i]; d.Scope == scope && !d.Internal && !yield(d) {
				return
			}
		}
	}
}

// brokerGroup is every name of the same broker setting, strongest first.
func brokerGroup(name string) []string {
	d := BrokerDef(name)
	if d == nil || d.Synonyms == nil {
		return []string{name}
	}
	names := make([]string, len(d.Synonyms))
	for i, s := range d.Synonyms {
		names[i] = s.Name
	}
	return names
}

// Table is every setting, sorted by scope and name. It is read only.
var Table = makeTable()
