package node

import (
	"bytes"
	"fmt"
	"net"
	"path/filepath"
	"strconv"

	"github.com/leat-stream/leat/internal/config"
)

// rememberPlace records where the node joined, when that is another than before. It comes once the node serves,
// so that nothing is remembered that was refused.
func (n *Node) rememberPlace() error {
	place := n.opt.Config.Place()
	if place == nil {
		return nil
	}
	old, err := readFile(n.opt.FS, filepath.Join(n.opt.DataDir, config.PlaceFile), maxPromise)
	if err != nil || bytes.Equal(old, place) {
		return err
	}
	return replaceFile(n.opt.FS, n.opt.DataDir, config.PlaceFile, place)
}

// checkPlace refuses a node that would tell a cluster on other machines an address of
// loopback, because it was not told where to listen this time.
func (n *Node) checkPlace() error {
	var own []string
	if n.opt.Controllers != "" {
		own = append(own, n.opt.Controllers)
	}
	for _, d := range n.opt.Doors() {
		own = append(own, net.JoinHostPort(d.Host, strconv.Itoa(int(d.Port))))
	}
	return outOfReach(n.Config(), own, n.former.known)
}

func outOfReach(cfg *config.Config, own, known []string) error {
	if cfg.IsSet(string(config.Listeners)) {
		return nil
	}
	for _, mine := range own {
		for _, other := range known {
			if config.Loopback(mine) && !config.Loopback(other) {
				return fmt.Errorf("listeners: not given, and the cluster, which is at %s, could not reach this node at %s; "+
					"allowed: the listeners that it had, or addresses that other machines reach", other, mine)
			}
		}
	}
	return nil
}
