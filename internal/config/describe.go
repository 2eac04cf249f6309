package config

import (
	"maps"
	"slices"
)

// Source is where a value comes from, numbered as DescribeConfigs numbers it.
type Source int8

// The sources, strongest first for topics and brokers.
const (
	SourceTopic         Source = 1
	SourceBroker        Source = 2 // dynamic, of this broker
	SourceDefaultBroker Source = 3 // dynamic, of all brokers
	SourceStatic        Source = 4
	SourceDefault       Source = 5
	SourceClientMetrics Source = 7
	SourceGroup         Source = 8
)

// EntrySynonym is one of the values that a setting would take in turn.
type EntrySynonym struct {
	Name   string
	Value  *string // nil when there is none or it is sensitive
	Source Source
}

// Entry is all that DescribeConfigs answers of one setting.
type Entry struct {
	Name                string
	Value               *string // nil when there is none or it is sensitive
	Source              Source
	ReadOnly, Sensitive bool
	Synonyms            []EntrySynonym
	Type                Type
	Doc                 string
}

func shown(v Value) *string {
	if v.Null || v.Type == Password {
		return nil
	}
	s := v.Text()
	return &s
}

// DescribeTopic describes every setting of a topic that has the given overrides,
// by name.
func (c *Config) DescribeTopic(overrides map[string]string) []Entry {
	var entries []Entry
	for i := range Table {
		d := &Table[i]
		if d.Scope != ScopeTopic || d.Internal && !has(overrides, d.Name) {
			continue
		}
		v, own := c.topicValue(d, overrides)
		e := Entry{Name: d.Name, Value: shown(v), Type: d.Type, Doc: d.Doc, Source: SourceDefault}
		if len(d.Synonyms) > 0 {
			e.Synonyms = c.synonyms(d.Synonyms[0].Name)
		}
		if own {
			e.Synonyms = append([]EntrySynonym{{d.Name, e.Value, SourceTopic}}, e.Synonyms...)
		}
		if len(e.Synonyms) > 0 {
			e.Source = e.Synonyms[0].Source
		}
		entries = append(entries, e)
	}
	return entries
}

// DescribeBroker describes every setting of this broker, unknown names included;
// internal ones where they are given.
func (c *Config) DescribeBroker() []Entry {
	var entries []Entry
	for i := range Table {
		d := &Table[i]
		if d.Scope != ScopeBroker || d.Internal && !c.given(d.Name) {
			continue
		}
		e := Entry{Name: d.Name, Value: shown(c.values[d.Name]), Type: d.Type, Doc: d.Doc,
			ReadOnly: d.Update == ReadOnly, Sensitive: d.Sensitive(), Source: SourceDefault, Synonyms: c.synonyms(d.Name)}
		if len(e.Synonyms) > 0 {
			e.Source = e.Synonyms[0].Source
		}
		entries = append(entries, e)
	}
	return append(entries, c.describeUnknown()...)
}

// describeUnknown describes what is given and in no table. What such a name means
// is not known here, so its value may be a secret and is not shown.
func (c *Config) describeUnknown() []Entry {
	names := map[string]bool{}
	for _, m := range []map[string]string{c.unknown, c.broker, c.cluster} {
		for name := range m {
			if BrokerDef(name) == nil {
				names[name] = true
			}
		}
	}
	var entries []Entry
	for _, name := range slices.Sorted(maps.Keys(names)) {
		e := Entry{Name: name, ReadOnly: true, Sensitive: true}
		for _, l := range []struct {
			values map[string]string
			source Source
		}{{c.broker, SourceBroker}, {c.cluster, SourceDefaultBroker}, {c.unknown, SourceStatic}} {
			if has(l.values, name) {
				e.Synonyms = append(e.Synonyms, EntrySynonym{Name: name, Source: l.source})
			}
		}
		e.Source = e.Synonyms[0].Source
		entries = append(entries, e)
	}
	return entries
}

