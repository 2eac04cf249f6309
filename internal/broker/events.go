package broker

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/group"
	"github.com/leat-stream/leat/internal/machine"
	"github.com/leat-stream/leat/internal/metadata"
)

// event writes one notable thing to the log: its text, and its type for who filters.
// Typed events come from the packages that know (log.Event, group.Event) and from here.
func (b *Broker) event(level slog.Level, e fmt.Stringer) {
	_, name, _ := strings.Cut(fmt.Sprintf("%T", e), ".")
	b.log.Log(context.Background(), level, e.String(), "event", name)
}

// groupEffect takes what a coordinator tells.
func (b *Broker) groupEffect(shard string, _ int32, e machine.Effect) {
	switch e := e.(type) {
	case group.Event:
		b.event(slog.LevelInfo, e)
	case group.MembersHold:
		b.members.Hold(shard, e.Bytes)
	}
}

// TopicCreated tells that a topic is in the committed metadata.
type TopicCreated struct {
	Topic       *metadata.Topic
	Replication int
}

func (e TopicCreated) String() string {
	return fmt.Sprintf("topic %s created: id %s, partitions %d, replication factor %d",
		e.Topic.Name, metadata.UUIDString(e.Topic.ID), len(e.Topic.Partitions), e.Replication)
}

// TopicDeleted tells that a topic is out of the committed metadata.
type TopicDeleted struct{ Topic *metadata.Topic }

func (e TopicDeleted) String() string {
	return fmt.Sprintf("topic %s deleted: id %s, partitions %d", e.Topic.Name, metadata.UUIDString(e.Topic.ID), len(e.Topic.Partitions))
}

// PartitionsAdded tells that a topic has grown.
type PartitionsAdded struct {
	Topic    string
	From, To int
}

func (e PartitionsAdded) String() string {
	return fmt.Sprintf("topic %s has %d partitions, %d before", e.Topic, e.To, e.From)
}

// ConfigAltered tells which configs of a resource have changed.
type ConfigAltered struct {
	Resource metadata.Resource
	Old, New map[string]string
}

func (e ConfigAltered) String() string {
	kind, scope := "topic", config.ScopeTopic
	switch e.Resource.Type {
	case metadata.ResourceTopic:
	case metadata.ResourceBroker:
		kind, scope = "broker", config.ScopeBroker
	case metadata.ResourceGroup:
		kind, scope = "group", config.ScopeGroup
	default:
		kind = fmt.Sprintf("resource of type %d", e.Resource.Type)
	}
	show := func(name, value string) string {
		if d := config.Lookup(scope, name); d == nil || d.Sensitive() {
			return name + " (not shown)"
		}
		return name + "=" + value
	}
	all := maps.Clone(e.Old)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, e.New)
	var changes []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		was, had := e.Old[name]
		is, has := e.New[name]
		switch {
		case !has:
			changes = append(changes, name+" unset")
		case !had || was != is:
			changes = append(changes, show(name, is))
		}
	}
	name := e.Resource.Name
	if name == "" {
		name = "default"
	}
	return fmt.Sprintf("config of %s %s altered: %s", kind, name, strings.Join(changes, ", "))
}

// metadataEvents tells what a committed change of the metadata means to an operator.
func (b *Broker) metadataEvents(from, to *metadata.Image, delta *metadata.Delta) {
	told := map[string]bool{} // topics whose configs are no news
	for _, c := range delta.Topics {
		switch {
		case c.Old == nil:
			told[c.New.Name] = true
			b.event(slog.LevelInfo, TopicCreated{c.New, c.New.ReplicationFactor()})
		case c.New == nil:
			told[c.Old.Name] = true
			b.event(slog.LevelInfo, TopicDeleted{c.Old})
		case len(c.New.Partitions) > len(c.Old.Partitions):
			b.event(slog.LevelInfo, PartitionsAdded{c.New.Name, len(c.Old.Partitions), len(c.New.Partitions)})
		}
	}
	for _, r := range delta.Configs {
		if r.Type == metadata.ResourceTopic && told[r.Name] {
			continue
		}
		b.event(slog.LevelInfo, ConfigAltered{r, from.Config(r.Type, r.Name), to.Config(r.Type, r.Name)})
	}
}

// ListenerOpen tells that a listener takes connections.
type ListenerOpen struct{ Listening }

func (e ListenerOpen) String() string {
	return fmt.Sprintf("listener %s takes connections at %s", e.Name, e.Address)
}

// Stopped tells the end of an orderly stop.
type Stopped struct {
	Took time.Duration
	Err  error
}

func (e Stopped) String() string {
	s := fmt.Sprintf("stopped in %v", e.Took.Round(time.Millisecond))
	if e.Err != nil {
		s += ", not cleanly" // why is told by whom Close tells
	}
	return s
}
