package metadata

import (
	"bytes"
	"errors"
	"iter"
	"slices"
	"testing"

	"github.com/leat-stream/leat/internal/schema"
)

func id(b byte) (u [16]byte) {
	for i := range u {
		u[i] = b
	}
	return u
}

func str(s string) *string { return &s }

// apply applies records one after the other at growing indexes.
func apply(t testing.TB, b *Builder, recs ...schema.Record) {
	t.Helper()
	for _, r := range recs {
		if err := b.Apply(b.View().Index()+1, r); err != nil {
			t.Fatal(err)
		}
	}
}

// sampleRecords build a small cluster with something of everything.
func sampleRecords() []schema.Record {
	change := schema.NewPartitionChange()
	change.TopicID, change.Index, change.Leader = id(1), 1, NoLeader
	change.ISR, change.ELR, change.LastKnownELR = []int32{}, []int32{2}, []int32{2}
	return []schema.Record{
		&schema.ClusterCreated{ClusterID: UUIDString(id(9))},
		&schema.FeatureLevel{Name: "metadata.version", Level: 33},
		&schema.RegisterBroker{BrokerID: 2, Epoch: 3, IncarnationID: id(7), Rack: str("a"), RegisteredAt: -1, Directories: [][16]byte{id(8)}},
		&schema.RegisterBroker{BrokerID: 1, Epoch: 4, RegisteredAt: -1, Fenced: true,
			Listeners: []schema.RegisterBrokerListener{{Name: "PLAINTEXT", Host: "h", Port: 1}},
			Features:  []schema.RegisterBrokerFeature{{Name: "f", MinSupported: 1, MaxSupported: 2}}},
		&schema.Topic{TopicID: id(1), Name: "b"},
		&schema.Partition{TopicID: id(1), Index: 0, Leader: 1, Replicas: []int32{1, 2}, ISR: []int32{1, 2}},
		&schema.Partition{TopicID: id(1), Index: 1, Leader: 2, Replicas: []int32{2, 1}, ISR: []int32{2}, Directories: [][16]byte{id(8), {}}},
		change,
		&schema.Topic{TopicID: id(2), Name: "a.x"},
		&schema.Config{ResourceType: ResourceTopic, ResourceName: "b", Key: "k", Value: str("v")},
		&schema.Config{ResourceType: ResourceBroker, Key: "k", Value: str("default")},
		&schema.ProducerIDs{Next: 1000},
	}
}

func sampleImage(t testing.TB) *Image {
	b := NewBuilder(nil)
	b.SetTerm(4)
	apply(t, b, sampleRecords()...)
	img, _ := b.Image()
	return img
}

func TestImageReads(t *testing.T) {
	img := sampleImage(t)
	if img.Topic("b").ID != id(1) || img.TopicByID(id(2)).Name != "a.x" || img.Topic("c") != nil || img.TopicByID(id(3)) != nil {
		t.Error("topic look-ups")
	}
	var names []string
	for topic := range img.Topics() {
		names = append(names, topic.Name)
	}
	if !slices.Equal(names, []string{"a.x", "b"}) {
		t.Errorf("topics %v", names)
	}
	for topic := range img.TopicsFrom("a.y") {
		if topic.Name != "b" {
			t.Errorf("from a.y comes %s", topic.Name)
		}
	}
	p := img.Partition("b", 1)
	if p.Leader != NoLeader || p.LeaderEpoch != 1 || p.PartitionEpoch != 1 || len(p.ISR) != 0 ||
		!slices.Equal(p.ELR(), []int32{2}) || !slices.Equal(p.LastKnownELR(), []int32{2}) || p.Directory(2) != id(8) || p.Directory(1) != [16]byte{} {
		t.Errorf("partition %+v", p)
	}
	if img.Partition("b", 2) != nil || img.Partition("b", -1) != nil || img.Partition("none", 0) != nil {
		t.Error("a partition that is not there")
	}
	if !img.Active(2) || img.Active(1) || img.Active(3) || img.Broker(1).RegisteredAt != 4 || len(img.Brokers()) != 2 {
		t.Error("brokers")
	}
	if img.Config(ResourceTopic, "b")["k"] != "v" || img.Config(ResourceBroker, "")["k"] != "default" || img.Config(ResourceTopic, "") != nil {
		t.Error("configs")
	}
	for name := range img.ConfigResources(ResourceTopic) {
		if name != "b" {
			t.Errorf("config resource %q", name)
		}
	}
	if img.ClusterID() != "CQkJCQkJCQkJCQkJCQkJCQ" || img.Feature("metadata.version") != 33 || img.Feature("none") != 0 ||
		img.NextProducerID() != 1000 || img.Index() != 12 || img.Term() != 4 || img.PartitionCount() != 2 || img.TopicCount() != 2 {
		t.Error("scalars")
	}
}

