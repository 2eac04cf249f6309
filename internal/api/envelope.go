package api

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/machine"
	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/wire"
)

// Envelope, key 58: a client's request that another broker forwards to the controller
// (KIP-590). It is run as if the client had sent it to this node: its principal and its
// address are those of the envelope, and the answer is the envelope's.
var _ = register(Handler{
	Key: kmsg.Envelope, Doors: ControllerDoor, Early: true,
	Needs:  fromBrokers,
	Handle: handleEnvelope,
})

func handleEnvelope(s *Server, r *Request) {
	req := r.Msg.(*kmsg.EnvelopeRequest)
	failed := func(code *kerr.Error) {
		resp := kmsg.NewPtrEnvelopeResponse()
		resp.ErrorCode = code.Code
		r.Reply(resp)
	}
	if !s.onCluster(r, kmsg.ACLOperationClusterAction) {
		failed(kerr.ClusterAuthorizationFailed)
		return
	}
	principal, err := readPrincipal(req.RequestPrincipal)
	if err != nil {
		failed(kerr.PrincipalDeserializationFailure)
		return
	}
	h, _, err := wire.ParseHeader(req.RequestData)
	if err != nil {
		failed(kerr.InvalidRequest)
		return
	}
	if handler := handlers[h.Key]; handler == nil || !handler.Forward {
		failed(kerr.InvalidRequest)
		return
	}
	from := *r.Conn
	from.Principal, from.charged = principal, 0
	from.Remote = &net.TCPAddr{IP: net.IP(append([]byte(nil), req.ClientHostAddress...))}
	inner := new(Request)
	v := s.Serve(&from, req.RequestData, inner, func(a Answer) {
		if a == nil {
			r.ReplyNone()
			return
		}
		// The committed image that the answer was made with, or a later one: the broker
		// that forwards waits for it, so that its client meets what it has changed.
		index := s.Image().Index()
		r.ReplyLater(func() kmsg.Response {
			resp := enveloped(inner, a())
			resp.UnknownTags.Set(imageTag, binary.BigEndian.AppendUint64(nil, uint64(index)))
			return resp
		})
	})
	if v.Err != nil {
		failed(kerr.UnsupportedVersion)
		return
	}
	r.OnCancel(inner.Cancel)
}

// enveloped puts the answer of the request within into the envelope's.
func enveloped(inner *Request, out Output) *kmsg.EnvelopeResponse {
	resp := kmsg.NewPtrEnvelopeResponse()
	for _, p := range out.Pieces {
		resp.ResponseData = append(resp.ResponseData, p.Bytes...)
	}
	if out.Release != nil {
		out.Release()
	}
	switch {
	case inner.misled:
		resp.ResponseData, resp.ErrorCode = nil, kerr.NotController.Code
	case out.Close || len(resp.ResponseData) < 4:
		resp.ResponseData, resp.ErrorCode = nil, kerr.InvalidRequest.Code
	default:
		resp.ResponseData = resp.ResponseData[4:] // without the size
	}
	return resp
}

// imageTag is a tagged field of an EnvelopeResponse: the log index of the controller's
// committed image. Kafka would skip the field.
const imageTag = 20_000

// ImageIndex is the log index that an answer to what was forwarded stands for; 0 when it
// does not say.
func ImageIndex(resp *kmsg.EnvelopeResponse) (index int64) {
	resp.UnknownTags.Each(func(tag uint32, b []byte) {
		if tag == imageTag && len(b) == 8 {
			index = int64(binary.BigEndian.Uint64(b))
		}
	})
	return index
}

// errNoForward says that a request is none that brokers forward.
var errNoForward = errors.New("not a request that is forwarded")

// Forwarding is a request of Server.Controller on its way to the controller of another
// node.
type Forwarding struct {
	Envelope *kmsg.EnvelopeRequest
	inner    kmsg.Request
}

