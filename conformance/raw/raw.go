// Package raw speaks Kafka's wire protocol byte by byte, with none of a
// client's care: it sends any request at any version, valid or not, and gives
// back what the broker wrote. The differential test stands on it.
package raw

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// maxResponse bounds what one response may hold, in bytes.
const maxResponse = 256 << 20

// ErrClosed says that the broker closed the connection instead of answering.
var ErrClosed = errors.New("connection closed by the broker")

// Conn is one connection. It is used by one goroutine.
type Conn struct {
	c      net.Conn
	corr   int32
	client string
}

// Dial connects to a broker. Every exchange on the connection uses clientID.
func Dial(addr, clientID string) (*Conn, error) {
	c, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return nil, err
	}
	return &Conn{c: c, client: clientID}, nil
}

// Close closes the connection.
func (c *Conn) Close() error { return c.c.Close() }

// Frame renders a request with its header and size, at the version set on it.
func (c *Conn) Frame(req kmsg.Request) []byte {
	c.corr++
	f := kmsg.NewRequestFormatter(kmsg.FormatterClientID(c.client))
	return f.AppendRequest(nil, req, c.corr)
}

// Exchange sends one request and reads one response's body into a fresh
// response of its kind and version.
func (c *Conn) Exchange(req kmsg.Request, timeout time.Duration) (kmsg.Response, error) {
	if err := c.Send(c.Frame(req)); err != nil {
		return nil, err
	}
	return c.Receive(req, timeout)
}

// Send writes bytes as they are.
func (c *Conn) Send(frame []byte) error {
	_, err := c.c.Write(frame)
	return err
}

// Receive reads the next response and decodes it as the answer to req.
func (c *Conn) Receive(req kmsg.Request, timeout time.Duration) (kmsg.Response, error) {
	body, err := c.ReceiveBytes(timeout)
	if err != nil {
		return nil, err
	}
	return Decode(req, body)
}

// Decode reads a response (correlation id, header, body) as the answer to req.
func Decode(req kmsg.Request, b []byte) (kmsg.Response, error) {
	r := kbin.Reader{Src: b}
	r.Int32() // correlation id
	// ApiVersions answers with header version 0 always, so that a client which
	// does not know the broker can read it.
	if req.IsFlexible() && req.Key() != int16(kmsg.ApiVersions) {
		kmsg.SkipTags(&r)
	}
	if err := r.Complete(); err != nil {
		return nil, fmt.Errorf("response header: %w", err)
	}
	resp := req.ResponseKind()
	resp.SetVersion(req.GetVersion())
	if err := resp.ReadFrom(r.Src); err != nil {
		return nil, fmt.Errorf("response body of %d bytes: %w", len(r.Src), err)
	}
	return resp, nil
}

// ReceiveBytes reads one response: everything after its size.
func (c *Conn) ReceiveBytes(timeout time.Duration) ([]byte, error) {
	if err := c.c.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return nil, err
	}
	var size [4]byte
	if _, err := io.ReadFull(c.c, size[:]); err != nil {
		return nil, closedOr(err)
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > maxResponse {
		return nil, fmt.Errorf("response of %d bytes", n)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(c.c, b); err != nil {
		return nil, closedOr(err)
	}
	return b, nil
}

// closedOr names a close or reset by the peer ErrClosed; a timeout stays itself.
func closedOr(err error) error {
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		return err
	}
	return fmt.Errorf("%w: %w", ErrClosed, err)
}
