package quorum

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/nodewire"
)

// A MsgSnap carries no data: it announces a snapshot. The receiver fetches the file in
// parts from the sender, beside everything else, and only then steps the message; the
// disk's loop gives the file its name.

const (
	fetchBytes  = 1 << 20
	fetchPause  = 200 * time.Millisecond // after a failed request
	fetchTries  = 20                     // of one part; then the next announcement begins anew
	fetchSuffix = ".fetched" + tmpSuffix
)

func fetchedName(index uint64) string { return fmt.Sprintf("%020d%s", index, fetchSuffix) }

// fetcher brings in one announced snapshot. Its file and position belong to a loop of
// their own, the rest is guarded by Node.mu.
type fetcher struct {
	announced *raftpb.Message // the newest; nil when there is nothing to do
	moved     bool            // a part came since the last announcement of another index
	asked     uint64          // number of the request that is out; 0 when none is
	requests  uint64
	paused    bool
	answer    *nodewire.SnapshotResponse
	err       error

	message  *raftpb.Message // what is being fetched; nil when nothing is
	file     env.File
	position int64
	tries    int
}

// announce takes note of a snapshot; n.mu is held. false says that the library needs no
// file to answer.
func (n *Node) announce(c *core, m *raftpb.Message) bool {
	st := c.rn.BasicStatus()
	at := m.GetSnapshot().GetMetadata()
	if term, err := c.log.Term(at.GetIndex()); m.GetTerm() < st.GetTerm() || at.GetIndex() <= st.GetCommit() || err == nil && term == at.GetTerm() {
		return false
	}
	if _, ok := c.incoming[at.GetIndex()]; ok {
		return true // it is being installed
	}
	f := &n.fetcher
	if old := f.announced.GetSnapshot().GetMetadata(); f.announced != nil && at.GetIndex() != old.GetIndex() {
		if f.moved && m.GetFrom() == f.announced.GetFrom() {
			// The older one is on its way and serves as well.
			m = proto.Clone(m).(*raftpb.Message)
			m.Snapshot = f.announced.GetSnapshot()
		}
		f.moved = false
	}
	f.announced = m
	n.fetch.Wake()
	return true
}

// fetchTurn is a turn of the fetching loop: it writes the part that came, and asks for
// the next.
func (n *Node) fetchTurn() {
	f := &n.fetcher
	n.mu.Lock()
	m, answer, err := f.announced, f.answer, f.err
	f.answer, f.err = nil, nil
	idle := n.ended() != nil || m == nil || f.asked != 0 || f.paused
	n.mu.Unlock()
	if idle {
		return
	}
	// The file of an index may have other bytes at another member.
	if f.message == nil || f.message.GetFrom() != m.GetFrom() || f.message.GetSnapshot().GetMetadata().GetIndex() != m.GetSnapshot().GetMetadata().GetIndex() {
		answer, err = nil, n.beginFetch(m)
	}
	f.message = m
	whole := false
	if answer != nil && err == nil {
		whole, err = n.takePart(answer)
	}
	switch {
	case failedSync(err):
		n.fail(fmt.Errorf("metadata snapshot: %w", err))
	case errors.Is(err, errFrame), errors.Is(err, errGone):
		n.opts.Logger.Warn("a metadata snapshot cannot be fetched", "index", m.GetSnapshot().GetMetadata().GetIndex(), "error", err)
		n.endFetch()
	case err != nil:
		n.pauseFetch(err)
	case !whole:
		n.ask(m)
	}
}

// errGone says that the sender has the snapshot no more.
var errGone = errors.New("the sender does not have it")

func (n *Node) beginFetch(m *raftpb.Message) (err error) {
	f := &n.fetcher
	if f.file != nil {
		err = f.file.Close()
	}
	name := filepath.Join(n.opts.Dir, fetchedName(m.GetSnapshot().GetMetadata().GetIndex()))
	var oerr error
	f.file, oerr = n.opts.FS.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if oerr != nil {
		f.file = nil
		n.opts.Logger.Error("cannot keep a metadata snapshot", "error", oerr)
		n.endFetch()
	}
	f.position, f.tries = 0, 0
	return errors.Join(err, oerr)
}

// ask asks the newest sender for the next part.
func (n *Node) ask(m *raftpb.Message) {
	f := &n.fetcher
	n.mu.Lock()
	f.requests++
	number := f.requests
	f.asked = number
	n.mu.Unlock()
	req := &nodewire.SnapshotRequest{Index: m.GetSnapshot().GetMetadata().GetIndex(), Position: f.position, MaxBytes: fetchBytes}
	n.opts.FetchSnapshot(m.GetFrom(), req, func(resp *nodewire.SnapshotResponse, err error) {
		n.mu.Lock()
		if f.asked == number {
			f.asked, f.answer, f.err = 0, resp, err
			if resp == nil && err == nil {
				f.err = errors.New("no answer")
			}
		}
		n.mu.Unlock()
		n.fetch.Wake()
	})
}

