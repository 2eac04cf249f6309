package metadata

import "slices"

// NoLeader is the leader of a partition that has none.
const NoLeader int32 = -1

// Topic is one topic; read-only.
type Topic struct {
	Name string
	ID   [16]byte
	// Partitions are indexed by partition number.
	Partitions []*Partition
}

// Partition returns a partition by number, or nil; also on a nil topic.
func (t *Topic) Partition(index int32) *Partition {
	if t == nil || index < 0 || int(index) >= len(t.Partitions) {
		return nil
	}
	return t.Partitions[index]
}

// Internal tells whether the topic is one of the coordinators' own.
func (t *Topic) Internal() bool { return IsInternal(t.Name) }

// ReplicationFactor is the number of replicas of the first partition; 0 without partitions.
func (t *Topic) ReplicationFactor() int {
	if len(t.Partitions) == 0 {
		return 0
	}
	return len(t.Partitions[0].Replicas)
}

// Partition is one partition; read-only. Equal lists are shared between
// partitions, so that a partition takes about 100 bytes.
type Partition struct {
	Index int32
	// Leader is the broker that leads, or NoLeader. A partition with a single
	// replica keeps it as its leader while that broker is fenced, so ask
	// Image.Active before showing a leader to a client.
	Leader      int32
	LeaderEpoch int32
	// PartitionEpoch counts the changes to this partition (KIP-497).
	PartitionEpoch int32
	// Replicas are the assigned brokers, the preferred leader first.
	Replicas []int32
	// ISR are the in-sync replicas.
	ISR []int32
	// Directories are the log directory ids, one per replica; the zero id is not
	// yet known, and nil is not known for all.
	Directories [][16]byte
	// rare is nil for nearly every partition.
	rare *rarely
}

// rarely holds what few partitions have.
type rarely struct {
	elr, lastKnownELR, adding, removing []int32
	recovering                          bool
}

func (p *Partition) extra() *rarely {
	if p.rare == nil {
		return &noExtra
	}
	return p.rare
}

var noExtra rarely

// ELR are the eligible leader replicas (KIP-966): out of the ISR, but with
// everything up to the high watermark.
func (p *Partition) ELR() []int32 { return p.extra().elr }

// LastKnownELR holds the last known leader while there is none (KIP-966).
func (p *Partition) LastKnownELR() []int32 { return p.extra().lastKnownELR }

// Adding are the replicas that a reassignment is adding.
func (p *Partition) Adding() []int32 { return p.extra().adding }

// Removing are the replicas that a reassignment is removing.
func (p *Partition) Removing() []int32 { return p.extra().removing }

// Recovering tells whether the leader was elected uncleanly and has not yet
// said that it has recovered.
func (p *Partition) Recovering() bool { return p.extra().recovering }

// Counts tells whether a replica is believed to have all records: it leads, is in sync or
// eligible to lead.
func (p *Partition) Counts(broker int32) bool {
	return p.Leader == broker || slices.Contains(p.ISR, broker) || slices.Contains(p.ELR(), broker)
}

// Directory is the log directory id of a replica; zero when it is not known.
func (p *Partition) Directory(broker int32) [16]byte {
	i := slices.Index(p.Replicas, broker)
	if i < 0 || i >= len(p.Directories) {
		return [16]byte{}
	}
	return p.Directories[i]
}

// Broker is one registered broker; read-only.
type Broker struct {
	ID int32
	// Epoch is given out at registration and fences earlier incarnations.
	Epoch         int64
	IncarnationID [16]byte
	// Directories are the ids of the online log directories, sorted.
	Directories [][16]byte
	Listeners   []Listener
	Features    []FeatureRange
	Rack        *string
	// Fenced brokers are not alive, or not yet caught up.
	Fenced               bool
	InControlledShutdown bool
	// RegisteredAt is the log index of the registration.
	RegisteredAt int64
}

// Active tells whether the broker is alive and not shutting down; false for nil.
func (b *Broker) Active() bool { return b != nil && !b.Fenced && !b.InControlledShutdown }

// HasDirectory tells whether a log directory is online; the zero id, not yet
// known, counts as online.
func (b *Broker) HasDirectory(id [16]byte) bool {
	return id == [16]byte{} || slices.Contains(b.Directories, id)
}

// Listener returns the listener of a name.
func (b *Broker) Listener(name string) (Listener, bool) {
	for _, l := range b.Listeners {
		if l.Name == name {
			return l, true
		}
	}
	return Listener{}, false
}

// Listener is one advertised endpoint of a broker.
type Listener struct {
	Name string
	Host string
	Port uint16
	// SecurityProtocol is Kafka's: 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL.
	SecurityProtocol int16
}

// FeatureRange is a range of feature levels that a broker can run.
type FeatureRange struct {
	Name     string
	Min, Max int16
}
