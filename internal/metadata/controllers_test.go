package metadata

import (
	"errors"
	"math"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/schema"
)

func controllerNode(k *cluster, node int32, incarnation byte) *RegisterController {
	return &RegisterController{
		ClusterID: k.img().ClusterID(), NodeID: node, IncarnationID: id(incarnation), DirectoryID: id(200 + byte(node)), MayVote: true,
		Listeners: []Listener{{Name: "CONTROLLER", Host: "127.0.0.1", Port: 9093}}, Features: testFeatures,
	}
}

func (k *cluster) unregister(node int32) int16 {
	k.t.Helper()
	req := kmsg.NewPtrUnregisterBrokerRequest()
	req.BrokerID = node
	return k.ask(req).(*kmsg.UnregisterBrokerResponse).ErrorCode
}

func TestRegisterController(t *testing.T) {
	k := newCluster(t, 1)
	before, _ := k.c.b.Image()
	if got := k.do(controllerNode(k, 7, 1)); got != nil {
		t.Fatal(got)
	}
	k.do(controllerNode(k, 3, 1))
	img, delta := k.c.b.Image()
	if !delta.Controllers || !Diff(before, img).Controllers || delta.Empty() || len(before.Controllers()) != 0 {
		t.Errorf("delta %+v", delta)
	}
	n := img.ControllerNode(7)
	if len(img.Controllers()) != 2 || img.Controllers()[0].NodeID != 3 || n.DirectoryID != id(207) || !n.MayVote || n.Listeners[0].Port != 9093 ||
		img.ControllerNode(1) != nil {
		t.Errorf("%+v", img.Controllers())
	}
	k.do(controllerNode(k, 7, 1))
	if len(k.records) != 0 {
		t.Error("the same again is written")
	}
	k.do(controllerNode(k, 7, 2))
	if len(k.records) != 1 || k.img().ControllerNode(7).IncarnationID != id(2) || img.ControllerNode(7).IncarnationID != id(1) {
		t.Errorf("the next incarnation: %+v", k.img().ControllerNode(7))
	}
	loaded, err := LoadSnapshot(k.img().Snapshot())
	if err != nil || !loaded.View().Equal(k.img()) || len(loaded.View().Controllers()) != 2 {
		t.Errorf("snapshot: %v", err)
	}
	k.checkInvariants()
	for name, change := range map[string]func(*RegisterController){
		"cluster":   func(r *RegisterController) { r.ClusterID = "x" },
		"id":        func(r *RegisterController) { r.NodeID = -1 },
		"reserved":  func(r *RegisterController) { r.DirectoryID = [16]byte{} },
		"directory": func(r *RegisterController) { r.DirectoryID = id(203) },
		"listeners": func(r *RegisterController) { r.Listeners = make([]Listener, maxListeners+1) },
	} {
		r := controllerNode(k, 9, 1)
		change(r)
		if err, ok := k.do(r).(error); !ok || len(k.records) != 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if k.unregister(7) != 0 || k.unregister(7) != kerr.BrokerIDNotRegistered.Code || k.img().ControllerNode(7) != nil {
		t.Error("unregistered")
	}
	k.do(controllerNode(k, 1, 1))
	if k.unregister(1) != 0 || k.img().ControllerNode(1) != nil || k.img().Broker(1) != nil {
		t.Error("a combined node unregistered")
	}
	k.checkInvariants()
}

// TestFeatureLevelOfControllers: a cluster of an earlier build gets the records of
// controllers once all of its brokers can read them.
func TestFeatureLevelOfControllers(t *testing.T) {
	k := newCluster(t, 1)
	k.offset++
	for _, b := range []*Builder{k.c.b, k.replay} {
		apply(t, b, &schema.FeatureLevel{Name: schema.FeatureName, Level: 1})
	}
	req := registrationRequest(k.img(), 2, 2)
	req.Features[len(req.Features)-1].MaxSupportedVersion = 1
	k.ask(req)
	if err, ok := k.do(controllerNode(k, 5, 1)).(error); !ok || !errors.Is(err, kerr.UnsupportedVersion) || len(k.records) != 0 {
		t.Errorf("beside an old broker: %v", err)
	}
	k.restart(2)
	if got := k.do(controllerNode(k, 5, 1)); got != nil || len(k.records) != 2 || k.img().Feature(schema.FeatureName) != 2 || k.img().ControllerNode(5) == nil {
		t.Errorf("%v, %v", got, k.records)
	}
	k.checkInvariants()
}

func TestFreeNodeID(t *testing.T) {
	if got := new(Image).FreeNodeID(); got != 1 {
		t.Errorf("empty: %d", got)
	}
	k := newCluster(t, 3)
	if got := k.img().FreeNodeID(); got != 4 {
		t.Errorf("brokers: %d", got)
	}
	k.mustCreate(assigned("t", []int32{1, 3}))
	k.do(controllerNode(k, 6, 1))
	if got := k.img().FreeNodeID(); got != 7 {
		t.Errorf("controllers: %d", got)
	}
	// A replica keeps the id of a broker that is gone.
	k.unregister(6)
	k.unregister(3)
	if got := k.img().FreeNodeID(); got != 4 {
		t.Errorf("replicas: %d", got)
	}
}

func TestAllocateNodeID(t *testing.T) {
	k := newCluster(t, 3)
	free := k.img().FreeNodeID()
	for _, step := range []struct {
		dir   byte
		taken []int32
		want  int32
	}{{1, nil, free}, {2, nil, free + 1}, {1, []int32{50}, free}, {3, []int32{free + 3, free + 2, 50, math.MaxInt32}, free + 4}, {4, nil, free + 5}} {
		got := k.do(&AllocateNodeID{DirectoryID: id(step.dir), Taken: step.taken, MayVote: true})
		if got != (NodeIDReply{step.want}) {
			t.Errorf("directory %d beside %d: %v, want %d", step.dir, step.taken, got, step.want)
		}
	}
	if n := k.img().ControllerNode(free + 4); n == nil || n.DirectoryID != id(3) || !n.MayVote {
		t.Errorf("%+v", n)
	}
	if err, ok := k.do(&AllocateNodeID{}).(error); !ok || !errors.Is(err, kerr.InvalidRegistration) {
		t.Errorf("without a directory: %v", err)
	}
	k.checkInvariants()
}

// TestIDsAreNotUsedUp: whoever reaches the leader gets ids, and does not come with them. They
// are kept for a while, and the records of them do not pile up; who came stays.
func TestIDsAreNotUsedUp(t *testing.T) {
	k := newCluster(t, 3)
	k.do(controllerNode(k, 6, 1))
	ask := func(i int) any {
		return k.do(&AllocateNodeID{DirectoryID: [16]byte{0: 1, 1: byte(i >> 8), 2: byte(i)}})
	}
	for i := range maxGiven {
		if got := ask(i); got != (NodeIDReply{int32(7 + i)}) {
			t.Fatalf("the first ones, %d: %v", i, got)
		}
	}
	joined := registrationRequest(k.img(), 7, 77)
	if got := k.ask(joined).(*kmsg.BrokerRegistrationResponse); got.ErrorCode != 0 {
		t.Fatal(got.ErrorCode)
	}
	if got := ask(maxGiven); got != (NodeIDReply{int32(7 + maxGiven)}) {
		t.Fatalf("one has come: %v", got)
	}
	err, _ := ask(maxGiven + 1).(error)
	if !errors.Is(err, kerr.ThrottlingQuotaExceeded) || len(k.records) != 0 {
		t.Fatalf("too many at once: %v", err)
	}
	if got := ask(5); got != (NodeIDReply{12}) {
		t.Errorf("one that asks again: %v", got)
	}
	k.wait(givenFor)
	for i := range maxGiven - 1 {
		if got := ask(maxGiven + 1 + i); got != (NodeIDReply{int32(7 + maxGiven + 1 + i)}) {
			t.Fatalf("later, %d: %v", i, got)
		}
	}
	if k.img().ControllerNode(6) == nil || k.img().ControllerNode(7) == nil || len(k.img().Controllers()) != maxGiven+2 {
		t.Errorf("%d nodes", len(k.img().Controllers()))
	}
	k.checkInvariants()
}

// TestLastID: an id that is the highest there can be leaves those below it.
func TestLastID(t *testing.T) {
	k := newCluster(t, 3)
	k.do(controllerNode(k, math.MaxInt32, 1))
	k.do(controllerNode(k, 4, 2))
	if got := k.img().FreeNodeID(5, 7); got != 6 {
		t.Errorf("%d", got)
	}
	if got := k.do(&AllocateNodeID{DirectoryID: id(9)}); got != (NodeIDReply{5}) {
		t.Errorf("%v", got)
	}
}

// What an operator says of a controller that is no broker is kept as a broker's setting.
func TestConfigOfController(t *testing.T) {
	k := newCluster(t, 1)
	value := "never"
	ask := func() int16 {
		req := kmsg.NewPtrIncrementalAlterConfigsRequest()
		r := kmsg.NewIncrementalAlterConfigsRequestResource()
		r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeBroker, "7"
		c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		c.Name, c.Value = "leat.quorum.voter", &value
		r.Configs = append(r.Configs, c)
		req.Resources = append(req.Resources, r)
		return k.ask(req).(*kmsg.IncrementalAlterConfigsResponse).Resources[0].ErrorCode
	}
	if got := ask(); got != kerr.BrokerIDNotRegistered.Code {
		t.Errorf("a node that nobody knows: %d", got)
	}
	k.do(controllerNode(k, 7, 1))
	if got := ask(); got != 0 || k.img().Config(ResourceBroker, "7")["leat.quorum.voter"] != "never" {
		t.Errorf("a controller: %d", got)
	}
	gone := kmsg.NewPtrUnregisterBrokerRequest()
	gone.BrokerID = 7
	if got := k.ask(gone).(*kmsg.UnregisterBrokerResponse); got.ErrorCode != 0 || len(k.img().Config(ResourceBroker, "7")) != 0 {
		t.Errorf("what was said of one that is gone stays: %d, %v", got.ErrorCode, k.img().Config(ResourceBroker, "7"))
	}
}