// DescribeBrokerDefaults describes the dynamic values of all brokers (the broker
// resource without a name).
func (c *Config) DescribeBrokerDefaults() []Entry {
	var entries []Entry
	for _, name := range slices.Sorted(maps.Keys(c.cluster)) {
		e := Entry{Name: name, Source: SourceDefaultBroker, Sensitive: true, ReadOnly: true}
		if d := BrokerDef(name); d != nil {
			e.Type, e.Doc, e.Sensitive = d.Type, d.Doc, d.Sensitive()
			e.ReadOnly = d.Update == ReadOnly
		}
		if !e.Sensitive {
			text := c.cluster[name]
			e.Value = &text
		}
		e.Synonyms = []EntrySynonym{{name, e.Value, SourceDefaultBroker}}
		entries = append(entries, e)
	}
	return entries
}

// DescribeGroup describes every setting of a group that has the given overrides.
func (c *Config) DescribeGroup(overrides map[string]string) []Entry {
	var entries []Entry
	for d := range Defs(ScopeGroup) {
		v, own := c.topicValue(d, overrides)
		e := Entry{Name: d.Name, Value: shown(v), Type: d.Type, Doc: d.Doc, Source: SourceDefault}
		if len(d.Synonyms) > 0 {
			e.Synonyms = c.synonyms(d.Synonyms[0].Name)
		} else {
			e.Synonyms = []EntrySynonym{{d.Name, shown(d.defaultValue()), SourceDefault}}
		}
		if own {
			e.Synonyms = append([]EntrySynonym{{d.Name, e.Value, SourceGroup}}, e.Synonyms...)
		}
		e.Source = e.Synonyms[0].Source
		entries = append(entries, e)
	}
	return entries
}

// DescribeClientMetrics describes every setting of a client metrics subscription.
func (c *Config) DescribeClientMetrics(overrides map[string]string) []Entry {
	var entries []Entry
	for d := range Defs(ScopeClientMetrics) {
		v, own := c.topicValue(d, overrides)
		e := Entry{Name: d.Name, Value: shown(v), Type: d.Type, Doc: d.Doc, Source: SourceDefault}
		if own {
			e.Source = SourceClientMetrics
			e.Synonyms = []EntrySynonym{{d.Name, e.Value, SourceClientMetrics}}
		}
		entries = append(entries, e)
	}
	return entries
}

// given tells whether a broker setting has a value beside its default.
func (c *Config) given(name string) bool {
	_, static := c.static[name]
	return static || has(c.broker, name) || has(c.cluster, name)
}

func has(m map[string]string, name string) bool { _, ok := m[name]; return ok }

// synonyms lists the values of a broker setting and its other names by strength of
// their source. As in Kafka the list begins with the setting's own name, or is
// empty when only other names have a value.
func (c *Config) synonyms(name string) []EntrySynonym {
	var all []EntrySynonym
	names := brokerGroup(name)
	add := func(source Source, value func(string) (string, bool)) {
		for _, n := range names {
			text, ok := value(n)
			if !ok {
				continue
			}
			s := EntrySynonym{Name: n, Source: source}
			if d := BrokerDef(n); d != nil && !d.Sensitive() {
				s.Value = &text
			}
			all = append(all, s)
		}
	}
	add(SourceBroker, func(n string) (string, bool) { t, ok := c.broker[n]; return t, ok })
	add(SourceDefaultBroker, func(n string) (string, bool) { t, ok := c.cluster[n]; return t, ok })
	add(SourceStatic, func(n string) (string, bool) { s, ok := c.static[n]; return s.text, ok })
	add(SourceDefault, func(n string) (string, bool) {
		d := BrokerDef(n)
		return d.Default, d != nil && !d.Null && !d.dynamicOnly()
	})
	for len(all) > 0 && all[0].Name != name {
		all = all[1:]
	}
	return all
}
