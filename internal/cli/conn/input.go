package conn

import (
	"context"
	"io"
)

// inputBuffer is how much of the input is read at once, in bytes.
const inputBuffer = 64 << 10

// Input is in, whose reading ends when ctx does. A read of a terminal or a pipe
// cannot be interrupted: the last one is left behind on its goroutine.
func Input(ctx context.Context, in io.Reader) io.Reader {
	return &input{ctx: ctx, in: in, buf: make([]byte, inputBuffer), done: make(chan read, 1)}
}

type read struct {
	n   int
	err error
}

type input struct {
	ctx  context.Context
	in   io.Reader
	buf  []byte // belongs to the read on its way, else holds rest
	done chan read
	rest []byte
	err  error // comes behind rest
	away bool  // a read is on its way
}

func (r *input) Read(p []byte) (int, error) {
	if len(r.rest) == 0 && r.err == nil {
		if !r.away {
			r.away = true
			go func() {
				n, err := r.in.Read(r.buf)
				r.done <- read{n, err}
			}()
		}
		select {
		case <-r.ctx.Done():
			return 0, r.ctx.Err()
		case got := <-r.done:
			r.away, r.rest, r.err = false, r.buf[:got.n], got.err
		}
	}
	n := copy(p, r.rest)
	if r.rest = r.rest[n:]; len(r.rest) > 0 {
		return n, nil
	}
	return n, r.err
}
