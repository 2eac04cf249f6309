package broker

import (
	"maps"
	"reflect"
	"slices"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/api"
	"github.com/leat-stream/leat/internal/metadata"
)

// guard is a door-keeper that notes what it is asked.
type guard struct {
	mu    sync.Mutex
	admit func(kmsg.ACLResourceType) bool
	asked map[api.Need]bool
}

func (g *guard) authorize(_ *api.Conn, op kmsg.ACLOperation, resource kmsg.ACLResourceType, _ string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked[api.Need{Operation: op, Resource: resource}] = true
	return g.admit(resource)
}

// turn begins a new list, and says who may do something from now on.
func (g *guard) turn(admit func(kmsg.ACLResourceType) bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.admit, g.asked = admit, map[api.Need]bool{}
}

// list is what was asked since.
func (g *guard) list() map[api.Need]bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return maps.Clone(g.asked)
}

func everything(kmsg.ACLResourceType) bool         { return true }
func nothing(kmsg.ACLResourceType) bool            { return false }
func allButTheCluster(r kmsg.ACLResourceType) bool { return r != kmsg.ACLResourceTypeCluster }

// open needs no authorisation: what it answers is no secret.
var openToAll = []kmsg.Key{kmsg.ApiVersions}

// TestEveryHandlerAsks sends a sound request to every API, first with everything
// allowed and then with nothing. A handler asks for what it declares and for nothing
// else, and does nothing for those who may not.
func TestEveryHandlerAsks(t *testing.T) {
	n := prepare(t)
	n.open()
	g := &guard{}
	g.turn(everything)
	n.b.node.API().Authorize = g.authorize
	if err := n.b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := n.dial()
	c.createTopic("t")
	c.produce("t", []byte("secret"))
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.CoordinatorKeys = []string{"secret"}
	c.ask(newest(find))
	keep := kmsg.NewPtrOffsetCommitRequest()
	keep.Group, keep.Version, keep.Generation = "secret", 9, -1
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic, topic.Partitions = "t", []kmsg.OffsetCommitRequestTopicPartition{{Offset: 1}}
	keep.Topics = append(keep.Topics, topic)
	commit := func() int16 { return c.ask(keep).(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode }
	got := commit()
	for got == kerr.CoordinatorLoadInProgress.Code { // it was made a moment ago
		got = commit()
	}
	if got != 0 {
		t.Fatal(kerr.ErrorForCode(got))
	}
	id := n.b.node.Image().Topic("t").ID

	asked := map[kmsg.Key]map[api.Need]bool{}
	ask := func(t *testing.T, req kmsg.Request, admit func(kmsg.ACLResourceType) bool) kmsg.Response {
		g.turn(admit)
		resp := n.dial().ask(newest(req))
		h := handler(req.Key())
		if asked[h.Key] == nil {
			asked[h.Key] = map[api.Need]bool{}
		}
		for need := range g.list() {
			asked[h.Key][need] = true
			// Which operations one may do is an answer of some, whatever is asked for it.
			if !slices.Contains(h.Needs, need) && h.Key != kmsg.DescribeTopicPartitions && h.Key != kmsg.DescribeCluster && h.Key != kmsg.Metadata {
				t.Errorf("it asks for %v on %v, and does not say so", need.Operation, need.Resource)
			}
		}
		return resp
	}
	for _, req := range soundRequests(id) {
		h := handler(req.Key())
		t.Run(h.Key.Name(), func(t *testing.T) {
			resp := ask(t, req, nothing)
			if h.Needs == nil {
				return
			}
			if got := told(reflect.ValueOf(resp)); len(g.list()) == 0 || !got.denied && got.items > 0 {
				t.Errorf("nothing is denied: %+v", resp)
			}
		})
	}
	g.turn(everything)
	if got := n.dial().fetch("t", 0); len(got) != 1 || got[0] != "secret" {
		t.Errorf("those who may do nothing did something: %q", got)
	}
	img := n.b.node.Image()
	if img.Topic("new") != nil || img.Topic("made-by-asking") != nil || len(img.Topic("t").Partitions) != 1 || len(img.Config(metadata.ResourceTopic, "t")) != 0 {
		t.Error("those who may do nothing changed the cluster")
	}
	for _, admit := range []func(kmsg.ACLResourceType) bool{allButTheCluster, everything} {
		for _, req := range soundRequests(id) {
			ask(t, req, admit)
		}
	}
	for _, h := range api.Handlers(api.ClientDoor) {
		for _, need := range h.Needs {
			if !asked[h.Key][need] {
				t.Errorf("%s says that it asks for %v on %v, and does not", h.Key.Name(), need.Operation, need.Resource)
			}
		}
		if h.Needs == nil && !slices.Contains(openToAll, h.Key) {
			t.Errorf("%s needs nothing", h.Key.Name())
		}
	}
}

// TestFetchOfWhatMayBeRead: one denied partition does not hide the others, in a session
// too, and does not wait.
func TestFetchOfWhatMayBeRead(t *testing.T) {
	n := prepare(t)
	n.open()
	n.b.node.API().Authorize = func(_ *api.Conn, op kmsg.ACLOperation, _ kmsg.ACLResourceType, name string) bool {
		return op != kmsg.ACLOperationRead || name != "secret"
	}
	if err := n.b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := n.dial()
	for _, name := range []string{"a", "secret", "b"} {
		c.createTopic(name)
		c.produce(name, []byte(name))
	}
	for _, version := range []int16{12, 18} {
		for _, epoch := range []int32{-1, 0} {
			req := kmsg.NewPtrFetchRequest()
			req.Version, req.SessionEpoch, req.MaxBytes = version, epoch, 1<<20
			req.MinBytes, req.MaxWaitMillis = 1<<20, 1<<30 // the clock stands still
			for _, name := range []string{"a", "secret", "b"} {
				topic := kmsg.NewFetchRequestTopic()
				topic.Topic, topic.TopicID = name, n.b.node.Image().Topic(name).ID
				p := kmsg.NewFetchRequestTopicPartition()
				p.PartitionMaxBytes = 1 << 20
				topic.Partitions = append(topic.Partitions, p)
				req.Topics = append(req.Topics, topic)
			}
			resp := c.ask(req).(*kmsg.FetchResponse)
			if len(resp.Topics) != 3 {
				t.Fatalf("version %d: %d topics", version, len(resp.Topics))
			}
			for i := range resp.Topics {
				p := &resp.Topics[i].Partitions[0]
				if secret := i == 1; (p.ErrorCode == kerr.TopicAuthorizationFailed.Code) != secret || (len(p.RecordBatches) == 0) != secret {
					t.Errorf("version %d: topic %d: error %d, %d bytes", version, i, p.ErrorCode, len(p.RecordBatches))
				}
			}
		}
	}
}

// newest is the request at its newest version, unless it has one.
func newest(req kmsg.Request) kmsg.Request {
	if req.GetVersion() == 0 {
		req.SetVersion(handler(req.Key()).Max)
	}
	return req
}

func handler(key int16) api.Handler {
	for _, h := range api.Handlers(api.ClientDoor) {
		if h.Key.Int16() == key {
			return h
		}
	}
	return api.Handler{}
}

// telling is what an answer says to somebody who may do nothing.
type telling struct {
	denied bool // an authorisation error
	items  int  // entries that are no brokers
}

func told(v reflect.Value) (out telling) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			return told(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if f.Name == "ErrorCode" {
				switch kerr.ErrorForCode(int16(v.Field(i).Int())) {
				case kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.ClusterAuthorizationFailed, kerr.TransactionalIDAuthorizationFailed:
					out.denied = true
				}
			}
			if f.IsExported() && f.Name != "Brokers" {
				in := told(v.Field(i))
				out.denied, out.items = out.denied || in.denied, out.items+in.items
			}
		}
	case reflect.Slice:
		out.items = v.Len()
		for i := range v.Len() {
			in := told(v.Index(i))
			out.denied = out.denied || in.denied
		}
	}
	return out
}

