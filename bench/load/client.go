package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// dial tries for as long as dialLimit, in short tries: a broker that is busy lets its
// queue of connections run full, and the kernel then doubles its wait with every try
// that it makes itself. franz-go's one dial of ten seconds ended a whole run that way.
func dial(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTry}
	return tryDial(ctx, func(ctx context.Context) (net.Conn, error) { return d.DialContext(ctx, network, addr) })
}

func tryDial(ctx context.Context, try func(context.Context) (net.Conn, error)) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	for {
		c, err := try(ctx)
		if err == nil || ctx.Err() != nil {
			return c, err
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// client is a franz-go client with the limits that all of them have.
func client(l Load, opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(strings.Split(l.Addr, ",")...), kgo.Dialer(dial), kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.RequestTimeoutOverhead(setupLimit), kgo.RetryTimeout(setupLimit),
	}, opts...)...)
}

// CreateTopic makes the load's topic and waits until every partition has taken a
// record: a broker names leaders before they lead.
func CreateTopic(ctx context.Context, l Load) error {
	ctx, cancel := context.WithTimeout(ctx, setupLimit)
	defer cancel()
	c, err := client(l, kgo.DefaultProduceTopic(l.Topic), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.UnknownTopicRetries(-1), kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }))
	if err != nil {
		return err
	}
	defer c.Close()
	adm := kadm.NewClient(c)
	adm.SetTimeoutMillis(int32(setupLimit / time.Millisecond))
	var configs map[string]*string
	if l.MinISR > 0 {
		configs = map[string]*string{"min.insync.replicas": kadm.StringPtr(strconv.Itoa(l.MinISR))}
	}
	if _, err := adm.CreateTopic(ctx, int32(l.Partitions), int16(max(l.Replicas, 1)), configs, l.Topic); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("creating topic %s: %w", l.Topic, err)
	}
	records := make([]*kgo.Record, l.Partitions)
	for i := range records {
		records[i] = &kgo.Record{Partition: int32(i), Value: make([]byte, l.Size)}
	}
	if err := c.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return fmt.Errorf("first records of topic %s: %w", l.Topic, err)
	}
	return nil
}

// endOffsets are the ends of the topic's partitions.
func endOffsets(ctx context.Context, l Load) ([]int64, error) {
	c, err := client(l)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	listed, err := kadm.NewClient(c).ListEndOffsets(ctx, l.Topic)
	if err != nil {
		return nil, err
	}
	ends := make([]int64, l.Partitions)
	listed.Each(func(o kadm.ListedOffset) {
		if o.Err != nil {
			err = o.Err
			return
		}
		ends[o.Partition] = o.Offset
	})
	return ends, err
}

// share is what one broker leads of a topic.
type share struct {
	addr       string
	partitions []int32
}

// shares are the topic's partitions by their leader, and how many replicas are out of
// sync.
func shares(ctx context.Context, l Load) (all []share, outOfSync int, err error) {
	c, err := client(l)
	if err != nil {
		return nil, 0, err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, setupLimit)
	defer cancel()
	m, err := kadm.NewClient(c).Metadata(ctx, l.Topic)
	if err != nil {
		return nil, 0, err
	}
	led := map[int32][]int32{}
	for _, p := range m.Topics[l.Topic].Partitions.Sorted() {
		if p.Err != nil {
			return nil, 0, fmt.Errorf("partition %d of %s: %w", p.Partition, l.Topic, p.Err)
		}
		led[p.Leader] = append(led[p.Leader], p.Partition)
		outOfSync += len(p.Replicas) - len(p.ISR)
	}
	for _, b := range m.Brokers {
		if parts := led[b.NodeID]; len(parts) > 0 {
			slices.Sort(parts)
			all = append(all, share{net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port))), parts})
		}
	}
	if len(all) != len(led) {
		return nil, 0, fmt.Errorf("%d brokers lead partitions of %s, %d of them have an address", len(led), l.Topic, len(all))
	}
	slices.SortFunc(all, func(a, b share) int { return int(a.partitions[0] - b.partitions[0]) })
	return all, outOfSync, nil
}
