package broker

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/leat-stream/leat/internal/api"
)

// deadlines counts how often a write gets time anew.
type deadlines struct {
	net.Conn
	set int
}

func (d *deadlines) SetWriteDeadline(t time.Time) error {
	d.set++
	return d.Conn.SetWriteDeadline(t)
}

// A consumer that takes a large answer slowly is not cut off: each part of the answer
// has its own time.
func TestLargeAnswersGetTimeForEachPart(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	conn := &deadlines{Conn: ours}
	answer := bytes.Repeat([]byte("0123456789abcdef"), 10*sendStep/16)
	got := make(chan []byte, 1)
	go func() {
		b, _ := io.ReadAll(theirs) // ends with the other side
		got <- b
	}()
	n, err := newSender(conn).send([]api.Piece{{Bytes: []byte("head")}, {Bytes: answer}})
	if err != nil || n != int64(4+len(answer)) {
		t.Fatalf("sent %d of %d bytes: %v", n, 4+len(answer), err)
	}
	ours.Close()
	if b := <-got; !bytes.Equal(b[4:], answer) {
		t.Fatalf("%d bytes arrived, and not those that were sent", len(b))
	}
	if conn.set < 10 {
		t.Fatalf("%d deadlines for ten parts", conn.set)
	}
}

// run is a small run of records that lies in memory.
type run []byte

func (r run) Len() int { return len(r) }

func (r run) ReadAt(p []byte, off int64) (int, error) { return copy(p, r[off:]), nil }

// Many small runs share buffers, and no more than maxCopied are held for one answer.
func TestSmallRunsShareMemory(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	got := make(chan []byte, 1)
	go func() {
		b, _ := io.ReadAll(theirs) // ends with the other side
		got <- b
	}()
	var want []byte
	var pieces []api.Piece
	for i := range 30_000 {
		r := run(bytes.Repeat([]byte{byte(i)}, 100))
		pieces = append(pieces, api.Piece{Bytes: []byte{0xff}}, api.Piece{Run: r})
		want = append(append(want, 0xff), r...)
	}
	s := newSender(ours)
	most := 0
	for _, p := range pieces {
		if _, err := s.piece(p); err != nil {
			t.Fatal(err)
		}
		most = max(most, len(s.held))
	}
	if _, err := s.flush(false); err != nil {
		t.Fatal(err)
	}
	ours.Close()
	if !bytes.Equal(<-got, want) {
		t.Fatal("other bytes arrived than were sent")
	}
	if most > maxCopied || most < 2 {
		t.Fatalf("%d buffers were held, want a few, at most %d", most, maxCopied)
	}
}

// brokenRun lies in a file that ends before it.
type brokenRun struct {
	run
	file   *os.File
	failed error
	closed int
}

func (r *brokenRun) Open() (*os.File, int64, error) { return r.file, 0, nil }
func (r *brokenRun) Close()                         { r.closed++ }
func (r *brokenRun) Failed(err error)               { r.failed = err }

// TestSendfileFails: the log hears of bytes that the kernel could not read for it.
func TestSendfileFails(t *testing.T) {
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	theirs, err := new(net.Dialer).DialContext(t.Context(), "tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	ours, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := &brokenRun{run: make(run, zeroCopyFrom), file: f}
	if _, err := newSender(ours).send([]api.Piece{{Run: r}}); canSendfile && (err == nil || !errors.Is(r.failed, io.ErrUnexpectedEOF) || r.closed != 1) {
		t.Fatalf("sent: %v, told: %v, closed %d times", err, r.failed, r.closed)
	}
}

// TestRunsWithoutFile: a large run whose file is not to be had is read, and arrives whole.
func TestRunsWithoutFile(t *testing.T) {
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	theirs, err := new(net.Dialer).DialContext(t.Context(), "tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	ours, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	got := make(chan []byte, 1)
	go func() {
		b, _ := io.ReadAll(theirs) // ends with the other side
		got <- b
	}()
	r := &brokenRun{run: bytes.Repeat([]byte("0123456789abcde"), 200_000)}
	if _, err := newSender(ours).send([]api.Piece{{Bytes: []byte("head")}, {Run: r}}); err != nil {
		t.Fatal(err)
	}
	ours.Close()
	if b := <-got; !bytes.Equal(b, append([]byte("head"), r.run...)) || r.closed != 0 {
		t.Fatalf("%d bytes arrived of %d, closed %d times", len(b), 4+r.Len(), r.closed)
	}
}
