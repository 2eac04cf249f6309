package broker

import (
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/leat-stream/leat/internal/api"
)

// zeroCopyFrom is the length from which a run of a segment goes out by sendfile; a
// shorter one is cheaper to read and to write together with what stands around it.
const zeroCopyFrom = 64 << 10

// fileRun is a run that lies in one operating system file, which is held open between Open
// and Close. Without one the run is read.
type fileRun interface {
	Open() (f *os.File, pos int64, err error)
	Close()
	// Failed is told when its bytes could not be sent.
	Failed(err error)
}

// sender writes answers to one connection.
type sender struct {
	nc   net.Conn
	raw  syscall.RawConn // nil when the connection is no socket
	bufs [][]byte
	held []*[]byte // pooled copies of small runs
	room []byte    // what is left of the last of them

	gathered int // bytes in bufs
}

func newSender(nc net.Conn) *sender {
	s := &sender{nc: nc}
	if sc, ok := nc.(syscall.Conn); ok && canSendfile {
		if raw, err := sc.SyscallConn(); err == nil {
			s.raw = raw
		}
	}
	return s
}

// sendStep is how much is written under one deadline: a slow consumer of a large
// answer is not cut off as long as it takes this much in time.
const sendStep = 1 << 20

// send writes the pieces in order and tells how many bytes went out.
func (s *sender) send(pieces []api.Piece) (n int64, err error) {
	defer s.drop()
	for _, p := range pieces {
		m, err := s.piece(p)
		n += m
		if err != nil {
			return n, err
		}
	}
	m, err := s.flush(false)
	return n + m, err
}

// piece gathers a piece that is written with its neighbours, or writes it.
func (s *sender) piece(p api.Piece) (n int64, err error) {
	if p.Run != nil {
		if fr, ok := p.Run.(fileRun); ok && s.raw != nil && p.Run.Len() >= zeroCopyFrom {
			f, pos, err := fr.Open()
			if err != nil {
				return 0, err
			}
			if f != nil {
				defer fr.Close()
				n, err := s.sendRun(f, pos, int64(p.Run.Len()))
				if err != nil {
					fr.Failed(err)
				}
				return n, err
			}
		}
		return s.copyIn(p.Run)
	}
	for b := p.Bytes; len(b) > 0; {
		part := b[:min(len(b), sendStep)]
		b = b[len(part):]
		s.bufs = append(s.bufs, part)
		s.gathered += len(part)
		if s.gathered >= sendStep {
			m, err := s.flush(true)
			n += m
			if err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// sendRun sends a run of a file, after what is gathered.
func (s *sender) sendRun(f *os.File, pos, size int64) (n int64, err error) {
	if n, err = s.flush(true); err != nil {
		return n, err
	}
	for sent := int64(0); sent < size; {
		if err := s.nc.SetWriteDeadline(time.Now().Add(stalled)); err != nil {
			return n, err
		}
		m, err := sendfile(s.raw, f, pos+sent, min(size-sent, sendStep))
		n, sent = n+m, sent+m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

var runBuffers = sync.Pool{New: func() any { b := make([]byte, zeroCopyFrom); return &b }}

// maxCopied bounds the buffers into which small runs are read before they are written.
const maxCopied = 16

// copyIn reads a run into pooled memory, behind the runs before it; when there is
// enough, it is written.
func (s *sender) copyIn(r api.Run) (n int64, err error) {
	for off := 0; off < r.Len(); {
		if len(s.room) == 0 {
			if len(s.held) >= maxCopied {
				m, err := s.flush(true)
				n += m
				if err != nil {
					return n, err
				}
			}
			b := runBuffers.Get().(*[]byte)
			s.held, s.room = append(s.held, b), *b
		}
		part := s.room[:min(len(s.room), r.Len()-off)]
		if _, err := r.ReadAt(part, int64(off)); err != nil {
			return n, err
		}
		s.room = s.room[len(part):]
		s.bufs = append(s.bufs, part)
		s.gathered += len(part)
		off += len(part)
	}
	return n, nil
}

// flush writes what is gathered; more says that a file's bytes follow at once.
func (s *sender) flush(more bool) (n int64, err error) {
	if len(s.bufs) == 0 {
		return 0, nil
	}
	defer s.drop()
	if err := s.nc.SetWriteDeadline(time.Now().Add(stalled)); err != nil {
		return 0, err
	}
	if s.raw != nil {
		return writeVec(s.raw, s.bufs, more)
	}
	b := net.Buffers(s.bufs)
	return b.WriteTo(s.nc)
}

// drop gives back pooled memory and forgets the caller's.
func (s *sender) drop() {
	s.gathered = 0
	clear(s.bufs)
	s.bufs = s.bufs[:0]
	for i, b := range s.held {
		runBuffers.Put(b)
		s.held[i] = nil
	}
	s.held, s.room = s.held[:0], nil
}
