package metadata

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/machine"
	"github.com/leat-stream/leat/internal/schema"
)

func TestBootstrap(t *testing.T) {
	k := newCluster(t, 0)
	id := k.img().ClusterID()
	if _, err := ParseUUID(id); err != nil || k.img().Feature("metadata.version") != 33 || k.img().Feature(schema.FeatureName) != schema.Level {
		t.Errorf("cluster %q, features %v", id, k.img().Features())
	}
	// Each start sends it again.
	if got := k.do(&Bootstrap{Features: map[string]int16{"metadata.version": 20}}).(*BootstrapReply); got.Created || got.ClusterID != id || len(k.records) != 0 {
		t.Errorf("the second time: %+v", got)
	}
	if got := k.do(&Bootstrap{ClusterID: id}).(*BootstrapReply); got.ClusterID != id {
		t.Errorf("%+v", got)
	}
	if err, ok := k.do(&Bootstrap{ClusterID: "another"}).(error); !ok || !errors.Is(err, kerr.InconsistentClusterID) {
		t.Errorf("another cluster: %v", err)
	}
	// Two clusters differ.
	fresh := NewController(nil, k.opts)
	d := fresh.Decide(machine.Input{Rand: rand.New(rand.NewPCG(5, 6)), Token: 1, Request: &Bootstrap{}})
	if other := d.Replies[0].Body.(*BootstrapReply); !other.Created || other.ClusterID == id {
		t.Errorf("%+v", other)
	}
	d = fresh.Decide(machine.Input{Rand: k.rand, Token: 1, Request: &Bootstrap{ClusterID: "chosen"}})
	if r := d.Replies[0].Body.(*BootstrapReply); r.ClusterID != "chosen" {
		t.Errorf("%+v", r)
	}
	d = fresh.Decide(machine.Input{Rand: k.rand, Token: 1, Request: &Bootstrap{Features: map[string]int16{"share.version": 1}}})
	if _, ok := d.Replies[0].Body.(error); !ok || len(d.Records) != 0 {
		t.Error("a feature that is not built was finalised")
	}
	d = fresh.Decide(machine.Input{Rand: k.rand, Token: 1, Request: &Request{Req: createRequest(topicAsk("t", 1, 1))}})
	if err, ok := d.Replies[0].Body.(error); !ok || !errors.Is(err, ErrNotBootstrapped) || len(d.Records) != 0 {
		t.Errorf("before the cluster is created: %v", d.Replies[0].Body)
	}
}

// TestBootstrapCopiesMinISR: what all leaders must share is not left to each
// broker's file, also when the file gets it later.
func TestBootstrapCopiesMinISR(t *testing.T) {
	k := newCluster(t, 1, "min.insync.replicas=2")
	if k.img().MinISR("any") != 2 {
		t.Errorf("min ISR %d", k.img().MinISR("any"))
	}
	k.do(&Bootstrap{})
	if len(k.records) != 0 {
		t.Error("written again")
	}
	with := k.opts
	k = newCluster(t, 1)
	k.c.opts.Config = with.Config
	k.do(&Bootstrap{})
	if k.img().MinISR("any") != 2 {
		t.Error("not copied at a later start")
	}
}

func TestUnsupportedRequests(t *testing.T) {
	k := newCluster(t, 1)
	for _, req := range []any{&Request{Req: kmsg.NewPtrFetchRequest()}, &Request{}, "hello", nil, kmsg.NewPtrCreateTopicsRequest()} {
		if err, ok := k.do(req).(error); !ok || !errors.Is(err, ErrUnsupported) {
			t.Errorf("%T: %v", req, err)
		}
	}
}

