package api

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// Door is a kind of listener. What is asked at the other kind than a handler's is not
// told apart from what nobody has built.
type Door uint8

// The doors; a handler may stand at both.
const (
	// ClientDoor is every listener but that of the controllers: clients, and brokers
	// that fetch.
	ClientDoor Door = 1 << iota
	// ControllerDoor is the CONTROLLER listener: brokers that speak with the controller,
	// requests that they forward, administration of controllers (KIP-919), and the
	// requests between nodes that are our own (package nodewire).
	ControllerDoor
)

func (c *Conn) door() Door {
	if c.Controller {
		return ControllerDoor
	}
	return ClientDoor
}

// controllerVersions are the versions of the keys that stand at the controllers' door
// only, where kversion's release for brokers has none.
var controllerVersions = map[kmsg.Key][2]int16{
	kmsg.AlterPartition:       {2, 3},
	kmsg.Envelope:             {0, 0},
	kmsg.BrokerRegistration:   {0, 4},
	kmsg.BrokerHeartbeat:      {0, 2},
	kmsg.AllocateProducerIDs:  {0, 0},
	kmsg.AssignReplicasToDirs: {0, 0},
	kmsg.UpdateRaftVoter:      {0, 0},
}

// kafka is the release whose version ranges we advertise.
var kafka = kversion.V4_4_0()

// minVersions are the lowest versions that Kafka still speaks (KIP-896, KAFKA-18659,
// KAFKA-19444); keys that are absent start at 0.
var minVersions = map[kmsg.Key]int16{
	kmsg.Fetch: 4, kmsg.ListOffsets: 1, kmsg.OffsetCommit: 2, kmsg.OffsetFetch: 1,
	kmsg.CreateTopics: 2, kmsg.DeleteTopics: 1, kmsg.OffsetForLeaderEpoch: 2,
	kmsg.DescribeConfigs: 1, kmsg.DescribeLogDirs: 1,
}

// versionRange is the range that Kafka speaks of a key.
func versionRange(h *Handler) (lowest, highest int16) {
	if v, ok := controllerVersions[h.Key]; ok && h.Doors == ControllerDoor {
		return v[0], v[1]
	}
	highest, ok := kafka.LookupMaxKeyVersion(h.Key.Int16())
	if !ok {
		panic(fmt.Sprintf("api: %s is no key of the release we follow", h.Key.Name()))
	}
	return minVersions[h.Key], highest
}