// Forward packs a request of this node, *metadata.Request or *metadata.AutoCreateTopics,
// into an Envelope. What a broker asks for itself is sent as it is.
func Forward(req any) (*Forwarding, error) {
	var who metadata.Context
	f := &Forwarding{Envelope: kmsg.NewPtrEnvelopeRequest()}
	switch req := req.(type) {
	case *metadata.Request:
		who, f.inner = req.Context, req.Req
	case *metadata.AutoCreateTopics:
		who, f.inner = req.Context, packAutoCreate(req.Names)
	default:
		return nil, fmt.Errorf("%w: %T", errNoForward, req)
	}
	if h := handlers[f.inner.Key()]; h == nil || !h.Forward {
		return nil, fmt.Errorf("%w: %s", errNoForward, kmsg.NameForKey(f.inner.Key()))
	}
	f.Envelope.RequestData = kmsg.NewRequestFormatter(kmsg.FormatterClientID(who.ClientID)).AppendRequest(nil, f.inner, 0)[4:]
	f.Envelope.RequestPrincipal = appendPrincipal(nil, who.Principal)
	if ip := net.ParseIP(who.Address); ip != nil {
		if ip4 := ip.To4(); ip4 != nil {
			ip = ip4
		}
		f.Envelope.ClientHostAddress = ip
	}
	return f, nil
}

// Answer is the answer to what was forwarded: machine.ErrNotLeader when it met a node
// whose controller is not the active one.
func (f *Forwarding) Answer(resp *kmsg.EnvelopeResponse) (kmsg.Response, error) {
	if err := kerr.TypedErrorForCode(resp.ErrorCode); err == kerr.NotController {
		return nil, machine.ErrNotLeader
	} else if err != nil {
		return nil, err
	}
	out := f.inner.ResponseKind()
	out.SetVersion(f.inner.GetVersion())
	body := resp.ResponseData
	head := 4
	if out.IsFlexible() {
		head = 5 // no tagged fields
	}
	if len(body) < head {
		return nil, fmt.Errorf("answer to a forwarded request: %w", wire.ErrShort)
	}
	if err := out.ReadFrom(body[head:]); err != nil {
		return nil, fmt.Errorf("answer to a forwarded request: %w", err)
	}
	return out, nil
}

// A principal is "User:name". Between brokers it travels as Kafka's
// DefaultPrincipalData: version, type, name, whether a token authenticated it.

func appendPrincipal(dst []byte, principal string) []byte {
	kind, name := "User", principal
	for i := range len(principal) {
		if principal[i] == ':' {
			kind, name = principal[:i], principal[i+1:]
			break
		}
	}
	dst = binary.BigEndian.AppendUint16(dst, 0)
	dst = kbin.AppendCompactString(dst, kind)
	dst = kbin.AppendCompactString(dst, name)
	return append(dst, 0, 0)
}

var errPrincipal = errors.New("no principal")

func readPrincipal(b []byte) (string, error) {
	r := kbin.Reader{Src: b}
	version, kind, name := r.Int16(), r.CompactString(), r.CompactString()
	r.Bool()
	if err := r.Complete(); err != nil || version != 0 || kind == "" {
		return "", errPrincipal
	}
	return kind + ":" + name, nil
}

// autoTag marks a CreateTopics that another broker sends for topics that their first
// use creates; Kafka would skip the field.
const autoTag = 20_000

func packAutoCreate(names []string) *kmsg.CreateTopicsRequest {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version = req.MaxVersion()
	for _, name := range names {
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = name, -1, -1
		req.Topics = append(req.Topics, t)
	}
	req.UnknownTags.Set(autoTag, nil)
	return req
}

// autoCreates says whether a request is one of packAutoCreate.
func autoCreates(r *Request, req *kmsg.CreateTopicsRequest) (auto bool) {
	req.UnknownTags.Each(func(tag uint32, _ []byte) { auto = auto || tag == autoTag })
	return auto && r.Conn.Controller
}
