package broker

import (
	"errors"
	"io"
	"os"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

const canSendfile = true

// calls counts system calls of the answer path, for the test that keeps it zero-copy.
var calls struct{ sendfile, sendmsg atomic.Int64 }

// maxVec is the most buffers that one sendmsg takes (UIO_MAXIOV).
const maxVec = 1024

// maxSendfile is the most that one sendfile call is asked for.
const maxSendfile = 1 << 30

// sendfile sends n bytes of f from pos, leaving the file's own position alone.
func sendfile(raw syscall.RawConn, f *os.File, pos, n int64) (sent int64, err error) {
	src, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	// The file descriptor stays valid inside Control, whatever closes the file.
	cerr := src.Control(func(in uintptr) {
		werr := raw.Write(func(out uintptr) bool {
			for sent < n {
				off := pos + sent
				calls.sendfile.Add(1)
				m, e := unix.Sendfile(int(out), int(in), &off, int(min(n-sent, maxSendfile)))
				if m > 0 {
					sent += int64(m)
				}
				switch {
				case errors.Is(e, unix.EINTR):
				case errors.Is(e, unix.EAGAIN):
					return false
				case e != nil:
					err = os.NewSyscallError("sendfile", e)
					return true
				case m == 0:
					err = io.ErrUnexpectedEOF
					return true
				}
			}
			return true
		})
		if err == nil {
			err = werr
		}
	})
	if err == nil {
		err = cerr
	}
	return sent, err
}

// writeVec writes buffers in one system call where the socket takes them; more tells
// the kernel to hold a partial segment back for what follows.
func writeVec(raw syscall.RawConn, bufs [][]byte, more bool) (sent int64, err error) {
	werr := raw.Write(func(fd uintptr) bool {
		for len(bufs) > 0 {
			flags := unix.MSG_NOSIGNAL
			vec := bufs
			if len(vec) > maxVec {
				vec = vec[:maxVec]
			}
			if more || len(vec) < len(bufs) {
				flags |= unix.MSG_MORE
			}
			calls.sendmsg.Add(1)
			m, e := unix.SendmsgBuffers(int(fd), vec, nil, nil, flags)
			switch {
			case errors.Is(e, unix.EINTR):
				continue
			case errors.Is(e, unix.EAGAIN):
				return false
			case e != nil:
				err = os.NewSyscallError("sendmsg", e)
				return true
			}
			sent += int64(m)
			bufs = consume(bufs, m)
		}
		return true
	})
	if err == nil {
		err = werr
	}
	return sent, err
}

// consume drops the first n bytes of the buffers.
func consume(bufs [][]byte, n int) [][]byte {
	for len(bufs) > 0 && n >= len(bufs[0]) {
		n -= len(bufs[0])
		bufs = bufs[1:]
	}
	if n > 0 {
		bufs[0] = bufs[0][n:]
	}
	return bufs
}

func isReset(err error) bool {
	return errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE)
}
