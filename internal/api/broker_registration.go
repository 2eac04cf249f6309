package api

import (
	"encoding/binary"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/metadata"
)

// BrokerRegistration, key 62: a broker that starts becomes the one of its id and gets
// a broker epoch (KIP-631). Ours also tells which replicas have lost records that they
// had acknowledged, in a tagged field that Kafka would skip.
var _ = register(Handler{
	Key: kmsg.BrokerRegistration, Doors: ControllerDoor, Early: true,
	Needs:  fromBrokers,
	Handle: handleBrokerRegistration,
})

// lostTag is the tagged field of our own: for each lost replica the topic's id and the
// partition, 20 bytes.
const lostTag = 20_000

func handleBrokerRegistration(s *Server, r *Request) {
	failed := func(code *kerr.Error) kmsg.Response {
		resp := kmsg.NewPtrBrokerRegistrationResponse()
		resp.ErrorCode = code.Code
		return resp
	}
	if !s.onCluster(r, kmsg.ACLOperationClusterAction) {
		r.Reply(failed(kerr.ClusterAuthorizationFailed))
		return
	}
	reg, err := UnpackRegistration(r.Msg.(*kmsg.BrokerRegistrationRequest))
	if err != nil {
		r.Reply(failed(kerr.InvalidRequest))
		return
	}
	reg.Context = s.context(r)
	s.decide(r, reg, func(resp kmsg.Response) kmsg.Response { return resp }, failed)
}

// PackRegistration is a registration as it travels to the controller of another node.
func PackRegistration(reg *metadata.RegisterBroker) *kmsg.BrokerRegistrationRequest {
	req := *reg.Req
	req.UnknownTags = kmsg.Tags{}
	if len(reg.Lost) > 0 {
		b := make([]byte, 0, 20*len(reg.Lost))
		for _, tp := range reg.Lost {
			b = append(b, tp.TopicID[:]...)
			b = binary.BigEndian.AppendUint32(b, uint32(tp.Partition))
		}
		req.UnknownTags.Set(lostTag, b)
	}
	return &req
}

var errLost = errors.New("the list of lost replicas is cut")

// UnpackRegistration is a registration that came from another node.
func UnpackRegistration(req *kmsg.BrokerRegistrationRequest) (*metadata.RegisterBroker, error) {
	reg := &metadata.RegisterBroker{Req: req}
	var err error
	req.UnknownTags.Each(func(tag uint32, b []byte) {
		if tag != lostTag {
			return
		}
		if len(b)%20 != 0 {
			err = errLost
			return
		}
		reg.Lost = make([]metadata.TopicPartition, 0, len(b)/20)
		for ; len(b) > 0; b = b[20:] {
			tp := metadata.TopicPartition{Partition: int32(binary.BigEndian.Uint32(b[16:]))}
			copy(tp.TopicID[:], b)
			reg.Lost = append(reg.Lost, tp)
		}
	})
	return reg, err
}
