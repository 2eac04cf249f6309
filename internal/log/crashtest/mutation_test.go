package crashtest

import (
	"math/rand/v2"
	"path"
	"strings"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/sim/syncs"
)

// kind is what sort of file or directory a path of the directory names.
func kind(name string) string {
	base := path.Base(name)
	switch {
	case name == ".", name == dataDir:
		return base
	case strings.HasSuffix(base, "-delete"):
		return "deleted partition"
	case strings.Count(name, "/") == 1 && base[0] == 't' && !strings.Contains(base, "."):
		return "partition"
	case strings.HasPrefix(base, "journal-"):
		return "journal"
	case base[0] >= '0' && base[0] <= '9':
		return path.Ext(base)
	}
	return base
}

var places = syncs.NewPlaces("internal/log", kind)

// mutation takes the syncs of one place out, and likes to cut the power soon after.
type mutation struct {
	place string
	rng   *rand.Rand
	wait  int               // operations until the cut; 0: none is planned
	fired bool              // the cut was made
	note  func(env.Op) bool // told of all places, if not nil: then nothing is taken out
}

func (m *mutation) skip(op env.Op) bool {
	if m.note != nil {
		return m.note(op)
	}
	if m.place != places.Name(op) {
		return false
	}
	if m.wait == 0 && m.rng.IntN(3) == 0 {
		m.wait = 1 + m.rng.IntN([]int{4, 20, 80}[m.rng.IntN(3)])
	}
	return true
}

// cut is called before every operation.
func (m *mutation) cut() error {
	if m.wait > 0 {
		if m.wait--; m.wait == 0 {
			m.fired = true
			return env.ErrPowerOff
		}
	}
	return nil
}