// TestImagesAreImmutable cuts an image after each record and checks at the end
// that each is still what it was.
func TestImagesAreImmutable(t *testing.T) {
	b := NewBuilder(nil)
	var images []*Image
	var bytesOf [][]byte
	recs := append(sampleRecords(),
		&schema.PartitionChange{TopicID: id(1), Leader: 2},
		&schema.Partition{TopicID: id(1), Index: 2, Leader: 1, Replicas: []int32{1}, ISR: []int32{1}},
		&schema.BrokerChange{BrokerID: 1, Epoch: 4, Fence: -1},
		&schema.Config{ResourceType: ResourceTopic, ResourceName: "b", Key: "k2", Value: str("v2")},
		&schema.Config{ResourceType: ResourceTopic, ResourceName: "b", Key: "k"},
		&schema.FeatureLevel{Name: "metadata.version"},
		&schema.RemoveTopic{TopicID: id(1)},
		&schema.UnregisterBroker{BrokerID: 1, Epoch: 4})
	for i, r := range recs {
		apply(t, b, r)
		if i%3 == 2 { // so that some cuts have several records
			continue
		}
		img, _ := b.Image()
		images, bytesOf = append(images, img), append(bytesOf, snapshotBytes(t, img))
	}
	for i, img := range images {
		if !bytes.Equal(snapshotBytes(t, img), bytesOf[i]) {
			t.Fatalf("image %d changed after it was cut", i)
		}
	}
	// Builders from an old image do not change it either.
	for _, i := range []int{3, 8} {
		b := NewBuilder(images[i])
		apply(t, b, &schema.Topic{TopicID: id(50), Name: "new"}, &schema.FeatureLevel{Name: "f", Level: 1},
			&schema.Config{ResourceType: ResourceTopic, ResourceName: "b", Key: "k", Value: str("w")})
		if !bytes.Equal(snapshotBytes(t, images[i]), bytesOf[i]) {
			t.Fatalf("a builder changed its base %d", i)
		}
	}
}

// frames are an image's snapshot.
func frames(t testing.TB, img *Image) [][]byte {
	t.Helper()
	var out [][]byte
	for frame, err := range img.Snapshot() {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, frame)
	}
	return out
}

func snapshotBytes(t testing.TB, img *Image) []byte { return bytes.Join(frames(t, img), nil) }

// each iterates over frames as a snapshot's reader does.
func each(frames [][]byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for _, f := range frames {
			if !yield(f, nil) {
				return
			}
		}
	}
}

func TestRemoveTopicRemovesConfigs(t *testing.T) {
	b := NewBuilder(sampleImage(t))
	apply(t, b, &schema.RemoveTopic{TopicID: id(1)})
	img, delta := b.Image()
	if img.Config(ResourceTopic, "b") != nil || img.PartitionCount() != 0 || img.Topic("b") != nil || img.TopicByID(id(1)) != nil {
		t.Error("something of the topic is left")
	}
	if len(delta.Configs) != 1 || delta.Configs[0] != (Resource{ResourceTopic, "b"}) {
		t.Errorf("configs changed: %v", delta.Configs)
	}
}

