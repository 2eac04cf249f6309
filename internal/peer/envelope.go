package peer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/transport"
)

// Envelope is a client's request on its way to the controller, with who asked and from
// where (KIP-590): the controller authorises it as if the client were there.
type Envelope struct {
	Request *kmsg.EnvelopeRequest
	inner   *transport.Frame
}

// Principal is who asks, as Kafka's DefaultPrincipalData has it.
type Principal struct {
	Type, Name         string
	TokenAuthenticated bool
}

// ParsePrincipal reads "User:name".
func ParsePrincipal(s string) (Principal, error) {
	kind, name, ok := strings.Cut(s, ":")
	if !ok || kind == "" {
		return Principal{}, fmt.Errorf("principal %q is not type:name", s)
	}
	return Principal{Type: kind, Name: name}, nil
}

func (p Principal) String() string { return p.Type + ":" + p.Name }

// Wrap makes the envelope of a request that a client sent, in the version that is set in it.
func Wrap(req kmsg.Request, clientID string, who Principal, from netip.Addr) (*Envelope, error) {
	f, err := transport.Encode(clientID, req)
	if err != nil {
		return nil, err
	}
	r := kmsg.NewPtrEnvelopeRequest()
	r.RequestData = f.Bytes()[4:] // header and body, without the size
	r.RequestPrincipal = who.encode()
	r.ClientHostAddress = from.Unmap().AsSlice()
	return &Envelope{Request: r, inner: f}, nil
}

// Open takes the client's response out of the envelope's. The envelope's own error, such
// as NOT_CONTROLLER, is one of kerr.
func (e *Envelope) Open(resp *kmsg.EnvelopeResponse) (kmsg.Response, error) {
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return nil, err
	}
	b := resp.ResponseData
	if len(b) < 4 || binary.BigEndian.Uint32(b) != 0 { // the correlation id that Encode set
		return nil, fmt.Errorf("envelope: %w: correlation id", transport.ErrProtocol)
	}
	return e.inner.Decode(b[4:])
}

// Opened is what the controller finds in an envelope.
type Opened struct {
	Frame []byte // the client's request: header and body, a view of the envelope
	Who   Principal
	From  netip.Addr
}

// OpenRequest reads an envelope.
func OpenRequest(r *kmsg.EnvelopeRequest) (o Opened, err error) {
	if o.Who, err = decodePrincipal(r.RequestPrincipal); err != nil {
		return Opened{}, err
	}
	from, ok := netip.AddrFromSlice(r.ClientHostAddress)
	if !ok {
		return Opened{}, fmt.Errorf("envelope: a client's address of %d bytes", len(r.ClientHostAddress))
	}
	return Opened{Frame: r.RequestData, Who: o.Who, From: from}, nil
}

func (p Principal) encode() []byte {
	d := kmsg.DefaultPrincipalData{Type: p.Type, Name: p.Name, TokenAuthenticated: p.TokenAuthenticated}
	return d.AppendTo(nil)
}

var errPrincipal = errors.New("envelope: malformed principal")

// decodePrincipal reads DefaultPrincipalData of version 0 behind its version, and
// ignores tagged fields. kmsg would count to any number of those.
func decodePrincipal(b []byte) (p Principal, err error) {
	if len(b) < 2 {
		return p, errPrincipal
	}
	if v := binary.BigEndian.Uint16(b); v != 0 {
		return p, fmt.Errorf("envelope: principal of version %d", v)
	}
	b = b[2:]
	for _, s := range []*string{&p.Type, &p.Name} {
		n, used := binary.Uvarint(b) // length and 1; 0 is null
		if used <= 0 || n == 0 || n-1 > uint64(len(b)-used) {
			return Principal{}, errPrincipal
		}
		b = b[used:]
		*s, b = string(b[:n-1]), b[n-1:]
	}
	if len(b) < 2 || b[0] > 1 {
		return Principal{}, errPrincipal
	}
	p.TokenAuthenticated = b[0] == 1
	return p, nil
}
