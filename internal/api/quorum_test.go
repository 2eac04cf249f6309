package api

import (
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/machine"
	"github.com/leat-stream/leat/internal/metadata"
)

// quorumOf is a quorum that says and does what a test wants.
type quorumOf struct {
	state   QuorumState
	leads   bool
	err     error
	changes []VoterChange
}

func (q *quorumOf) Describe() (QuorumState, bool) { return q.state, q.leads }

func (q *quorumOf) Change(c VoterChange, done func(error)) {
	q.changes = append(q.changes, c)
	done(q.err)
}

func describeQuorum() *kmsg.DescribeQuorumRequest {
	req := kmsg.NewPtrDescribeQuorumRequest()
	t := kmsg.NewDescribeQuorumRequestTopic()
	t.Topic, t.Partitions = metadataTopic, []kmsg.DescribeQuorumRequestTopicPartition{{}}
	req.Topics = append(req.Topics, t)
	return req
}

// TestDescribeQuorum: the leader tells voters and observers with their lags.
func TestDescribeQuorum(t *testing.T) {
	w := newWorld(t)
	at := time.UnixMilli(5000)
	w.s.Quorum = &quorumOf{leads: true, state: QuorumState{
		Leader: 1, Epoch: 4, HighWatermark: 90,
		Voters:    []QuorumMember{{NodeID: 1, DirectoryID: [16]byte{1}, Address: "[::1]:9093", LogEnd: 100, LastFetch: at, CaughtUp: at}},
		Observers: []QuorumMember{{NodeID: 7, LogEnd: -1}},
	}}
	for v := range int16(3) {
		for _, door := range []Door{ClientDoor, ControllerDoor} {
			resp := w.serve(door, v, describeQuorum()).(*kmsg.DescribeQuorumResponse)
			p := resp.Topics[0].Partitions[0]
			if resp.ErrorCode != 0 || p.LeaderID != 1 || p.LeaderEpoch != 4 || p.HighWatermark != 90 ||
				len(p.CurrentVoters) != 1 || p.CurrentVoters[0].LogEndOffset != 100 || len(p.Observers) != 1 || p.Observers[0].ReplicaID != 7 {
				t.Fatalf("version %d: %+v", v, resp)
			}
			if v >= 1 && (p.CurrentVoters[0].LastCaughtUpTimestamp != 5000 || p.Observers[0].LastFetchTimestamp != -1) {
				t.Errorf("version %d: times %+v", v, p)
			}
			if tells := len(resp.Nodes) == 1 && resp.Nodes[0].Listeners[0].Host == "::1" && resp.Nodes[0].Listeners[0].Port == 9093; tells != (v >= 2) {
				t.Errorf("version %d: nodes %+v", v, resp.Nodes)
			}
		}
	}
	other := describeQuorum()
	other.Topics[0].Topic = "other"
	if got := w.serve(ClientDoor, 2, other).(*kmsg.DescribeQuorumResponse).Topics[0].Partitions[0].ErrorCode; got != kerr.UnknownTopicOrPartition.Code {
		t.Errorf("another topic: error %d", got)
	}
	w.denied = []kmsg.ACLOperation{kmsg.ACLOperationDescribe}
	if got := w.serve(ClientDoor, 2, describeQuorum()).(*kmsg.DescribeQuorumResponse).ErrorCode; got != kerr.ClusterAuthorizationFailed.Code {
		t.Errorf("who may not: error %d", got)
	}
}

// TestQuorumRequestsGoToItsLeader: from a client's door to the leader elsewhere, from
// the controllers' door no further.
func TestQuorumRequestsGoToItsLeader(t *testing.T) {
	w := newWorld(t)
	w.s.Quorum = &quorumOf{}
	answer := kmsg.NewPtrDescribeQuorumResponse()
	answer.ErrorCode = 42
	w.control = func(_ any, done func(any, error)) { done(answer, nil) }
	if got := w.serve(ClientDoor, 2, describeQuorum()).(*kmsg.DescribeQuorumResponse).ErrorCode; got != 42 {
		t.Errorf("a client's is answered %d", got)
	}
	if req, ok := w.asked[0].(*metadata.Request); !ok || req.Principal != "User:ANONYMOUS" || req.ClientID != "test" || req.Address != "10.0.0.9" {
		t.Errorf("forwarded is %+v", w.asked[0])
	}
	if got := w.serve(ControllerDoor, 2, describeQuorum()).(*kmsg.DescribeQuorumResponse).ErrorCode; got != kerr.NotController.Code || len(w.asked) != 1 {
		t.Errorf("a node's is answered %d after %d requests", got, len(w.asked))
	}
}