func TestDelta(t *testing.T) {
	base := sampleImage(t)
	b := NewBuilder(base)
	if _, d := b.Image(); !d.Empty() {
		t.Errorf("a delta without records: %+v", d)
	}
	apply(t, b,
		&schema.RemoveTopic{TopicID: id(2)},
		&schema.Topic{TopicID: id(3), Name: "a.x"},
		&schema.Partition{TopicID: id(3), Leader: 2, Replicas: []int32{2}, ISR: []int32{2}},
		&schema.PartitionChange{TopicID: id(1), Index: 1, Leader: 2, ISR: []int32{2}, ELR: []int32{}},
		&schema.Topic{TopicID: id(4), Name: "gone"},
		&schema.RemoveTopic{TopicID: id(4)},
		&schema.BrokerChange{BrokerID: 1, Epoch: 4, Fence: -1},
		&schema.Config{ResourceType: ResourceBroker, Key: "k2", Value: str("x")},
		&schema.Config{ResourceType: ResourceTopic, ResourceName: "b", Key: "k", Value: str("v")}, // no change
		&schema.FeatureLevel{Name: "f", Level: 1},
	)
	img, d := b.Image()
	full := Diff(base, img)
	for name, d := range map[string]*Delta{"of the builder": d, "of Diff": full} {
		if len(d.Topics) != 3 || d.Topics[0].New != nil || d.Topics[0].Old.ID != id(2) ||
			d.Topics[1].Old != nil || d.Topics[1].New.ID != id(3) || !slices.Equal(d.Topics[1].Partitions, []int32{0}) ||
			d.Topics[2].Old == nil || d.Topics[2].New.ID != id(1) || !slices.Equal(d.Topics[2].Partitions, []int32{1}) {
			t.Errorf("topics %s: %+v", name, d.Topics)
		}
		if len(d.Brokers) != 1 || d.Brokers[0].New.ID != 1 || !d.Brokers[0].Old.Fenced || d.Brokers[0].New.Fenced {
			t.Errorf("brokers %s: %+v", name, d.Brokers)
		}
		if !slices.Equal(d.Configs, []Resource{{ResourceBroker, ""}}) || !d.Features {
			t.Errorf("configs %s: %+v", name, d.Configs)
		}
	}
	if all := Diff(nil, img); len(all.Topics) != 2 || len(all.Brokers) != 2 || len(all.Configs) != 2 {
		t.Errorf("from nothing: %+v", all)
	}
}

func TestApplyErrors(t *testing.T) {
	for name, rec := range map[string]schema.Record{
		"second cluster id":    &schema.ClusterCreated{ClusterID: "x"},
		"same topic name":      &schema.Topic{TopicID: id(3), Name: "b"},
		"same topic id":        &schema.Topic{TopicID: id(1), Name: "c"},
		"no such topic":        &schema.RemoveTopic{TopicID: id(3)},
		"partition of nothing": &schema.Partition{TopicID: id(3), Replicas: []int32{1}},
		"gap in partitions":    &schema.Partition{TopicID: id(1), Index: 3, Replicas: []int32{1}},
		"existing partition":   &schema.Partition{TopicID: id(1), Index: 1, Replicas: []int32{1}},
		"no replicas":          &schema.Partition{TopicID: id(1), Index: 2},
		"change of nothing":    &schema.PartitionChange{TopicID: id(1), Index: 2},
		"directories":          &schema.Partition{TopicID: id(1), Index: 2, Replicas: []int32{1}, Directories: [][16]byte{id(1), id(2)}},
		"changed directories":  &schema.PartitionChange{TopicID: id(1), Index: 1, Directories: [][16]byte{id(1)}},
		"unregister nobody":    &schema.UnregisterBroker{BrokerID: 9},
		"unregister old epoch": &schema.UnregisterBroker{BrokerID: 1, Epoch: 3},
		"change old epoch":     &schema.BrokerChange{BrokerID: 1, Epoch: 3},
		"register old epoch":   &schema.RegisterBroker{BrokerID: 1, Epoch: 3},
		"producer ids back":    &schema.ProducerIDs{Next: 999},
		"footer":               &schema.SnapshotFooter{},
	} {
		b := NewBuilder(sampleImage(t))
		if err := b.Apply(20, rec); !errors.Is(err, ErrInconsistent) {
			t.Errorf("%s: %v", name, err)
		}
		if !b.View().Equal(sampleImage(t)) {
			t.Errorf("%s: the state changed", name)
		}
	}
	b := NewBuilder(sampleImage(t))
	if err := b.Apply(11, &schema.FeatureLevel{Name: "f", Level: 1}); !errors.Is(err, ErrInconsistent) {
		t.Errorf("an index that goes back: %v", err)
	}
}

