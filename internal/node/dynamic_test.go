package node

import (
	"testing"

	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/schema"
)

// TestDynamicSettingsAreResolvedOnce: a change of the metadata that changes no setting of
// this broker costs nothing here, and repeats no warning.
func TestDynamicSettingsAreResolvedOnce(t *testing.T) {
	cfg, _, err := config.Load(config.Sources{})
	if err != nil {
		t.Fatal(err)
	}
	n := &Node{id: 7, opt: Options{Config: cfg}}
	n.cfg.Store(cfg)
	m := &metadataLog{n: n}
	b := metadata.NewBuilder(nil)
	set := func(index int64, broker, value string) {
		t.Helper()
		if err := b.Apply(index, &schema.Config{ResourceType: metadata.ResourceBroker, ResourceName: broker, Key: "log.retention.ms", Value: &value}); err != nil {
			t.Fatal(err)
		}
		img, _ := b.Image()
		m.takeConfigs(img)
	}
	set(1, "", "1000")
	first := n.cfg.Load()
	if first == cfg {
		t.Fatal("a setting of all brokers was not taken")
	}
	set(2, "8", "2000") // of another broker
	if n.cfg.Load() != first {
		t.Error("resolved anew for a setting of another broker")
	}
	for i, broker := range []string{"7", ""} {
		set(int64(3+i), broker, "3000")
		if n.cfg.Load() == first {
			t.Errorf("a setting of broker %q was not taken", broker)
		}
		first = n.cfg.Load()
	}
}
