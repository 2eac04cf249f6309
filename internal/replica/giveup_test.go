package replica

import (
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/metadata"
)

// configure changes a setting of a topic.
func (c *cluster) configure(topic, name, value string) {
	c.t.Helper()
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.Version = 1
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, topic
	s := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	s.Name, s.Value = name, &value
	r.Configs = append(r.Configs, s)
	req.Resources = append(req.Resources, r)
	resp := c.decide(&metadata.Request{Req: req}).(*kmsg.IncrementalAlterConfigsResponse)
	if code := resp.Resources[0].ErrorCode; code != 0 {
		c.t.Fatalf("setting %s: %v", name, kerr.ErrorForCode(code))
	}
}

// damagedAlone is a leader that alone is in sync and has damaged records which followers
// lack that are there again.
func damagedAlone(t *testing.T, flip func(b *broker) error) (c *cluster, lead *broker) {
	t.Helper()
	c = trio(t, "1")
	c.acked("t", 0, "first")
	c.until("all are in sync", c.inSync)
	lead = c.leader("t", 0)
	for _, b := range c.others() {
		c.isolate(b.id, true)
	}
	c.until("it is alone", func() bool { return len(c.img().Partition("t", 0).ISR) == 1 })
	c.fill40(40)
	if err := flip(lead); err != nil {
		t.Fatal(err)
	}
	lead.scrub(wholePass)
	c.until("it is told that nobody else has it", func() bool { return c.told("DamagedAlone") == 1 })
	clear(c.cut)
	from := lead.part("t", 0).log.Damaged()[0].From
	c.until("followers have what is before the damage", func() bool {
		return !slices.ContainsFunc(c.others(), func(b *broker) bool { return b.part("t", 0).log.EndOffset() != from })
	})
	c.run(10 * time.Second)
	if isr := c.img().Partition("t", 0).ISR; len(isr) != 1 || c.told("DamageGivenUp") != 0 {
		t.Fatalf("in sync are %v, and nobody has allowed a loss", isr)
	}
	return c, lead
}

// TestDamageThatNobodyElseHasIsGivenUpWhenAllowed: followers wait at it until the topic
// allows a loss; then no other record is lost, and all are in sync again.
func TestDamageThatNobodyElseHasIsGivenUpWhenAllowed(t *testing.T) {
	c, lead := damagedAlone(t, func(b *broker) error { return b.disk.FlipBit(b.segments()[1], 700) })
	c.configure("t", "unclean.leader.election.enable", "true")
	c.until("all are in sync, and it is mended", func() bool { return lead.m.Stats().Mended == 1 && c.inSync() })
	if n := c.told("DamageGivenUp"); n != 1 {
		t.Errorf("it was told %d times", n)
	}
	c.same(40)
}

// TestDamageAtTheEndIsGivenUp: behind it there is something with the next record.
func TestDamageAtTheEndIsGivenUp(t *testing.T) {
	c, lead := damagedAlone(t, func(b *broker) error {
		names := b.segments()
		last := names[len(names)-1]
		st, err := b.disk.Stat(last)
		if err != nil {
			return err
		}
		return b.disk.FlipBit(last, st.Size()-1)
	})
	c.configure("t", "unclean.leader.election.enable", "true")
	c.acked("t", 0, "next")
	c.until("all are in sync, and it is mended", func() bool { return lead.m.Stats().Mended == 1 && c.inSync() })
	c.same(41)
}

// TestDamageThatOthersMayHaveIsNotGivenUp: who may have the records is waited for.
func TestDamageThatOthersMayHaveIsNotGivenUp(t *testing.T) {
	c, lead := damagedAlone(t, func(b *broker) error { return b.disk.FlipBit(b.segments()[1], 700) })
	p, other := lead.part("t", 0), c.others()[0].id
	d := p.log.Damaged()[0]
	for name, k := range map[string]struct {
		change func(r *role)
		to     int64
	}{
		"nobody has":                     {func(*role) {}, d.To},
		"it is not allowed":              {func(r *role) { r.Unclean = false }, d.From},
		"another is in sync":             {func(r *role) { r.isr = []int32{lead.id, other} }, d.From},
		"another is eligible":            {func(r *role) { r.eligible = []int32{other} }, d.From},
		"the controller has not said so": {func(*role) { p.damage.alone = false }, d.From},
	} {
		r := *p.st.Load()
		r.Unclean, p.damage.alone = true, true
		k.change(&r)
		if to := p.pass(&r, d.From); to != k.to {
			t.Errorf("%s: from %d it goes on at %d", name, d.From, to)
		}
	}
}
