package broker

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/leat-stream/leat/internal/api"
	"github.com/leat-stream/leat/internal/group"
	"github.com/leat-stream/leat/internal/machine"
	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/replica"
)

const (
	// maxLagSeries bounds the pairs of group and topic that one scrape reports.
	maxLagSeries = 10_000
	// lagPatience is how long a scrape waits for the coordinators.
	lagPatience = time.Second
)

// lagCollector reports how far groups are behind: for each group and topic the records
// between committed offsets and high watermarks, summed over the partitions that have
// an offset. It asks the coordinators at each scrape; one that does not answer in time
// is left out.
type lagCollector struct{ b *Broker }

var (
	descLag = prometheus.NewDesc("leat_group_lag",
		"Records that a group has not consumed of a topic, summed over partitions.", []string{"group", "topic"}, nil)
	descLagOmitted = prometheus.NewDesc("leat_group_lag_omitted",
		"Pairs of group and topic that are left out of leat_group_lag, of which there are at most 10,000.", nil, nil)
)

func (c *lagCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- descLag
	ch <- descLagOmitted
}

// lag is one series.
type lag struct {
	group, topic string
	records      int64
}

func (c *lagCollector) Collect(ch chan<- prometheus.Metric) {
	offsets := c.b.node.Image().Topic(metadata.OffsetsTopic)
	if offsets == nil {
		return
	}
	read := &lagReader{b: c.b}
	answers := make(chan []lag, len(offsets.Partitions))
	asked := 0
	for _, p := range offsets.Partitions {
		if p.Leader != c.b.node.ID() {
			continue
		}
		asked++
		c.b.node.Groups().View(api.GroupShard(p.Index), read.shard, func(body any, err error) {
			list, _ := body.([]lag) // nil after an error
			answers <- list
		})
	}
	late := make(chan struct{})
	timer := c.b.clock.AfterFunc(lagPatience, func() { close(late) })
	defer timer.Stop()
	for range asked {
		select {
		case list := <-answers:
			for _, l := range list {
				ch <- prometheus.MustNewConstMetric(descLag, prometheus.GaugeValue, float64(l.records), l.group, l.topic)
			}
		case <-late:
			return
		}
	}
	ch <- prometheus.MustNewConstMetric(descLagOmitted, prometheus.GaugeValue, float64(read.omitted.Load()))
}

// lagReader reads coordinators' states, on their loops.
type lagReader struct {
	b       *Broker
	series  atomic.Int64
	omitted atomic.Int64
}

// shard lists the lags of one coordinator's groups. Offsets of partitions that this
// broker does not lead, or of an earlier topic of the name, count for nothing.
func (r *lagReader) shard(m machine.Machine) any {
	var list []lag
	var key lag // group and topic at hand
	open := false
	m.(*group.Machine).EachOffset(func(g string, t group.Topic, index int32, offset int64) bool {
		if g != key.group || t.Name != key.topic {
			key, open = lag{group: g, topic: t.Name}, r.series.Add(1) <= maxLagSeries
			if open {
				list = append(list, key)
			} else {
				r.omitted.Add(1)
			}
		}
		p, err := r.b.node.Replicas().Find(replica.Ref{Topic: t.Name, Index: index})
		if !open || err != nil || !p.Leading() || (t.ID != [16]byte{} && t.ID != p.ID().TopicID) {
			return true
		}
		list[len(list)-1].records += max(0, p.HighWatermark()-offset)
		return true
	})
	return list
}
