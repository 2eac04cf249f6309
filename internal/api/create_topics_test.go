package api

import (
	"bytes"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/nodewire"
)

func createRequest(creation string) *kmsg.CreateTopicsRequest {
	req := kmsg.NewPtrCreateTopicsRequest()
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = "t", 1, 1
	req.Topics = append(req.Topics, t)
	if creation != "" {
		nodewire.SetCreation(req, []byte(creation))
	}
	return req
}

// TestCreationIsTold: what a controller is asked has what tells it from other creations,
// the client's own where it has some, and the next controller is asked with the same.
func TestCreationIsTold(t *testing.T) {
	w := newWorld(t)
	var got *metadata.Request
	answer := func(req any, done func(any, error)) {
		got = req.(*metadata.Request)
		done(got.Req.ResponseKind(), nil)
	}
	w.control, w.here = answer, answer
	seen := map[string]bool{}
	for _, client := range []string{"", "", "mine", strings.Repeat("x", 33)} {
		w.serve(ClientDoor, 7, createRequest(client))
		creation := string(got.Creation)
		if creation == "" || len(creation) > 32 || seen[creation] || client == "mine" && creation != client {
			t.Errorf("the client gave %q: %q", client, creation)
		}
		seen[creation] = true
		for range 2 {
			if _, err := w.forward(&metadata.Request{Context: got.Context, Req: got.Req}); err != nil {
				t.Fatal(err)
			}
			if string(got.Creation) != creation {
				t.Errorf("forwarded, %q is %q", creation, got.Creation)
			}
		}
	}
}

// TestWhatIsForwardedOutlivesItsFrame: a request waits for a controller while its
// connection reads on; nothing of another's bytes is sent on with it.
func TestWhatIsForwardedOutlivesItsFrame(t *testing.T) {
	w := newWorld(t)
	var got *metadata.Request
	w.control = func(req any, _ func(any, error)) { got = req.(*metadata.Request) }
	req := createRequest("")
	req.Version = 7
	req.UnknownTags.Set(77, []byte("outer-bytes"))
	req.Topics[0].UnknownTags.Set(77, []byte("inner-bytes"))
	frame := kmsg.NewRequestFormatter().AppendRequest(nil, req, 7)[4:]
	if v := w.s.Serve(w.conn(ClientDoor), frame, new(Request), nil); v.Err != nil {
		t.Fatal(v.Err)
	}
	for i := range frame {
		frame[i] = '!'
	}
	f, err := Forward(got)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"outer-bytes", "inner-bytes"} {
		if !bytes.Contains(f.Envelope.RequestData, []byte(want)) {
			t.Errorf("no %s in %q", want, f.Envelope.RequestData)
		}
	}
}
