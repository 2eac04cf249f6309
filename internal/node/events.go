package node

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/group"
	"github.com/leat-stream/leat/internal/log"
	"github.com/leat-stream/leat/internal/machine"
	"github.com/leat-stream/leat/internal/metadata"
)

// event writes one notable thing to the log: its text, and its type for who filters.
// Typed events come from the packages that know (log.Event, group.Event) and from here.
func (n *Node) event(level slog.Level, e fmt.Stringer) {
	_, name, _ := strings.Cut(fmt.Sprintf("%T", e), ".")
	n.log.Log(context.Background(), level, e.String(), "event", name)
}

// groupEffect takes what a coordinator tells.
func (n *Node) groupEffect(shard string, _ int32, e machine.Effect) {
	switch e := e.(type) {
	case group.Event:
		n.event(slog.LevelInfo, e)
	case group.MembersHold:
		n.members.Hold(shard, e.Bytes)
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

// BrokerRemoved tells that a broker is out of the committed metadata.
type BrokerRemoved struct{ Broker *metadata.Broker }

func (e BrokerRemoved) String() string {
	return fmt.Sprintf("broker %d was removed from the cluster: epoch %d", e.Broker.ID, e.Broker.Epoch)
}

// controllerEffect takes what the controller tells.
func (n *Node) controllerEffect(_ string, _ int32, e machine.Effect) {
	if e, ok := e.(metadata.BrokerReturned); ok {
		n.event(slog.LevelWarn, e)
	}
}

// metadataEvents tells what a committed change of the metadata means to an operator.
func (n *Node) metadataEvents(from, to *metadata.Image, delta *metadata.Delta) {
	told := map[string]bool{} // topics whose configs are no news
	for _, c := range delta.Topics {
		switch {
		case c.Old == nil:
			told[c.New.Name] = true
			n.event(slog.LevelInfo, TopicCreated{c.New, c.New.ReplicationFactor()})
		case c.New == nil:
			told[c.Old.Name] = true
			n.event(slog.LevelInfo, TopicDeleted{c.Old})
		case len(c.New.Partitions) > len(c.Old.Partitions):
			n.event(slog.LevelInfo, PartitionsAdded{c.New.Name, len(c.Old.Partitions), len(c.New.Partitions)})
		}
	}
	for _, c := range delta.Brokers {
		if c.New == nil {
			n.event(slog.LevelInfo, BrokerRemoved{c.Old})
		}
	}
	for _, r := range delta.Configs {
		if r.Type == metadata.ResourceTopic && told[r.Name] {
			continue
		}
		n.event(slog.LevelInfo, ConfigAltered{r, from.Config(r.Type, r.Name), to.Config(r.Type, r.Name)})
	}
}

// logEvent writes one event of the log directory to the log.
func (n *Node) logEvent(e log.Event) {
	n.opening.observe(e)
	n.damageFound(e)
	if o, ok := e.(log.Opened); ok && n.opening.fresh {
		n.log.Info("log directory created", "path", o.Path)
		return
	}
	if _, ok := e.(log.WriteFailed); ok && !n.complaints.Say("writes failed") {
		return
	}
	n.event(eventLevel(e), e)
}

// eventLevel is how much an operator has to care.
func eventLevel(e log.Event) slog.Level {
	switch e.(type) {
	case log.Quarantined, log.DamageMet, log.JournalDamaged, log.DirFailed, log.CompactionFailed:
		return slog.LevelError
	case log.Truncated, log.Suspected, log.WriteFailed, log.CheckpointFailed, log.IndexRebuilt:
		return slog.LevelWarn
	case log.Rolled:
		return slog.LevelDebug
	}
	return slog.LevelInfo
}
