package node

import (
	"strconv"

	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/forming"
	"github.com/leat-stream/leat/internal/metadata"
)

// VoteOf is what an operator said about a node's part in the metadata quorum. It is kept
// as a dynamic setting of the broker, of that broker only: it is in the metadata, so that
// every later leader knows it, and it is seen and undone as every other setting is.
func VoteOf(img *metadata.Image, node int32) forming.Vote {
	switch img.Config(metadata.ResourceBroker, strconv.Itoa(int(node)))[string(config.LeatQuorumVoter)] {
	case "always":
		return forming.Always
	case "never":
		return forming.Never
	}
	return forming.Auto
}
