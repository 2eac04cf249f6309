package broker

import (
	"errors"
	"fmt"

	"github.com/leat-stream/leat/internal/config"
)

// alone refuses settings of a cluster, which this broker would answer by founding one of
// its own. It goes when the node finds its cluster by package forming.
func alone(cfg *config.Config) error {
	voters, setting := cfg.Voters()
	switch {
	case len(voters) > 1:
		return fmt.Errorf("%s: several controllers are not built yet", setting)
	case cfg.String(config.LeatJoin) != "":
		return errors.New("leat.join: joining a cluster is not built yet")
	case !cfg.Broker() || !cfg.Controller():
		return errors.New("process.roles: brokers and controllers in separate processes are not built yet")
	}
	return nil
}
