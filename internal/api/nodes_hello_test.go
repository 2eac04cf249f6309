package api

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/nodewire"
)

// TestAnswerHello: a hello is answered, and nothing else is, nor what is cut.
func TestAnswerHello(t *testing.T) {
	frame := func(req kmsg.Request) []byte {
		f := binary.BigEndian.AppendUint16(nil, uint16(req.Key()))
		f = binary.BigEndian.AppendUint16(f, uint16(req.GetVersion()))
		f = binary.BigEndian.AppendUint32(f, 77)
		f = binary.BigEndian.AppendUint16(f, 0xffff) // no client id
		return req.AppendTo(f)
	}
	hello := frame(&nodewire.HelloRequest{ClusterID: "c"})
	want := &nodewire.HelloResponse{From: nodewire.Identity{NodeID: -1, Address: "a:9093"}, FreeNodeID: -1}
	out, err := AnswerHello(hello, want)
	if err != nil {
		t.Fatal(err)
	}
	got := &nodewire.HelloResponse{}
	if err := got.ReadFrom(out[8:]); err != nil || !bytes.Equal(got.AppendTo(nil), want.AppendTo(nil)) ||
		int(binary.BigEndian.Uint32(out)) != len(out)-4 || binary.BigEndian.Uint32(out[4:]) != 77 {
		t.Errorf("%x, %v", out, err)
	}
	for name, bad := range map[string][]byte{
		"nothing": nil, "a header's half": hello[:5], "a hello's half": hello[:len(hello)-1],
		"another request": frame(&nodewire.PullRequest{}), "metadata": frame(kmsg.NewPtrMetadataRequest()),
	} {
		if out, err := AnswerHello(bad, want); err == nil {
			t.Errorf("%s: %x", name, out)
		}
	}
}
