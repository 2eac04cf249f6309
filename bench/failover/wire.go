//go:build linux

package failover

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// link is one connection with one request at a time. A client library has timeouts and
// pauses of its own, which would be measured here instead of the cluster.
type link struct {
	addr string
	nc   net.Conn
	seq  int32
	fmt  *kmsg.RequestFormatter
	buf  []byte
}

// patience is how long a request may take before its connection is given up: a node that
// is stopped never hangs up.
const patience = 500 * time.Millisecond

func (l *link) call(req kmsg.Request) (kmsg.Response, error) {
	if l.nc == nil {
		nc, err := net.DialTimeout("tcp", l.addr, patience)
		if err != nil {
			return nil, err
		}
		l.nc, l.fmt = nc, kmsg.NewRequestFormatter(kmsg.FormatterClientID("failover"))
	}
	resp, err := l.exchange(req)
	if err != nil {
		l.close()
	}
	return resp, err
}

func (l *link) close() {
	if l.nc != nil {
		l.nc.Close()
		l.nc = nil
	}
}

func (l *link) exchange(req kmsg.Request) (kmsg.Response, error) {
	l.seq++
	l.buf = l.fmt.AppendRequest(l.buf[:0], req, l.seq)
	if err := l.nc.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	if _, err := l.nc.Write(l.buf); err != nil {
		return nil, err
	}
	var size [4]byte
	if _, err := io.ReadFull(l.nc, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > 64<<20 {
		return nil, fmt.Errorf("answer of %d bytes", n)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(l.nc, b); err != nil {
		return nil, err
	}
	r := kbin.Reader{Src: b}
	if got := r.Int32(); got != l.seq {
		return nil, fmt.Errorf("answer to request %d instead of %d", got, l.seq)
	}
	resp := req.ResponseKind()
	if resp.IsFlexible() && resp.Key() != 18 {
		kmsg.SkipTags(&r)
	}
	if err := r.Complete(); err != nil {
		return nil, err
	}
	return resp, resp.ReadFrom(r.Src)
}

// view is where the partitions' leaders are, as far as anybody here has heard. Whoever
// is in doubt asks for a new one; all asking is shared.
type view struct {
	addrs []string

	mu      sync.Mutex
	leaders []int32
	epochs  []int32
	brokers map[int32]string
	wanted  chan struct{}
	changed chan struct{} // closed and made anew by each answer
}

func newView(addrs []string, partitions int) *view {
	v := &view{addrs: addrs, brokers: map[int32]string{}, wanted: make(chan struct{}, 1), changed: make(chan struct{})}
	v.leaders, v.epochs = slices.Repeat([]int32{-1}, partitions), slices.Repeat([]int32{-1}, partitions)
	return v
}

// run asks one node after the other whenever somebody is in doubt.
func (v *view) run(ctx context.Context, topic string) {
	links := make([]*link, len(v.addrs))
	for i, a := range v.addrs {
		links[i] = &link{addr: a}
	}
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			for _, l := range links {
				l.close()
			}
			return
		case <-v.wanted:
		}
		if resp, err := links[i%len(links)].call(metadataRequest(topic)); err == nil {
			v.take(resp.(*kmsg.MetadataResponse))
		}
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Millisecond):
		}
		v.mu.Lock()
		close(v.changed)
		v.changed = make(chan struct{})
		v.mu.Unlock()
	}
}

func metadataRequest(topic string) *kmsg.MetadataRequest {
	req := kmsg.NewPtrMetadataRequest()
	req.Version = 12
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = &topic
	req.Topics = append(req.Topics, t)
	return req
}

func (v *view) take(resp *kmsg.MetadataResponse) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, b := range resp.Brokers {
		v.brokers[b.NodeID] = net.JoinHostPort(b.Host, fmt.Sprint(b.Port))
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			v.lead(p.Partition, p.Leader, p.LeaderEpoch)
		}
	}
}

// lead takes a leader unless a newer one is known; v.mu is held.
func (v *view) lead(partition, leader, epoch int32) {
	if int(partition) < len(v.leaders) && epoch >= v.epochs[partition] {
		v.leaders[partition], v.epochs[partition] = leader, epoch
	}
}

// leader is a partition's, "" while none is known, and a channel that is closed when
// there is news.
func (v *view) leader(partition int32) (addr string, news <-chan struct{}) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.brokers[v.leaders[partition]], v.changed
}

func (v *view) doubt() {
	select {
	case v.wanted <- struct{}{}:
	default:
	}
}

// ask puts a request to any node that answers it.
func ask[R kmsg.Response](addrs []string, req kmsg.Request) (resp R, err error) {
	for _, a := range addrs {
		l := &link{addr: a}
		var got kmsg.Response
		if got, err = l.call(req); err == nil {
			l.close()
			return got.(R), nil
		}
	}
	return resp, errors.Join(errors.New("no node answers"), err)
}

// standing is who leads what, and whether all replicas of the topic are in sync.
type standing struct {
	leads map[int32]int // partitions by node
	whole bool
	moves int64 // sum of the leader epochs
}

func stand(addrs []string, topic string) (standing, error) {
	s := standing{leads: map[int32]int{}, whole: true}
	resp, err := ask[*kmsg.MetadataResponse](addrs, metadataRequest(topic))
	if err != nil {
		return s, err
	}
	s.whole = len(resp.Brokers) == nodes
	for _, t := range resp.Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return s, err
		}
		for _, p := range t.Partitions {
			s.leads[p.Leader]++
			s.moves += int64(p.LeaderEpoch)
			s.whole = s.whole && len(p.ISR) == len(p.Replicas) && p.Leader >= 0
		}
	}
	return s, nil
}

// controller is the node whose controller is the active one, and its term.
func controller(c *cluster) (id, term int32, err error) {
	req := kmsg.NewPtrDescribeQuorumRequest()
	req.Version = 1
	t := kmsg.NewDescribeQuorumRequestTopic()
	t.Topic = "__cluster_metadata"
	t.Partitions = append(t.Partitions, kmsg.DescribeQuorumRequestTopicPartition{})
	req.Topics = append(req.Topics, t)
	resp, err := ask[*kmsg.DescribeQuorumResponse](c.Addrs(), req)
	if err != nil {
		return -1, 0, err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return -1, 0, errors.Join(errors.New("the quorum is not described"), kerr.ErrorForCode(resp.ErrorCode))
	}
	p := resp.Topics[0].Partitions[0]
	return p.LeaderID, p.LeaderEpoch, kerr.ErrorForCode(p.ErrorCode)
}
