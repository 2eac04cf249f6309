//go:build !linux

package broker

import (
	"errors"
	"os"
	"syscall"
)

// On other systems answers are copied: they serve development only.
const canSendfile = false

var errNoSendfile = errors.New("sendfile is used on linux only")

func sendfile(syscall.RawConn, *os.File, int64, int64) (int64, error) { return 0, errNoSendfile }

func writeVec(syscall.RawConn, [][]byte, bool) (int64, error) { return 0, errNoSendfile }

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
