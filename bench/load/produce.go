package load

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// inFlight is how many produce requests are under way, as in every client.
const inFlight = 5

// produce keeps the brokers supplied, each over one connection, until the window ends, or
// for a fill until so much is acknowledged. With acks=all the producer is idempotent, as
// clients' defaults are.
func produce(ctx context.Context, l Load, w *window) error {
	if err := CreateTopic(ctx, l); err != nil {
		return err
	}
	id, epoch := int64(-1), int16(-1)
	var err error
	if l.Acks == -1 {
		if id, epoch, err = producerID(ctx, l); err != nil {
			return err
		}
	}
	all, _, err := shares(ctx, l)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	pipes := make([]*pipe, len(all))
	for i, s := range all {
		p := &pipe{l: l, w: w, bytes: l.Bytes * int64(len(s.partitions)) / int64(l.Partitions), id: id, epoch: epoch}
		if p.f, err = produceFrame(l, s.partitions); err != nil {
			return err
		}
		if p.c, err = dial(ctx, "tcp", s.addr); err != nil {
			return err
		}
		defer p.c.Close()
		context.AfterFunc(ctx, func() { p.c.Close() })
		pipes[i] = p
	}
	w.open()
	err = each(len(pipes), len(pipes), func(i int) error {
		err := pipes[i].run(ctx, cancel)
		if err != nil {
			cancel(err) // the others need not go on
		}
		return err
	})
	if err != nil {
		return context.Cause(ctx)
	}
	_, w.outOfSync, err = shares(ctx, l)
	return err
}

// pipe is the connection to one broker.
type pipe struct {
	c     net.Conn
	l     Load
	w     *window
	f     *frame
	bytes int64 // of a fill
	id    int64 // of the idempotent producer, -1 for none
	epoch int16
}

func (p *pipe) run(ctx context.Context, cancel context.CancelCauseFunc) error {
	underWay := make(chan struct{}, inFlight-1) // and one whose answer is being read
	acked := make(chan error, 1)
	go func() {
		err := p.acknowledge(underWay)
		if err != nil {
			cancel(err)
		}
		acked <- err
	}()
	err := p.send(ctx, underWay)
	close(underWay)
	if err == nil {
		// Closing ends the reading when the broker never answers.
		late := time.AfterFunc(drainLimit, func() { cancel(errors.New("no answer when the load ended")) })
		defer late.Stop()
	}
	if aerr := <-acked; aerr != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	} else if aerr != nil {
		return aerr
	}
	return err
}

// send writes the request again and again, when there is a place for it.
func (p *pipe) send(ctx context.Context, underWay chan<- struct{}) error {
	next := make([]int32, p.l.Partitions)
	written := int64(0)
	for i := int32(0); ; i++ {
		if p.l.Mode == "fill" && written >= p.bytes || p.l.Mode != "fill" && p.w.over() {
			return nil
		}
		p.f.setCorrelation(i)
		if p.id >= 0 {
			p.f.sequence(p.id, p.epoch, next)
		}
		select {
		case underWay <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if _, err := p.c.Write(p.f.bytes); err != nil {
			return errors.Join(err, context.Cause(ctx))
		}
		written += p.f.records * int64(p.l.Size)
	}
}

// acknowledge reads the answers, in the order of the requests, until no more comes.
func (p *pipe) acknowledge(underWay <-chan struct{}) error {
	var buf []byte
	i := int32(0)
	for range underWay {
		var err error
		if buf, err = readFrame(p.c, buf); errors.Is(err, io.EOF) {
			return errors.New("the broker closed the connection")
		} else if err != nil {
			return err
		}
		if err := checkProduced(buf, i); err != nil {
			return err
		}
		p.w.count(time.Now(), p.f.records, p.f.records*int64(p.l.Size))
		i++
	}
	return nil
}

func checkProduced(b []byte, correlation int32) error {
	resp := kmsg.NewPtrProduceResponse()
	resp.Version = produceVersion
	if err := decode(b, correlation, resp); err != nil {
		return err
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return fmt.Errorf("produce to %s-%d: %w", t.Topic, p.Partition, err)
			}
		}
	}
	return nil
}

// readFrame reads one response behind its size, into buf where it fits.
func readFrame(c net.Conn, buf []byte) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return buf, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > 256<<20 {
		return buf, fmt.Errorf("response of %d bytes", n)
	}
	if cap(buf) < int(n) {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	_, err := io.ReadFull(c, buf)
	return buf, err
}

// decode reads a flexible response with its header. Fetched batches are views into b.
func decode(b []byte, correlation int32, resp kmsg.Response) error {
	r := kbin.Reader{Src: b}
	if got := r.Int32(); got != correlation {
		return fmt.Errorf("answer to request %d instead of %d", got, correlation)
	}
	kmsg.SkipTags(&r)
	if err := r.Complete(); err != nil {
		return err
	}
	return resp.ReadFrom(r.Src)
}

func producerID(ctx context.Context, l Load) (int64, int16, error) {
	c, err := client(l)
	if err != nil {
		return 0, 0, err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, setupLimit)
	defer cancel()
	resp, err := kmsg.NewPtrInitProducerIDRequest().RequestWith(ctx, c)
	if err != nil {
		return 0, 0, err
	}
	return resp.ProducerID, resp.ProducerEpoch, kerr.ErrorForCode(resp.ErrorCode)
}
