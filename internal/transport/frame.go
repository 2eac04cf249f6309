package transport

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/nodewire"
)

// Frame is an encoded request, for one Call or Send. It shares no memory with the
// request, but for large fields of nodewire's messages: those must not change any more.
type Frame struct {
	pieces [][]byte // the first one begins with size and header
	size   int      // of all pieces
	resp   func() kmsg.Response
	tagged bool // the response's header has tagged fields (version 1)
	lent   bool // the bytes of the response are valid until done returns

	call    *call // nil: one way
	written bool  // taken by the writer
}

// OneWay says whether the request has no response.
func (f *Frame) OneWay() bool { return f.resp == nil }

// Size is the frame's bytes, its size prefix included.
func (f *Frame) Size() int { return f.size }

// Bytes are the frame in one piece.
func (f *Frame) Bytes() []byte { return bytes.Join(f.pieces, nil) }

// ErrTooLarge answers a request that no frame can hold.
var ErrTooLarge = errors.New("request too large for a frame")

// Where the correlation id stands in a frame: behind size, key and version.
const correlationAt = 8

// Encode makes the frame of a request in the version that is set in it.
func Encode(clientID string, req kmsg.Request) (*Frame, error) {
	f := &Frame{tagged: req.IsFlexible() && req.Key() != kmsg.ApiVersions.Int16(), lent: req.Key() == kmsg.Fetch.Int16()}
	if resp := req.ResponseKind(); resp != nil {
		resp.SetVersion(req.GetVersion())
		f.resp = func() kmsg.Response { return resp } // one frame, one response
	}
	header := kmsg.NewRequestFormatter(kmsg.FormatterClientID(clientID))
	if m, ok := req.(nodewire.Message); ok {
		pieces := nodewire.Pieces(m)
		f.pieces = append(f.pieces, header.AppendRequest(nil, bodyless{req}, 0))
		if len(pieces) > 0 { // the first one is small, and goes with the header
			f.pieces[0] = append(f.pieces[0], pieces[0]...)
			f.pieces = append(f.pieces, pieces[1:]...)
		}
	} else {
		f.pieces = append(f.pieces, header.AppendRequest(nil, req, 0))
	}
	for _, p := range f.pieces {
		f.size += len(p)
	}
	if f.size-4 > math.MaxInt32 {
		return nil, fmt.Errorf("%w: %d bytes", ErrTooLarge, f.size)
	}
	binary.BigEndian.PutUint32(f.pieces[0], uint32(f.size-4))
	return f, nil
}

// bodyless is a request of which only the header is written.
type bodyless struct{ kmsg.Request }

func (bodyless) AppendTo(dst []byte) []byte { return dst }

func (f *Frame) number(id int32) {
	binary.BigEndian.PutUint32(f.pieces[0][correlationAt:], uint32(id))
}

// maxTags bounds the tagged fields of a response's header; nobody sends any.
const maxTags = 100

// Decode reads what follows the correlation id of a response.
func (f *Frame) Decode(b []byte) (kmsg.Response, error) {
	if f.tagged {
		n, used := binary.Uvarint(b)
		if used <= 0 || n > maxTags {
			return nil, fmt.Errorf("%w: tagged fields of the header", ErrProtocol)
		}
		b = b[used:]
		for range n {
			_, k := binary.Uvarint(b)
			size, s := binary.Uvarint(b[max(k, 0):])
			if k <= 0 || s <= 0 || size > uint64(len(b)-k-s) {
				return nil, fmt.Errorf("%w: tagged fields of the header", ErrProtocol)
			}
			b = b[k+s+int(size):]
		}
	}
	resp := f.resp()
	if err := resp.ReadFrom(b); err != nil {
		return nil, fmt.Errorf("%w: response of key %d, version %d: %w", ErrProtocol, resp.Key(), resp.GetVersion(), err)
	}
	return resp, nil
}
