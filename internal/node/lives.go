package node

import (
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/metadata"
)

// registeredFile holds the lives note of a data directory.
const registeredFile = "registered.properties"

// maxTried is how many incarnations are kept that may have registered without its being
// noted: a process would have to die so often between the two, without hearing of any of them.
const maxTried = 64

// lives is what a data directory notes of the registrations that were made from it.
// A broker notes its incarnation before it asks for a registration, and the epoch once it has
// that. So the registration of its id that the cluster has is
// one that the directory knows of; if it is not, the directory is a copy that was made
// before it, and lacks what was acknowledged under it.
type lives struct {
	// boot is of the kernel under which the broker registered last. It is noted after the
	// registration is committed: until then a restart has to report again what the
	// machine's stop may have cost.
	boot string
	// epoch is the last broker epoch; 0 before the first, and for a directory that an
	// earlier build registered.
	epoch int64
	// tried are incarnations that asked for a registration since, the last ones.
	tried [][16]byte
	// copied says that the directory was found to be an old copy, and that not all of what
	// it lacks is known to be reported.
	copied bool
}

// readLives reads the note; what is not understood is passed over.
func readLives(fsys env.FS, dir string) (l lives, err error) {
	buf, err := readFile(fsys, filepath.Join(dir, registeredFile), 4096)
	if err != nil {
		return l, err
	}
	for line := range strings.Lines(string(buf)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch key {
		case "boot.id":
			l.boot = value
		case "broker.epoch":
			if e, err := strconv.ParseInt(value, 10, 64); err == nil && e > 0 {
				l.epoch = e
			}
		case "incarnation":
			if b, err := hex.DecodeString(value); err == nil && len(b) == 16 {
				l.tried = append(l.tried, [16]byte(b))
			}
		case "old.copy":
			l.copied = value == "true"
		}
	}
	return l, nil
}

// write replaces the note, durably.
func (l *lives) write(fsys env.FS, dir string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "boot.id=%s\nversion=1\n", l.boot)
	if l.epoch > 0 {
		fmt.Fprintf(&b, "broker.epoch=%d\n", l.epoch)
	}
	for _, id := range l.tried {
		fmt.Fprintf(&b, "incarnation=%x\n", id)
	}
	if l.copied {
		b.WriteString("old.copy=true\n")
	}
	return replaceFile(fsys, dir, registeredFile, []byte(b.String()))
}

// trying notes an incarnation that is about to ask for a registration, where b is the one
// that the cluster has as far as this node knows. It is true when there is something to
// write.
func (l *lives) trying(incarnation, directory [16]byte, b *metadata.Broker) (changed bool) {
	if l.epoch == 0 {
		return false // nothing to compare with
	}
	if b != nil && b.Epoch > l.epoch && b.HasDirectory(directory) && b.IncarnationID != incarnation {
		switch {
		case slices.Contains(l.tried, b.IncarnationID):
			// One that died before it noted its epoch; whatever else is under way is too
			// late. So a note does not overflow that is never followed by a registration.
			l.epoch, l.tried, changed = b.Epoch, nil, true
		case !l.copied:
			l.copied, changed = true, true
		}
	}
	if !slices.Contains(l.tried, incarnation) {
		l.tried, changed = append(l.tried, incarnation), true
		l.tried = l.tried[max(0, len(l.tried)-maxTried):]
	}
	return changed
}

// tryLife notes this incarnation before it asks for a registration. It does not ask while
// that cannot be noted: what it would register, and serve, a later start would take for what
// came after the directory was copied, and report all that it has as lost.
func (m *metadataLog) tryLife() (noted bool, err error) {
	if m.n.opening.lives.trying(m.incarnation, m.n.dir.DirectoryID(), m.image().Broker(m.n.id)) {
		m.unnoted = true
	}
	if !m.unnoted {
		return true, nil
	}
	return m.noteLives("this process cannot be noted in the data directory, and does not register until it can")
}

// rememberLife notes the registration. Until it can, the note has the incarnation.
func (m *metadataLog) rememberLife() error {
	m.n.opening.lives = lives{boot: m.n.boot, epoch: m.epoch.Load()}
	m.unnoted = true
	_, err := m.noteLives("registration not noted yet, an unclean stop would look like one of the machine")
	return err
}

// noteAgain notes a registration, of a broker that serves, for which there was no room.
func (m *metadataLog) noteAgain() {
	if m.phase != phaseServing || !m.unnoted {
		return
	}
	if err := m.rememberLife(); err != nil {
		m.fail(err)
		m.n.opt.Failed(err)
	}
}

func (m *metadataLog) noteLives(unnoted string) (noted bool, err error) {
	switch err := m.n.opening.lives.write(m.n.opt.FS, m.n.opt.DataDir); {
	case errors.Is(err, errSync):
		return false, err // it is not tried again, nor is anything else in a directory that fails (decision D6)
	case err != nil:
		m.n.complaints.Warn("lives", unnoted, "why", err)
		return false, nil
	}
	m.unnoted = false
	return true, nil
}

// previousEpoch is the epoch of the registration that this one follows, as far as the
// broker knows. The controller refuses it if there was another since: a request that was
// under way for long must not replace who registered meanwhile, and a broker must have
// looked at the registration that it replaces. 0 is none.
func (m *metadataLog) previousEpoch() int64 {
	known := m.n.opening.lives.epoch
	if b := m.image().Broker(m.n.id); b != nil {
		known = max(known, b.Epoch)
	}
	return known
}