// soundRequests has a request of every API, and several where they differ in what is
// needed. They name the topic "t" and the group "secret".
func soundRequests(id [16]byte) []kmsg.Request {
	var all []kmsg.Request
	for _, h := range api.Handlers(api.ClientDoor) {
		req := kmsg.RequestForKey(h.Key.Int16())
		name(reflect.ValueOf(req).Elem(), id)
		all = append(all, req)
	}
	for _, req := range all {
		switch req := req.(type) {
		case *kmsg.ApiVersionsRequest:
			req.ClientSoftwareName, req.ClientSoftwareVersion, req.ClusterID, req.NodeID = "test", "1", nil, -1
		case *kmsg.ProduceRequest:
			req.Acks, req.TransactionID = -1, nil
			req.Topics[0].Partitions[0].Records = produceRequest("t", -1, []byte("intruder")).Topics[0].Partitions[0].Records
		case *kmsg.FetchRequest:
			req.SessionEpoch, req.ReplicaID, req.ReplicaState.ID, req.ForgottenTopics, req.ClusterID = -1, -1, -1, nil, nil
		case *kmsg.CreateTopicsRequest:
			req.Topics[0].Topic, req.Topics[0].ReplicaAssignment, req.Topics[0].Configs = "new", nil, nil
		case *kmsg.CreatePartitionsRequest:
			req.Topics[0].Count, req.Topics[0].Assignment = 3, nil
		case *kmsg.SyncGroupRequest:
			req.ProtocolType, req.Protocol = kmsg.StringPtr("consumer"), kmsg.StringPtr("range")
		case *kmsg.InitProducerIDRequest:
			req.TransactionalID, req.ProducerID, req.ProducerEpoch = nil, -1, -1
		case *kmsg.DescribeClusterRequest:
			req.EndpointType, req.IncludeClusterAuthorizedOperations = 1, true
		case *kmsg.DescribeConfigsRequest:
			req.Resources[0].ResourceType = kmsg.ConfigResourceTypeTopic
		case *kmsg.AlterConfigsRequest:
			req.Resources[0].ResourceType = kmsg.ConfigResourceTypeTopic
			req.Resources[0].Configs[0].Name, req.Resources[0].Configs[0].Value = "retention.ms", kmsg.StringPtr("1")
		case *kmsg.IncrementalAlterConfigsRequest:
			req.Resources[0].ResourceType = kmsg.ConfigResourceTypeTopic
			req.Resources[0].Configs[0].Name, req.Resources[0].Configs[0].Value = "retention.ms", kmsg.StringPtr("1")
		case *kmsg.ListGroupsRequest:
			req.StatesFilter, req.TypesFilter = nil, nil
		case *kmsg.DescribeTopicPartitionsRequest:
			req.Cursor = nil
		case *kmsg.ListConfigResourcesRequest:
			req.ResourceTypes = nil
		case *kmsg.DeleteTopicsRequest:
			req.Topics[0].Topic = nil // by id
		case *kmsg.DeleteRecordsRequest:
			req.Topics[0].Partitions[0].Offset = -1
		}
	}
	for _, kind := range []kmsg.ConfigResourceType{kmsg.ConfigResourceTypeBroker, kmsg.ConfigResourceTypeGroupConfig, kmsg.ConfigResourceTypeClientMetrics} {
		describe := kmsg.NewPtrDescribeConfigsRequest()
		describe.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kind, ResourceName: "1"}}
		alter := kmsg.NewPtrIncrementalAlterConfigsRequest()
		alter.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: kind, ResourceName: "1"}}
		replace := kmsg.NewPtrAlterConfigsRequest()
		replace.Resources = []kmsg.AlterConfigsRequestResource{{ResourceType: kind, ResourceName: "1"}}
		all = append(all, describe, alter, replace)
	}
	for _, topic := range []*string{kmsg.StringPtr("t"), kmsg.StringPtr("made-by-asking"), nil} {
		ask := kmsg.NewPtrMetadataRequest()
		ask.AllowAutoTopicCreation = true
		in := kmsg.NewMetadataRequestTopic()
		if in.Topic = topic; topic == nil {
			in.TopicID = id
		}
		ask.Topics = append(ask.Topics, in)
		all = append(all, ask)
	}
	every := kmsg.NewPtrMetadataRequest()
	every.Topics, every.IncludeClusterAuthorizedOperations, every.Version = nil, true, 10
	transactions := kmsg.NewPtrFindCoordinatorRequest()
	transactions.CoordinatorType, transactions.CoordinatorKeys = 1, []string{"secret"}
	follower := kmsg.NewPtrFetchRequest()
	follower.SessionEpoch, follower.ReplicaState.ID = -1, 1
	followed := kmsg.NewFetchRequestTopic()
	followed.TopicID, followed.Partitions = id, []kmsg.FetchRequestTopicPartition{kmsg.NewFetchRequestTopicPartition()}
	follower.Topics = append(follower.Topics, followed)
	epochs := kmsg.NewPtrOffsetForLeaderEpochRequest()
	epochs.ReplicaID = 1
	all = append(all, every, transactions, follower, epochs)
	slices.SortStableFunc(all, func(a, b kmsg.Request) int { return deletes(a) - deletes(b) })
	return all
}

