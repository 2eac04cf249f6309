package api

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/leat-stream/leat/internal/nodewire"
)

// TestEachDoorHasItsKeys: what is between brokers and controllers, and what is our own,
// is not served to clients, nor told to them; the versions are Kafka's.
func TestEachDoorHasItsKeys(t *testing.T) {
	w := newWorld(t)
	w.s.Nodes = func(r *Request, _ kmsg.Request) { r.ReplyNone() }
	told := map[Door][]int16{}
	for _, at := range []Door{ClientDoor, ControllerDoor} {
		req := kmsg.NewPtrApiVersionsRequest()
		req.ClientSoftwareName, req.ClientSoftwareVersion = "test", "1"
		for _, k := range w.serve(at, 4, req).(*kmsg.ApiVersionsResponse).ApiKeys {
			told[at] = append(told[at], k.ApiKey)
			if newest, ok := kversion.Stable().LookupMaxKeyVersion(k.ApiKey); k.ApiKey < nodewire.FirstKey && (!ok || k.MaxVersion != newest) {
				t.Errorf("%s up to version %d; Kafka's newest is %d", kmsg.NameForKey(k.ApiKey), k.MaxVersion, newest)
			}
		}
	}
	for _, key := range []kmsg.Key{kmsg.AlterPartition, kmsg.Envelope, kmsg.BrokerRegistration, kmsg.BrokerHeartbeat,
		kmsg.AllocateProducerIDs, kmsg.AssignReplicasToDirs, kmsg.UpdateRaftVoter, kmsg.Key(nodewire.KeyRaft)} {
		if slices.Contains(told[ClientDoor], key.Int16()) || !slices.Contains(told[ControllerDoor], key.Int16()) {
			t.Errorf("key %d is told to clients, or not to nodes", key)
		}
	}
	for _, key := range []kmsg.Key{kmsg.Produce, kmsg.Fetch, kmsg.Metadata, kmsg.JoinGroup, kmsg.DescribeLogDirs} {
		if !slices.Contains(told[ClientDoor], key.Int16()) || slices.Contains(told[ControllerDoor], key.Int16()) {
			t.Errorf("key %d is not told to clients, or to nodes", key)
		}
	}
	for _, h := range Handlers(ClientDoor | ControllerDoor) {
		for _, at := range []Door{ClientDoor, ControllerDoor} {
			if h.Doors&at == 0 {
				if resp := w.serve(at, h.Max, kmsg.RequestForKey(h.Key.Int16())); resp != nil {
					t.Errorf("%s is answered at the wrong door: %+v", h.Key.Name(), resp)
				}
			}
		}
		if h.Forward && h.Doors != ClientDoor|ControllerDoor {
			t.Errorf("%s is forwarded, and stands at one door", h.Key.Name())
		}
	}
}

// TestNodesAskByTheControllersDoor: with the cluster's permission.
func TestNodesAskByTheControllersDoor(t *testing.T) {
	w := newWorld(t)
	frame := kmsg.NewRequestFormatter().AppendRequest(nil, &nodewire.RaftRequest{ClusterID: "c", Messages: [][]byte{{1, 2, 3}}}, 7)[4:]
	ask := func(at Door) (got *nodewire.RaftRequest, answered bool, err error) {
		w.s.Nodes = func(r *Request, req kmsg.Request) {
			got = req.(*nodewire.RaftRequest)
			r.ReplyNone()
		}
		v := w.s.Serve(w.conn(at), frame, new(Request), func(a Answer) { answered = a == nil })
		if v.Err == nil && !v.Handler.Early {
			t.Error("requests behind it wait")
		}
		return got, answered, v.Err
	}
	if got, _, err := ask(ClientDoor); got != nil || err == nil {
		t.Errorf("by a client's door: %+v, %v", got, err)
	}
	got, answered, err := ask(ControllerDoor)
	if err != nil || !answered || got.ClusterID != "c" {
		t.Fatalf("%+v, answered %v, %v", got, answered, err)
	}
	if got, _, err := func() (*nodewire.RaftRequest, bool, error) { frame = append(frame, 0); return ask(ControllerDoor) }(); got != nil || err == nil {
		t.Error("bytes behind the message are taken")
	}
	w.denied = []kmsg.ACLOperation{kmsg.ACLOperationClusterAction}
	if got, _, err := ask(ControllerDoor); got != nil || err == nil {
		t.Errorf("without permission: %+v, %v", got, err)
	}
}

// TestDescribeClusterAtEitherDoor: brokers to clients, controllers to those who
// administer them (KIP-919), and the wrong kind of endpoint to nobody.
func TestDescribeClusterAtEitherDoor(t *testing.T) {
	w := newWorld(t)
	w.s.Quorum = &quorumOf{state: QuorumState{Leader: 2, Epoch: 3, Voters: []QuorumMember{{NodeID: 1, Address: "a:19"}, {NodeID: 2, Address: "b:29"}}}}
	ask := func(at Door, endpoints int8, fenced bool) *kmsg.DescribeClusterResponse {
		req := kmsg.NewPtrDescribeClusterRequest()
		req.EndpointType, req.IncludeFencedBrokers = endpoints, fenced
		return w.serve(at, 2, req).(*kmsg.DescribeClusterResponse)
	}
	ids := func(r *kmsg.DescribeClusterResponse) (all []int32) {
		for _, b := range r.Brokers {
			all = append(all, b.NodeID)
		}
		return all
	}
	for _, c := range []struct {
		at        Door
		endpoints int8
		fenced    bool
		is        *kerr.Error
		ids       []int32
		leader    int32
	}{
		{ClientDoor, 1, false, nil, []int32{1, 2}, 1},
		{ClientDoor, 1, true, nil, []int32{1, 2, 3}, 1},
		{ClientDoor, 2, false, kerr.MismatchedEndpointType, nil, 0},
		{ControllerDoor, 2, false, nil, []int32{1, 2}, 2},
		{ControllerDoor, 1, false, kerr.MismatchedEndpointType, nil, 0},
		{ControllerDoor, 3, false, kerr.UnsupportedEndpointType, nil, 0},
	} {
		got := ask(c.at, c.endpoints, c.fenced)
		code := int16(0)
		if c.is != nil {
			code = c.is.Code
		}
		if got.ErrorCode != code || !slices.Equal(ids(got), c.ids) || c.is == nil && (got.ControllerID != c.leader || got.EndpointType != c.endpoints) {
			t.Errorf("%+v: %+v", c, got)
		}
	}
}
