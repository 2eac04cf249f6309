package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// consume reads the topic, which a fill wrote, from its start to its end again and
// again until the window ends: one connection to each leader, one request at a time on
// it, limits of the clients' defaults (1 MiB a partition, 50 MiB a request).
func consume(ctx context.Context, l Load, w *window) error {
	ends, err := endOffsets(ctx, l)
	if err != nil {
		return err
	}
	for p, end := range ends {
		if end == 0 {
			return fmt.Errorf("nothing to read in partition %d", p)
		}
	}
	all, _, err := shares(ctx, l)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	conns := make([]net.Conn, len(all))
	for i, s := range all {
		c, err := dial(ctx, "tcp", s.addr)
		if err != nil {
			return err
		}
		defer c.Close()
		defer context.AfterFunc(ctx, func() { c.Close() })()
		conns[i] = c
	}
	w.open()
	return each(len(all), len(all), func(i int) error {
		f := newFetcher(l, ends, all[i].partitions)
		for !w.over() {
			records, err := f.once(conns[i])
			if err != nil {
				cancel(err) // the others need not go on
				return errors.Join(err, context.Cause(ctx))
			}
			w.count(time.Now(), records, records*int64(l.Size))
		}
		return nil
	})
}

// fetcher asks for all partitions of a broker, each from where it stands.
type fetcher struct {
	req   *kmsg.FetchRequest
	form  *kmsg.RequestFormatter
	ends  []int64
	corr  int32
	frame []byte
	buf   []byte
}

func newFetcher(l Load, ends []int64, partitions []int32) *fetcher {
	f := &fetcher{req: kmsg.NewPtrFetchRequest(), form: kmsg.NewRequestFormatter(kmsg.FormatterClientID(clientID)), ends: ends}
	f.req.Version = fetchVersion
	f.req.MaxWaitMillis, f.req.MinBytes, f.req.MaxBytes = 500, 1, 50<<20
	f.req.SessionEpoch = -1
	t := kmsg.NewFetchRequestTopic()
	t.Topic = l.Topic
	for _, p := range partitions {
		part := kmsg.NewFetchRequestTopicPartition()
		part.Partition, part.PartitionMaxBytes = p, 1<<20
		t.Partitions = append(t.Partitions, part)
	}
	f.req.Topics = append(f.req.Topics, t)
	return f
}

func (f *fetcher) once(c net.Conn) (records int64, err error) {
	f.corr++
	f.frame = f.form.AppendRequest(f.frame[:0], f.req, f.corr)
	if _, err := c.Write(f.frame); err != nil {
		return 0, err
	}
	if f.buf, err = readFrame(c, f.buf); err != nil {
		return 0, err
	}
	resp := kmsg.NewPtrFetchResponse()
	resp.Version = fetchVersion
	if err := decode(f.buf, f.corr, resp); err != nil {
		return 0, err
	}
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return 0, err
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return 0, fmt.Errorf("fetch of %s-%d: %w", t.Topic, p.Partition, err)
			}
			n, next := countBatches(p.RecordBatches)
			records += n
			f.advance(p.Partition, next)
		}
	}
	// The first partition in turn, as clients do: one that is always last starves.
	parts := f.req.Topics[0].Partitions
	if len(parts) > 1 {
		first := parts[0]
		copy(parts, parts[1:])
		parts[len(parts)-1] = first
	}
	return records, nil
}

// advance moves a partition on, and back to its start at its end.
func (f *fetcher) advance(partition int32, next int64) {
	if next == 0 {
		return // nothing came for it
	}
	if next >= f.ends[partition] {
		next = 0
	}
	parts := f.req.Topics[0].Partitions
	for i := range parts {
		if parts[i].Partition == partition {
			parts[i].FetchOffset = next
		}
	}
}
