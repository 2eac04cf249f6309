package server

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"github.com/leat-stream/leat/internal/config"
)

// RouteTo is the address of this machine from which a host is reached, and so the one at
// which the host, and others on its side, reach this machine. Nothing is sent.
func RouteTo(host string) (string, error) {
	c, err := net.Dial("udp", net.JoinHostPort(host, "9")) // any port: a datagram socket that is connected has a local address
	if err != nil {
		return "", err
	}
	defer c.Close()
	a, ok := c.LocalAddr().(*net.UDPAddr)
	if !ok || a.IP == nil || a.IP.IsUnspecified() {
		return "", fmt.Errorf("no local address towards %s", host)
	}
	if a.Zone != "" {
		return a.IP.String() + "%" + a.Zone, nil
	}
	return a.IP.String(), nil
}

// Recall reads what a node that joined has kept of its place (config.Sources).
func Recall(dataDir string) (content []byte, name string, err error) {
	name = filepath.Join(dataDir, config.PlaceFile)
	content, err = os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return content, name, err
}
