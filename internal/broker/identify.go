package broker

import (
	"context"

	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/node"
)

// identify finds the id of a node to which none is given: that of the data directory,
// or, for a new directory, one from the cluster that the node joins. directory is the id
// of the directory that is to be created then.
func (b *Broker) identify(ctx context.Context) (directory [16]byte, err error) {
	cfg := b.opt.Config
	if cfg.IsSet(string(config.NodeId)) {
		return directory, nil
	}
	id, ok, err := node.IDOf(b.opt.FS, b.opt.DataDir)
	if err != nil {
		return directory, err
	}
	if ok {
		b.opt.Config = cfg.WithNodeID(id, "the data directory")
		return directory, nil
	}
	if !cfg.TakesNodeID() {
		return directory, nil
	}
	directory = env.UUID(env.SecureRand())
	given := make(chan int32, 1)
	ask := node.IDOptions{Caller: b.peers, Clock: b.clock, Log: b.log, DirectoryID: directory, Voter: cfg.Controller()}
	if join := cfg.String(config.LeatJoin); join != "" {
		ask.Addresses = append(ask.Addresses, join)
	}
	voters, _ := cfg.Voters()
	for _, v := range voters {
		ask.Addresses = append(ask.Addresses, v.Endpoint.String())
	}
	defer b.receive(directory)()
	stop := node.AskID(ask, func(id int32) { given <- id })
	defer stop()
	select {
	case id = <-given:
		b.log.Info("the cluster gave this node an id", "node", id)
		b.opt.Config = cfg.WithNodeID(id, "the cluster")
		return directory, nil
	case <-ctx.Done():
		return directory, context.Cause(ctx)
	}
}
