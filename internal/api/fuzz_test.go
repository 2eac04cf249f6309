package api_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/conformance/raw"
	"github.com/leat-stream/leat/internal/api"
	"github.com/leat-stream/leat/leattest"
)

// FuzzRequest sends any body under any key and version to a running node. The node
// answers, with what decodes and encodes as an answer of that version, or closes that
// connection; it goes on for others.
func FuzzRequest(f *testing.F) {
	node := leattest.Start(f, unfindable)
	c := newCanary(f, node)
	fill := &filler{rng: rand.New(rand.NewPCG(5, 8)), victims: []topic{c.create("victim", 2), c.create("victim-2", 1)}}
	for _, h := range api.Handlers(api.ClientDoor) {
		for v := h.Min; v <= h.Max; v++ {
			f.Add(h.Key.Int16(), v, fill.request(h.Key.Int16(), v).AppendTo(nil))
		}
	}
	f.Fuzz(func(t *testing.T, key, version int16, body []byte) {
		req := kmsg.RequestForKey(key)
		if req == nil {
			req = kmsg.NewPtrApiVersionsRequest()
		}
		req.SetVersion(version)
		frame := requestFrame(req, key, version, body)
		if tooMuch(frame) {
			t.Skip("the disk would be busy with nothing else")
		}
		conn, err := raw.Dial(node.Addr(), "fuzz")
		if err != nil {
			t.Fatalf("the node is gone: %v", err)
		}
		defer conn.Close()
		if err := conn.Send(frame); err != nil {
			t.Fatal(err)
		}
		// A second request behind it: without acks, or when the first waits for others,
		// there is no answer to the first.
		probe := binary.BigEndian.AppendUint32([]byte{0, 18, 0, 0}, probeID)
		err = conn.Send(sized(append(probe, 0xff, 0xff)))
		for err == nil {
			var answer []byte
			answer, err = conn.ReceiveBytes(time.Second)
			if err != nil || binary.BigEndian.Uint32(answer) == probeID {
				break
			}
			checkAnswer(t, req, answer)
		}
		other := dial(t, node)
		want(t, "ApiVersions", ask[*kmsg.ApiVersionsResponse](other, 0, kmsg.NewPtrApiVersionsRequest()).ErrorCode, nil)
		_ = other.Close()
	})
}

// requestFrame is a request of any key and version, sound up to its body.
func requestFrame(req kmsg.Request, key, version int16, body []byte) []byte {
	var b []byte
	b = binary.BigEndian.AppendUint16(b, uint16(key))
	b = binary.BigEndian.AppendUint16(b, uint16(version))
	b = append(b, 0, 0, 0, 5, 0, 1, 'c')
	if req.IsFlexible() {
		b = append(b, 0)
	}
	return sized(append(b, body...))
}

// checkAnswer holds an answer against kmsg: it has to be exactly a response of the
// request's version.
func checkAnswer(t *testing.T, req kmsg.Request, answer []byte) {
	t.Helper()
	resp, err := raw.Decode(req, answer)
	if err != nil && req.Key() == kmsg.ApiVersions.Int16() {
		req.SetVersion(0) // how an unknown version is answered
		resp, err = raw.Decode(req, answer)
	}
	if err != nil {
		t.Fatalf("key %d version %d: %v", req.Key(), req.GetVersion(), err)
	}
	if again := resp.AppendTo(nil); !bytes.HasSuffix(answer, again) {
		t.Fatalf("key %d version %d: answered %x, which encodes as %x", req.Key(), req.GetVersion(), answer, again)
	}
}