// takePart writes a part; whole says that it was the last, and that the snapshot was
// handed on.
func (n *Node) takePart(p *nodewire.SnapshotResponse) (whole bool, err error) {
	f := &n.fetcher
	switch {
	case p.ErrorCode == codeSnapshotNotFound || p.ErrorCode == codePositionOutOfRange:
		return false, errGone
	case p.ErrorCode != 0:
		return false, fmt.Errorf("error code %d", p.ErrorCode)
	case p.Index != f.message.GetSnapshot().GetMetadata().GetIndex() || len(p.Data) == 0 || f.position+int64(len(p.Data)) > p.Size:
		return false, fmt.Errorf("%w: a part of %d bytes at %d of %d", errFrame, len(p.Data), f.position, p.Size)
	}
	if _, err := f.file.WriteAt(p.Data, f.position); err != nil {
		return false, err
	}
	f.position += int64(len(p.Data))
	f.tries = 0
	n.mu.Lock()
	f.moved = true
	n.mu.Unlock()
	if f.position < p.Size {
		return false, nil
	}
	meta, err := sealFetched(f.file, f.position, f.message.GetSnapshot().GetMetadata())
	if err != nil {
		return false, err
	}
	m := f.message
	n.endFetch()
	_ = n.do(func(c *core) { c.stepSnapshot(m, meta) }) // an error says that the node is ending
	return true, nil
}

// sealFetched makes a fetched file durable, and reads it whole.
func sealFetched(f env.File, size int64, want *raftpb.SnapshotMetadata) (SnapshotMeta, error) {
	if err := f.Sync(); err != nil {
		return SnapshotMeta{}, syncError{err}
	}
	r, err := newSnapshotReader(io.NewSectionReader(f, 0, size))
	if err != nil {
		return SnapshotMeta{}, err
	}
	if want.GetIndex() != r.meta.Index || want.GetTerm() != r.meta.Term {
		return r.meta, fmt.Errorf("%w: snapshot of entry %d, announced as %d", errFrame, r.meta.Index, want.GetIndex())
	}
	_, err = io.Copy(io.Discard, r)
	return r.meta, err
}

// endFetch is done with the announced snapshot, for better or worse.
func (n *Node) endFetch() {
	f := &n.fetcher
	if f.file != nil {
		if err := f.file.Close(); err != nil {
			n.opts.Logger.Error("cannot close a metadata snapshot", "error", err)
		}
	}
	f.file, f.message = nil, nil
	n.mu.Lock()
	f.announced, f.moved, f.asked = nil, false, 0
	n.mu.Unlock()
}

// pauseFetch tries the same part again in a while.
func (n *Node) pauseFetch(err error) {
	f := &n.fetcher
	if f.tries++; f.tries > fetchTries || f.file == nil {
		n.endFetch()
		return
	}
	n.opts.Logger.Debug("a part of a metadata snapshot did not come", "error", err)
	n.mu.Lock()
	f.paused = true
	n.mu.Unlock()
	n.opts.Clock.AfterFunc(fetchPause, func() {
		n.mu.Lock()
		f.paused = false
		n.mu.Unlock()
		n.fetch.Wake()
	})
}

// Error codes of Kafka that answer a request for a snapshot.
const (
	codeUnknown            = -1
	codeSnapshotNotFound   = 98
	codePositionOutOfRange = 99
)

// maxPart bounds a part of a snapshot, whatever was asked for.
const maxPart = 4 << 20

// ReadSnapshot answers a request for a part of a snapshot of this member. It reads the
// file on the caller's goroutine.
func (n *Node) ReadSnapshot(req *nodewire.SnapshotRequest) *nodewire.SnapshotResponse {
	resp := &nodewire.SnapshotResponse{Index: req.Index}
	fail := func(code int16) *nodewire.SnapshotResponse { resp.ErrorCode = code; return resp }
	f, err := n.opts.FS.OpenFile(filepath.Join(n.opts.Dir, snapshotName(req.Index)), os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) || n.ended() != nil {
		if err == nil {
			_ = f.Close()
		}
		return fail(codeSnapshotNotFound)
	} else if err != nil {
		n.opts.Logger.Error("cannot read a metadata snapshot", "index", req.Index, "error", err)
		return fail(codeUnknown)
	}
	defer f.Close()
	if resp.Size, err = f.Size(); err != nil {
		return fail(codeUnknown)
	}
	if req.Position < 0 || req.Position >= resp.Size {
		return fail(codePositionOutOfRange)
	}
	resp.Data = make([]byte, min(int64(max(req.MaxBytes, 1)), maxPart, resp.Size-req.Position))
	if _, err := f.ReadAt(resp.Data, req.Position); err != nil && !errors.Is(err, io.EOF) {
		n.opts.Logger.Error("cannot read a metadata snapshot", "index", req.Index, "error", err)
		resp.Data = nil
		return fail(codeUnknown)
	}
	return resp
}