// deletes puts the requests that take away what others name behind them.
func deletes(req kmsg.Request) int {
	switch kmsg.Key(req.Key()) {
	case kmsg.DeleteTopics, kmsg.DeleteGroups, kmsg.OffsetDelete:
		return 1
	}
	return 0
}

// name fills a request with one entry of every list, the topic and the group.
func name(v reflect.Value, id [16]byte) {
	for i := range v.NumField() {
		f, field := v.Field(i), v.Type().Field(i)
		text := "secret"
		if field.Name == "Topic" || field.Name == "ResourceName" || field.Name == "TopicNames" {
			text = "t"
		}
		switch {
		case !field.IsExported() || field.Type == reflect.TypeFor[kmsg.Tags]():
		case f.Type() == reflect.TypeFor[[16]byte]():
			f.Set(reflect.ValueOf(id))
		case f.Kind() == reflect.String:
			f.SetString(text)
		case f.Type() == reflect.TypeFor[*string]() && field.Name == "Topic":
			f.Set(reflect.ValueOf(&text))
		case f.Kind() == reflect.Slice && f.Type().Elem().Kind() == reflect.Struct:
			f.Set(reflect.MakeSlice(f.Type(), 1, 1))
			if d, ok := f.Index(0).Addr().Interface().(interface{ Default() }); ok {
				d.Default()
			}
			name(f.Index(0), id)
		case f.Type() == reflect.TypeFor[[]string]():
			f.Set(reflect.ValueOf([]string{text}))
		case f.Type() == reflect.TypeFor[[]int32]():
			f.Set(reflect.ValueOf([]int32{0}))
		}
	}
}
