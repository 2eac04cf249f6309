package peer

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/netip"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/transport"
	"github.com/leat-stream/leat/internal/wire"
)

// The bytes of a principal are Kafka's: version, two compact strings, a flag, no tags.
func TestPrincipalBytes(t *testing.T) {
	for _, c := range []struct {
		p   Principal
		hex string
	}{
		{Principal{"User", "ANONYMOUS", false}, "0000" + "0555736572" + "0a414e4f4e594d4f5553" + "00" + "00"},
		{Principal{"User", "", true}, "0000" + "0555736572" + "01" + "01" + "00"},
	} {
		want, _ := hex.DecodeString(c.hex)
		if got := c.p.encode(); !bytes.Equal(got, want) {
			t.Errorf("%v is %x, not %x", c.p, got, want)
		}
		if got, err := decodePrincipal(want); err != nil || got != c.p {
			t.Errorf("%x is read as %+v, %v", want, got, err)
		}
		for cut := range want[:len(want)-1] {
			if p, err := decodePrincipal(want[:cut]); err == nil {
				t.Errorf("%x is read as %+v", want[:cut], p)
			}
		}
	}
	for _, bad := range []string{"0001" + "0241" + "0241" + "0000", "000000" + "0241" + "0000", "0000ffffffffff7f", "0000" + "0241" + "0241" + "0200"} {
		b, _ := hex.DecodeString(bad)
		if p, err := decodePrincipal(b); err == nil {
			t.Errorf("%s is read as %+v", bad, p)
		}
	}
	if p, err := ParsePrincipal("User:a:b"); err != nil || p != (Principal{Type: "User", Name: "a:b"}) || p.String() != "User:a:b" {
		t.Errorf("%+v, %v", p, err)
	}
	for _, s := range []string{"", "User", ":name"} {
		if _, err := ParsePrincipal(s); err == nil {
			t.Errorf("%q is a principal", s)
		}
	}
}

func TestEnvelopeThereAndBack(t *testing.T) {
	for _, version := range []int16{2, 7} { // not flexible, flexible
		req := kmsg.NewPtrCreateTopicsRequest()
		req.Version, req.TimeoutMillis = version, 1234
		who := Principal{Type: "User", Name: "alice"}
		e, err := Wrap(req, "their client", who, netip.MustParseAddr("::ffff:10.0.0.7"))
		if err != nil {
			t.Fatal(err)
		}
		sent := e.Request.AppendTo(nil)
		got := kmsg.NewPtrEnvelopeRequest()
		if err := got.ReadFrom(sent); err != nil {
			t.Fatal(err)
		}
		o, err := OpenRequest(got)
		if err != nil || o.Who != who || o.From != netip.MustParseAddr("10.0.0.7") {
			t.Fatalf("%+v, %v", o, err)
		}
		h, body, err := wire.ParseHeader(o.Frame)
		again := kmsg.NewPtrCreateTopicsRequest()
		again.Version = h.Version
		if err != nil || again.ReadFrom(body) != nil || h.Key != req.Key() || h.Version != version || string(h.ClientID) != "their client" || again.TimeoutMillis != 1234 {
			t.Fatalf("%+v %+v, %v", h, again, err)
		}
		resp := req.ResponseKind().(*kmsg.CreateTopicsResponse)
		resp.ThrottleMillis = 77
		answer := kmsg.NewPtrEnvelopeResponse()
		answer.ResponseData = resp.AppendTo(wire.AppendResponseHeader(nil, h.Key, h.Version, h.CorrelationID)[4:])
		back, err := e.Open(answer)
		if err != nil || back.(*kmsg.CreateTopicsResponse).ThrottleMillis != 77 {
			t.Errorf("version %d: %+v, %v", version, back, err)
		}
		answer.ResponseData[3]++ // another request's
		if _, err := e.Open(answer); !errors.Is(err, transport.ErrProtocol) {
			t.Error(err)
		}
		answer.ResponseData = nil
		if _, err := e.Open(answer); !errors.Is(err, transport.ErrProtocol) {
			t.Error(err)
		}
		answer.ErrorCode = kerr.NotController.Code
		if _, err := e.Open(answer); !errors.Is(err, kerr.NotController) {
			t.Error(err)
		}
	}
	r := kmsg.NewPtrEnvelopeRequest()
	r.RequestPrincipal = Principal{Type: "User"}.encode()
	r.ClientHostAddress = []byte{1, 2, 3}
	if _, err := OpenRequest(r); err == nil {
		t.Error("an address of three bytes")
	}
}
