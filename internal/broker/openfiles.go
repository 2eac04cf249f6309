package broker

import (
	"math"

	"github.com/leat-stream/leat/internal/config"
)

// OpenFiles shares out the files that the process may have open, so that connections,
// however many come and stay idle, leave enough for segments, and both for the rest.
type OpenFiles struct {
	Segments    int // that the log directory keeps open
	Connections int // of clients, over all listeners
	HTTP        int // connections to the HTTP door
}

const (
	// The rest is an eighth: journal, metadata log, checkpoints, recovery, compaction,
	// listeners, the HTTP door.
	leastRest, mostRest = 64, 1024
	// mostSegments is more than is ever used at once; further ones would only cost memory.
	mostSegments = 100_000
	// leastShare is left of each where the limit leaves nothing.
	leastShare = 16
)

// ShareOpenFiles shares out a limit; 0 is not known. What leat.open.files.max and
// max.connections say is taken as it is, and the other side gets what that leaves.
func ShareOpenFiles(cfg *config.Config, limit uint64) OpenFiles {
	segments, connections := cfg.Int(config.LeatOpenFilesMax), cfg.Int(config.MaxConnections)
	given := cfg.IsSet(string(config.MaxConnections))
	if limit == 0 {
		if segments == 0 {
			segments = 512
		}
		return OpenFiles{segments, connections, mostRest / 2}
	}
	all := int(min(limit, math.MaxInt32))
	rest := min(max(all/8, leastRest), mostRest)
	all = max(all-rest, 0)
	if segments == 0 {
		segments = all / 2
		if given && connections < all {
			segments = all - connections
		}
		segments = min(max(segments, leastShare), mostSegments)
	}
	if !given {
		connections = max(all-segments, leastShare)
	}
	return OpenFiles{segments, connections, rest / 2}
}
