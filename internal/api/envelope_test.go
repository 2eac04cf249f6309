package api

import (
	"net"
	"reflect"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/machine"
	"github.com/leat-stream/leat/internal/metadata"
)

// forward sends a request of the world's controller as another broker would.
func (w *world) forward(req any) (any, error) {
	w.t.Helper()
	f, err := Forward(req)
	if err != nil {
		return nil, err
	}
	return f.Answer(w.serve(ControllerDoor, 0, f.Envelope).(*kmsg.EnvelopeResponse))
}

// TestForwardedRequestsAreTheClients: who asks, and what, arrives as it was; the answer
// comes back as it was given.
func TestForwardedRequestsAreTheClients(t *testing.T) {
	w := newWorld(t)
	who := metadata.Context{Principal: "User:alice:b", ClientID: "app", Address: "10.1.2.3", NodeID: 2}
	var principals []string
	w.s.Authorize = func(c *Conn, _ kmsg.ACLOperation, _ kmsg.ACLResourceType, _ string) bool {
		principals = append(principals, c.Principal)
		return true
	}
	for v := int16(2); v <= 7; v++ {
		create := kmsg.NewPtrCreateTopicsRequest()
		create.Topics, create.Version = []kmsg.CreateTopicsRequestTopic{{Topic: "t", NumPartitions: 3, ReplicationFactor: 2}}, v
		w.asked = nil
		w.here = func(_ any, done func(any, error)) {
			resp := kmsg.NewPtrCreateTopicsResponse()
			made := kmsg.NewCreateTopicsResponseTopic()
			made.Topic, made.ErrorCode = "t", 17
			resp.Topics = append(resp.Topics, made)
			done(resp, nil)
		}
		got, err := w.forward(&metadata.Request{Context: who, Req: create})
		if err != nil || got.(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode != 17 {
			t.Fatalf("version %d: %+v, %v", v, got, err)
		}
		req := w.asked[0].(*metadata.Request)
		if ctx := req.Context; ctx.Principal != who.Principal || ctx.ClientID != who.ClientID || ctx.Address != who.Address || ctx.NodeID != 0 {
			t.Errorf("version %d: asked by %+v", v, ctx)
		}
		if topic := req.Req.(*kmsg.CreateTopicsRequest).Topics[0]; topic.Topic != "t" || topic.NumPartitions != 3 || topic.ReplicationFactor != 2 {
			t.Errorf("version %d: asked for %+v", v, topic)
		}
	}
	if principals[0] != "User:ANONYMOUS" || principals[1] != "User:alice:b" {
		t.Errorf("allowed were %q", principals)
	}
}

// TestForwardedFirstUse: topics that their first use creates are told apart.
func TestForwardedFirstUse(t *testing.T) {
	w := newWorld(t)
	w.here = func(req any, done func(any, error)) { done(kmsg.NewPtrCreateTopicsResponse(), nil) }
	if _, err := w.forward(&metadata.AutoCreateTopics{Context: metadata.Context{Principal: "User:a"}, Names: []string{"x", "y"}}); err != nil {
		t.Fatal(err)
	}
	if req, ok := w.asked[0].(*metadata.AutoCreateTopics); !ok || !slices.Equal(req.Names, []string{"x", "y"}) || req.Principal != "User:a" {
		t.Errorf("asked for %+v", w.asked[0])
	}
	w.control = w.here
	if w.serve(ClientDoor, 7, packAutoCreate([]string{"z"})); w.asked[1].(*metadata.Request) == nil {
		t.Error("a client created a topic as a broker does")
	}
}

// TestMisledForwarding: a node whose controller is not the active one says so, and the
// sender learns it as it would from its own.
func TestMisledForwarding(t *testing.T) {
	w := newWorld(t)
	w.here = func(_ any, done func(any, error)) { done(nil, machine.ErrNotLeader) }
	req := kmsg.NewPtrElectLeadersRequest()
	req.Version = 2
	if _, err := w.forward(&metadata.Request{Req: req}); err != machine.ErrNotLeader {
		t.Errorf("%v", err)
	}
	w.s.Quorum = &quorumOf{}
	ask := describeQuorum()
	ask.Version = 2
	if _, err := w.forward(&metadata.Request{Req: ask}); err != machine.ErrNotLeader {
		t.Errorf("the quorum's: %v", err)
	}
	if _, err := Forward(&metadata.Request{Req: kmsg.NewPtrBrokerHeartbeatRequest()}); err == nil {
		t.Error("what a broker asks for itself is forwarded")
	}
}

// TestEnvelopesOfNoUse: only brokers send them, with requests that are forwarded, of a
// principal.
func TestEnvelopesOfNoUse(t *testing.T) {
	w := newWorld(t)
	sound := func() *kmsg.EnvelopeRequest {
		f, err := Forward(&metadata.Request{Context: metadata.Context{Principal: "User:a"}, Req: kmsg.NewPtrUnregisterBrokerRequest()})
		if err != nil {
			t.Fatal(err)
		}
		return f.Envelope
	}
	within := func(req kmsg.Request) []byte { return kmsg.NewRequestFormatter().AppendRequest(nil, req, 0)[4:] }
	w.here = func(_ any, done func(any, error)) { done(kmsg.NewPtrUnregisterBrokerResponse(), nil) }
	for what, c := range map[string]struct {
		spoil  func(*kmsg.EnvelopeRequest)
		denied []kmsg.ACLOperation
		is     int16
	}{
		"sound":       {func(*kmsg.EnvelopeRequest) {}, nil, 0},
		"of a client": {func(*kmsg.EnvelopeRequest) {}, []kmsg.ACLOperation{kmsg.ACLOperationClusterAction}, kerr.ClusterAuthorizationFailed.Code},
		"of nobody":   {func(r *kmsg.EnvelopeRequest) { r.RequestPrincipal = nil }, nil, kerr.PrincipalDeserializationFailure.Code},
		"empty":       {func(r *kmsg.EnvelopeRequest) { r.RequestData = nil }, nil, kerr.InvalidRequest.Code},
		"nested":      {func(r *kmsg.EnvelopeRequest) { r.RequestData = within(sound()) }, nil, kerr.InvalidRequest.Code},
		"a heartbeat": {func(r *kmsg.EnvelopeRequest) { r.RequestData = within(kmsg.NewPtrBrokerHeartbeatRequest()) }, nil, kerr.InvalidRequest.Code},
		"a produce":   {func(r *kmsg.EnvelopeRequest) { r.RequestData = within(kmsg.NewPtrProduceRequest()) }, nil, kerr.InvalidRequest.Code},
		"cut":         {func(r *kmsg.EnvelopeRequest) { r.RequestData = r.RequestData[:len(r.RequestData)-2] }, nil, kerr.UnsupportedVersion.Code},
	} {
		w.denied = c.denied
		req := sound()
		c.spoil(req)
		if got := w.serve(ControllerDoor, 0, req).(*kmsg.EnvelopeResponse).ErrorCode; got != c.is {
			t.Errorf("%s: error %d, want %d", what, got, c.is)
		}
	}
}

// TestRegistrationTellsWhatIsLost: also to the controller of another node.
func TestRegistrationTellsWhatIsLost(t *testing.T) {
	w := newWorld(t)
	w.here = func(_ any, done func(any, error)) { done(kmsg.NewPtrBrokerRegistrationResponse(), nil) }
	for _, lost := range [][]metadata.TopicPartition{nil, {{TopicID: [16]byte{7}, Partition: 3}, {TopicID: [16]byte{8}, Partition: 1 << 30}}} {
		reg := &metadata.RegisterBroker{Req: kmsg.NewPtrBrokerRegistrationRequest(), Lost: lost}
		reg.Req.BrokerID = 9
		w.asked = nil
		if got := w.serve(ControllerDoor, 4, PackRegistration(reg)).(*kmsg.BrokerRegistrationResponse).ErrorCode; got != 0 {
			t.Fatal(got)
		}
		if got := w.asked[0].(*metadata.RegisterBroker); got.Req.BrokerID != 9 || !reflect.DeepEqual(got.Lost, lost) {
			t.Errorf("registered %+v", got)
		}
	}
	bad := kmsg.NewPtrBrokerRegistrationRequest()
	bad.UnknownTags.Set(lostTag, []byte{1, 2, 3})
	if got := w.serve(ControllerDoor, 4, bad).(*kmsg.BrokerRegistrationResponse).ErrorCode; got != kerr.InvalidRequest.Code {
		t.Errorf("a cut list: error %d", got)
	}
}

// TestPrincipalsTravel, those that no client has too.
func TestPrincipalsTravel(t *testing.T) {
	for _, p := range []string{"User:ANONYMOUS", "User:", "Group:a b", "User:CN=x,OU=:y"} {
		if got, err := readPrincipal(appendPrincipal(nil, p)); got != p || err != nil {
			t.Errorf("%q becomes %q, %v", p, got, err)
		}
	}
	if hostOf(&net.TCPAddr{IP: net.ParseIP("::1")}) != "::1" || hostOf(&net.UnixAddr{}) != "" {
		t.Error("hosts")
	}
}

// TestForwardedAnswersSayWhatTheyStandFor: the image that a forwarded answer was made with.
func TestForwardedAnswersSayWhatTheyStandFor(t *testing.T) {
	w := newWorld(t)
	w.topic("t", []int32{1, 1})
	w.here = func(req any, done func(any, error)) { done(kmsg.NewPtrCreateTopicsResponse(), nil) }
	f, err := Forward(&metadata.AutoCreateTopics{Context: metadata.Context{Principal: "User:a"}, Names: []string{"x"}})
	if err != nil {
		t.Fatal(err)
	}
	resp := w.serve(ControllerDoor, 0, f.Envelope).(*kmsg.EnvelopeResponse)
	if want := w.s.Image().Index(); want == 0 || ImageIndex(resp) != want {
		t.Errorf("index %d, want %d", ImageIndex(resp), want)
	}
	if i := ImageIndex(kmsg.NewPtrEnvelopeResponse()); i != 0 {
		t.Errorf("index %d of an answer that does not say", i)
	}
}