func TestUpdateFeatures(t *testing.T) {
	type update = kmsg.UpdateFeaturesRequestFeatureUpdate
	for _, c := range []struct {
		name    string
		updates []update
		version int16
		want    *kerr.Error
		level   int16
	}{
		{"up", []update{{Feature: "f", MaxVersionLevel: 2, UpgradeType: 1}}, 1, nil, 2},
		{"up v0", []update{{Feature: "f", MaxVersionLevel: 2}}, 0, nil, 2},
		{"up v2", []update{{Feature: "f", MaxVersionLevel: 2, UpgradeType: 1}}, 2, nil, 2},
		{"same", []update{{Feature: "f", MaxVersionLevel: 1, UpgradeType: 1}}, 1, nil, 1},
		{"down as upgrade", []update{{Feature: "f", MaxVersionLevel: 0, UpgradeType: 1}}, 1, kerr.InvalidUpdateVersion, 1},
		{"down v0", []update{{Feature: "f", MaxVersionLevel: 0}}, 0, kerr.InvalidUpdateVersion, 1},
		{"down", []update{{Feature: "f", MaxVersionLevel: 0, UpgradeType: 2}}, 1, nil, 0},
		{"down allowed v0", []update{{Feature: "f", MaxVersionLevel: 0, AllowDowngrade: true}}, 0, nil, 0},
		{"too high", []update{{Feature: "f", MaxVersionLevel: 4, UpgradeType: 1}}, 1, kerr.InvalidUpdateVersion, 1},
		{"not on all brokers", []update{{Feature: "f", MaxVersionLevel: 3, UpgradeType: 1}}, 1, kerr.InvalidUpdateVersion, 1},
		{"negative", []update{{Feature: "f", MaxVersionLevel: -1, UpgradeType: 3}}, 1, kerr.InvalidUpdateVersion, 1},
		{"unknown", []update{{Feature: "x", MaxVersionLevel: 1, UpgradeType: 1}}, 1, kerr.InvalidUpdateVersion, 1},
		{"unknown type", []update{{Feature: "f", MaxVersionLevel: 2, UpgradeType: 4}}, 1, kerr.InvalidUpdateVersion, 1},
		{"metadata to none", []update{{Feature: "metadata.version", MaxVersionLevel: 0, UpgradeType: 3}}, 1, kerr.InvalidUpdateVersion, 1},
		{"twice", []update{{Feature: "f", MaxVersionLevel: 2, UpgradeType: 1}, {Feature: "f", MaxVersionLevel: 2, UpgradeType: 1}}, 1, kerr.InvalidRequest, 1},
		{"all or none", []update{{Feature: "f", MaxVersionLevel: 2, UpgradeType: 1}, {Feature: "x", MaxVersionLevel: 1, UpgradeType: 1}}, 1, kerr.InvalidUpdateVersion, 1},
	} {
		for _, validate := range []bool{true, false} {
			k := newCluster(t, 0)
			k.c.opts.Features = append(k.c.opts.Features[:2:2], FeatureRange{"f", 0, 3})
			reg := registrationRequest(k.img(), 1, 1)
			reg.Features = append(reg.Features, kmsg.BrokerRegistrationRequestFeature{Name: "f", MaxSupportedVersion: 2})
			k.ask(reg)
			k.offset++
			for _, b := range []*Builder{k.c.b, k.replay} {
				if err := b.Apply(k.offset, &schema.FeatureLevel{Name: "f", Level: 1}); err != nil {
					t.Fatal(err)
				}
			}
			req := kmsg.NewPtrUpdateFeaturesRequest()
			req.Version, req.FeatureUpdates, req.ValidateOnly = c.version, c.updates, validate
			got := k.ask(req).(*kmsg.UpdateFeaturesResponse)
			want, level := int16(0), c.level
			if c.want != nil {
				want = c.want.Code
			}
			if validate {
				level = 1
			}
			if got.ErrorCode != want || k.img().Feature("f") != level {
				t.Errorf("%s: code %d, want %d; level %d", c.name, got.ErrorCode, want, k.img().Feature("f"))
			}
			if results := len(got.Results); c.version <= 1 && results != len(c.updates) || c.version == 2 && results != 0 {
				t.Errorf("%s: %d results", c.name, results)
			}
			k.checkInvariants()
		}
	}
}