// TestQuorumWithoutALeader: how it is is told at once, and in words; what a controller would decide
// has waited for one by then, and is answered in the same words. An election is no such thing.
func TestQuorumWithoutALeader(t *testing.T) {
	const says = "the metadata quorum has no leader: a majority of the voters (1 at a:9093, 2, 3 at c:9093) has to run"
	w := newWorld(t)
	q := &quorumOf{state: QuorumState{Leader: -1, Voters: []QuorumMember{{NodeID: 1, Address: "a:9093"}, {NodeID: 2}, {NodeID: 3, Address: "c:9093"}}}}
	w.s.Quorum = q
	w.control = func(_ any, done func(any, error)) { done(nil, machine.ErrNotLeader) }
	create := kmsg.NewPtrCreateTopicsRequest()
	create.Topics = []kmsg.CreateTopicsRequestTopic{{Topic: "t", NumPartitions: -1, ReplicationFactor: -1}}
	ask := func() (*kmsg.DescribeQuorumResponse, kmsg.CreateTopicsResponseTopic) {
		return w.serve(ClientDoor, 2, describeQuorum()).(*kmsg.DescribeQuorumResponse), w.serve(ClientDoor, 7, create).(*kmsg.CreateTopicsResponse).Topics[0]
	}
	q.state.Leaderless = leaderlessPatience - 1
	if described, created := ask(); described.ErrorCode != kerr.NotController.Code || created.ErrorCode != kerr.NotController.Code || *created.ErrorMessage == says {
		t.Errorf("during an election: %+v %+v", described, created)
	}
	asked := len(w.asked)
	q.state.Leaderless = leaderlessPatience
	described, created := ask()
	if described.ErrorCode != kerr.LeaderNotAvailable.Code || *described.ErrorMessage != says || len(w.asked) != asked+1 {
		t.Errorf("%+v, asked %d times", described, len(w.asked)-asked)
	}
	if created.ErrorCode != kerr.NotController.Code || *created.ErrorMessage != says {
		t.Errorf("%+v", created)
	}
	if got := w.serve(ControllerDoor, 2, describeQuorum()).(*kmsg.DescribeQuorumResponse).ErrorCode; got != kerr.NotController.Code {
		t.Errorf("a node's is answered %d", got)
	}
	q.leads = true
	if described, _ := ask(); described.ErrorCode != 0 {
		t.Errorf("at its leader: %+v", described)
	}
}

// TestVoterChanges: what is asked is what the quorum is told, and what it says is told.
func TestVoterChanges(t *testing.T) {
	w := newWorld(t)
	q := &quorumOf{leads: true}
	w.s.Quorum = q
	add := func() *kmsg.AddRaftVoterRequest {
		req := kmsg.NewPtrAddRaftVoterRequest()
		req.ClusterID, req.VoterID, req.VoterDirectoryID, req.TimeoutMillis, req.AckWhenCommitted = kmsg.StringPtr("cluster"), 4, [16]byte{4}, 9000, true
		req.Listeners = []kmsg.AddRaftVoterRequestListener{{Name: "PLAINTEXT", Host: "x", Port: 1}, {Name: "CONTROLLER", Host: "h", Port: 9093}}
		return req
	}
	asked := func(req *kmsg.AddRaftVoterRequest) int16 {
		return w.serve(ClientDoor, 1, req).(*kmsg.AddRaftVoterResponse).ErrorCode
	}
	if got := asked(add()); got != 0 || q.changes[0] != (VoterChange{AddVoter, 4, [16]byte{4}, "h:9093", 9 * time.Second, false}) {
		t.Fatalf("error %d, changes %+v", got, q.changes)
	}
	for err, is := range map[error]*kerr.Error{
		kerr.DuplicateVoter: kerr.DuplicateVoter, machine.ErrNotLeader: kerr.NotController, machine.ErrTimeout: kerr.RequestTimedOut,
		errors.New("unheard of"): kerr.NotController,
	} {
		q.err = err
		if got := asked(add()); got != is.Code {
			t.Errorf("%v: error %d, want %d", err, got, is.Code)
		}
	}
	q.changes, q.err = nil, nil
	for what, spoil := range map[string]func(*kmsg.AddRaftVoterRequest){
		"another cluster": func(r *kmsg.AddRaftVoterRequest) { r.ClusterID = kmsg.StringPtr("other") },
		"no voter":        func(r *kmsg.AddRaftVoterRequest) { r.VoterID = -1 },
		"no listener":     func(r *kmsg.AddRaftVoterRequest) { r.Listeners = r.Listeners[:1] },
	} {
		req := add()
		if spoil(req); asked(req) == 0 || q.changes != nil {
			t.Errorf("%s is taken", what)
		}
	}
	remove := kmsg.NewPtrRemoveRaftVoterRequest()
	remove.VoterID, remove.VoterDirectoryID = 4, [16]byte{4}
	if got := w.serve(ControllerDoor, 0, remove).(*kmsg.RemoveRaftVoterResponse).ErrorCode; got != 0 || q.changes[0] != (VoterChange{Kind: RemoveVoter, NodeID: 4, DirectoryID: [16]byte{4}}) {
		t.Errorf("remove: error %d, %+v", got, q.changes)
	}
	update := kmsg.NewPtrUpdateRaftVoterRequest()
	update.VoterID, update.VoterDirectoryID = 4, [16]byte{4}
	update.Listeners = []kmsg.UpdateRaftVoterRequestListener{{Name: "CONTROLLER", Host: "n", Port: 1}}
	if got := w.serve(ControllerDoor, 0, update).(*kmsg.UpdateRaftVoterResponse).ErrorCode; got != 0 || q.changes[1].Address != "n:1" {
		t.Errorf("update: error %d, %+v", got, q.changes)
	}
}

// TestQuorumRequestMeetsNewLeader: the node that is asked comes to lead the quorum while
// the request is on its way, so that it meets the node's own controller.
func TestQuorumRequestMeetsNewLeader(t *testing.T) {
	w := newWorld(t)
	q := &quorumOf{}
	w.s.Quorum = q
	for _, still := range []bool{true, false} {
		q.leads = false
		w.control = func(_ any, done func(any, error)) {
			q.leads = still
			done(nil, metadata.ErrUnsupported)
		}
		want := int16(0)
		if !still {
			want = kerr.NotController.Code
		}
		if got := w.serve(ClientDoor, 2, describeQuorum()).(*kmsg.DescribeQuorumResponse).ErrorCode; got != want {
			t.Errorf("error %d, want %d", got, want)
		}
	}
}
