package nodewire

import (
	"encoding/binary"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Tagged fields of Leat in Kafka's messages, for its own tools. Who does not know them
// skips them (KIP-482).

// softwareTag is a field of an ApiVersionsResponse: the version of this software, as text
// (decision 0007).
const softwareTag = 20_000

// maxSoftware is the most bytes of a version that are taken from an answer.
const maxSoftware = 64

// SetSoftware has an answer tell the node's version, if it knows one.
func SetSoftware(resp *kmsg.ApiVersionsResponse, version string) {
	if version != "" {
		resp.UnknownTags.Set(softwareTag, []byte(version))
	}
}

// Software is the version of Leat that a node tells of itself; "" when it does not, and
// where it is no Leat.
func Software(resp *kmsg.ApiVersionsResponse) (version string) {
	resp.UnknownTags.Each(func(tag uint32, b []byte) {
		if tag == softwareTag && len(b) <= maxSoftware && utf8.Valid(b) {
			version = string(b)
		}
	})
	return version
}

// creationTag is a field of a CreateTopicsRequest: bytes that tell this creation from all
// others, so that one that is sent again, as its answer was lost, is not told that the topic exists.
const creationTag = 20_001

// maxCreation is the most bytes of them.
const maxCreation = 32

// SetCreation gives a request what tells it from others.
func SetCreation(req *kmsg.CreateTopicsRequest, unique []byte) {
	req.UnknownTags.Set(creationTag, unique)
}

// Creation is what tells a request from others; nil when it has nothing that does.
func Creation(req *kmsg.CreateTopicsRequest) (unique []byte) {
	req.UnknownTags.Each(func(tag uint32, b []byte) {
		if tag == creationTag && len(b) > 0 && len(b) <= maxCreation {
			unique = b
		}
	})
	return unique
}

// incarnationTag is a field of an UnregisterBrokerRequest: the epoch of the broker as the
// node that was asked knew it, 8 bytes, so that a copy which arrives late, after the broker
// has registered anew, does not remove that.
const incarnationTag = 20_002

// SetIncarnation names the registration that is to go.
func SetIncarnation(req *kmsg.UnregisterBrokerRequest, epoch int64) {
	req.UnknownTags.Set(incarnationTag, binary.BigEndian.AppendUint64(nil, uint64(epoch)))
}

// Incarnation is the epoch of the registration that is to go; nil where any will do.
func Incarnation(req *kmsg.UnregisterBrokerRequest) (epoch *int64) {
	req.UnknownTags.Each(func(tag uint32, b []byte) {
		if tag == incarnationTag && len(b) == 8 {
			e := int64(binary.BigEndian.Uint64(b))
			epoch = &e
		}
	})
	return epoch
}