func TestSnapshot(t *testing.T) {
	img := sampleImage(t)
	loaded, err := LoadSnapshot(each(frames(t, img)))
	if err != nil {
		t.Fatal(err)
	}
	back, delta := loaded.Image()
	if !back.Equal(img) || back.Term() != img.Term() || !delta.Features || len(delta.Topics) != 2 || len(delta.Brokers) != 2 {
		t.Fatalf("the loaded image differs; delta %+v", delta)
	}
	// The next broker epoch outlives the brokers.
	b := NewBuilder(img)
	apply(t, b, &schema.UnregisterBroker{BrokerID: 1, Epoch: 4})
	again, err := LoadSnapshot(each(frames(t, b.View())))
	if err != nil || again.View().lastBrokerEpoch != 4 {
		t.Fatalf("last broker epoch %d, %v", again.View().lastBrokerEpoch, err)
	}
	// As records within a log, a snapshot replaces what was there.
	b = NewBuilder(nil)
	apply(t, b, &schema.Topic{TopicID: id(77), Name: "old"})
	b.Image()
	for _, frame := range frames(t, img) {
		if err := b.ApplyFrame(img.Index(), frame); err != nil {
			t.Fatal(err)
		}
		if cut, _ := b.Image(); (cut == nil) != b.snapshot {
			t.Fatal("an image was cut within a snapshot")
		}
	}
	if !b.View().Equal(img) {
		t.Fatal("the image of the records differs")
	}
}

// TestSnapshotDamage: records that are missing, repeated, too many or broken are noticed.
func TestSnapshotDamage(t *testing.T) {
	whole := frames(t, sampleImage(t))
	bad := func(name string, want error, frames [][]byte) {
		t.Helper()
		if _, err := LoadSnapshot(each(frames)); !errors.Is(err, want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := range whole {
		bad("cut", ErrInconsistent, whole[:i])
		bad("one missing", ErrInconsistent, slices.Concat(whole[:i], whole[i+1:]))
		bad("one twice", ErrInconsistent, slices.Insert(slices.Clone(whole), i, whole[i]))
		bad("one cut", schema.ErrMalformed, slices.Concat(whole[:i], [][]byte{whole[i][:len(whole[i])-1]}, whole[i+1:]))
		bad("a newer one", schema.ErrUnknown, slices.Concat(whole[:i], [][]byte{{0, 99, 0, 0}}, whole[i:]))
	}
	broken := errors.New("disk")
	if _, err := LoadSnapshot(func(yield func([]byte, error) bool) { yield(nil, broken) }); !errors.Is(err, broken) {
		t.Errorf("a read error: %v", err)
	}
}

// FuzzApplyFrame applies any frame to a state: an error leaves the state as it
// was, and without one the state survives a snapshot.
func FuzzApplyFrame(f *testing.F) {
	img := sampleImage(f)
	for _, frame := range frames(f, img) {
		f.Add(frame)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		b := NewBuilder(img)
		if err := b.ApplyFrame(100, frame); err != nil {
			if !b.View().Equal(img) {
				t.Fatalf("the state changed: %v", err)
			}
			return
		}
		if b.snapshot {
			return
		}
		again, err := LoadSnapshot(each(frames(t, b.View())))
		if err != nil || !again.View().Equal(b.View()) {
			t.Fatalf("the image differs after a snapshot: %v", err)
		}
	})
}

func TestReadsDoNotAllocate(t *testing.T) {
	img := sampleImage(t)
	topic := id(1)
	if n := testing.AllocsPerRun(100, func() {
		if img.TopicByID(topic) == nil || img.Topic("b") == nil || img.Partition("b", 1) == nil || !img.Active(2) {
			t.Fatal("look-up failed")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestTopicNames(t *testing.T) {
	long := string(bytes.Repeat([]byte("a"), MaxTopicName))
	for _, ok := range []string{"a", "A.b_c-9", "...", long, "__consumer_offsets"} {
		if err := CheckTopicName(ok); err != nil {
			t.Errorf("%q: %v", ok, err)
		}
	}
	for _, bad := range []string{"", ".", "..", long + "a", "a b", "a/b", "ä", "a\x00", "a:b"} {
		if CheckTopicName(bad) == nil {
			t.Errorf("%q passed", bad)
		}
	}
	if u, err := ParseUUID(UUIDString(id(200))); err != nil || u != id(200) {
		t.Error(u, err)
	}
	for _, bad := range []string{"", "x", UUIDString(id(1)) + "A", "!!!!!!!!!!!!!!!!!!!!!!"} {
		if _, err := ParseUUID(bad); err == nil {
			t.Errorf("%q passed", bad)
		}
	}
}
