package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/sim/syncs"
)

// missing takes some syncs out, and likes to cut the power soon after one.
type missing struct {
	picks func(env.Op) bool
	seed  uint64
	wait  int // operations until the cut; 0: none is planned
}

func (m *missing) skip(op env.Op) bool {
	if !m.picks(op) {
		return false
	}
	if soon := []uint64{0, 7, 25}[m.seed%3]; m.wait == 0 && soon > 0 {
		m.wait = 1 + int(m.seed/3%soon)
	}
	return true
}

func (m *missing) cut(env.Op) error {
	if m.wait > 0 {
		if m.wait--; m.wait == 0 {
			return env.ErrPowerOff
		}
	}
	return nil
}

var cases = []func(seed uint64, m *missing) error{crashCase, damagedCase, killedCase}

// unnoticed tells whether no case fails without the syncs.
func unnoticed(picks func(env.Op) bool) bool {
	for seed := range uint64(3000) {
		for _, run := range cases {
			if run(seed, &missing{picks: picks, seed: seed}) != nil {
				return false
			}
		}
	}
	return true
}

// needless are the syncs without which nothing is lost, with the reason why they are made.
var needless = map[string]string{
	"Journal.Prepare: sync file": "for speed: the sync of the next frame would have to make the zeros durable as well",
}

// Every sync that a journal makes is needed: without it some case fails. The places are
// found by running cases, and held against the source; each is taken out alone.
func TestEveryMissingSyncIsNoticed(t *testing.T) {
	places := syncs.NewPlaces("internal/log/journal", func(name string) string {
		if strings.Contains(name, "journal-") {
			return "file"
		}
		return "folder"
	})
	for seed := range uint64(200) {
		for _, run := range cases {
			if err := run(seed, &missing{picks: places.Note}); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
	}
	places.RequireAll(t, ".", nil, nil)
	for place := range places.Found() {
		if needless[place] != "" {
			continue
		}
		t.Run(place, func(t *testing.T) {
			if unnoticed(func(op env.Op) bool { return places.Name(op) == place }) {
				t.Error("never noticed")
			}
		})
	}
	for place := range needless {
		if places.Found()[place] == 0 {
			t.Errorf("%q is excused, but is not made", place)
		}
	}
}

// What the log directory must sync itself (see the package comment) is needed, too.
func TestMissingSyncsOfCallerAreNoticed(t *testing.T) {
	for name, picks := range map[string]func(env.Op) bool{
		"segments in place": func(op env.Op) bool { return op.Kind == env.OpSync && strings.HasSuffix(op.Path, ".log") },
		"segments' names":   func(op env.Op) bool { return op.Kind == env.OpSyncDir && strings.HasPrefix(op.Path, "t-") },
	} {
		t.Run(name, func(t *testing.T) {
			if unnoticed(picks) {
				t.Error("never noticed")
			}
		})
	}
}

func TestDamageAndKillCrash(t *testing.T) {
	for seed := range uint64(400) {
		if err := errors.Join(damagedCase(seed, nil), killedCase(seed, nil)); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// damagedCase damages synced frames and cuts the power while they are set aside, and
// after that. The damaged bytes must be there then, and be reported once.
func damagedCase(seed uint64, m *missing) error {
	rng := env.NewRand(seed)
	d := env.NewDisk(seed)
	o := Options{FS: d, Dir: "/", Size: 8 * block, Chunk: block, Salt: 77}
	j, err := Open(o)
	if err == nil {
		err = j.Reset()
	}
	for i := range 9 {
		if err == nil {
			err = j.Append([]Entry{{Log: Log{Dir: "a-0"}, Position: int64(i), Data: fmt.Appendf(nil, "entry %d", i)}})
		}
	}
	if err = errors.Join(err, j.Close(), d.SyncDir("/")); err != nil {
		return err
	}
	at := int64(block) // the second frame of the first file, or the first of each
	if seed%2 == 0 {
		at = 0
		o.Salt++
		err = d.FlipBit("journal-1", at)
	}
	evidence, readErr := content(d, "journal-0")
	if err := errors.Join(err, readErr, d.FlipBit("journal-0", at)); err != nil {
		return err
	}
	evidence = evidence[at+1 : at+100]
	for range 3 {
		if m != nil {
			d.SkipSync(m.skip)
			d.OnOp(m.cut)
		}
		d.CrashAt(1 + rng.IntN(20))
		err := reopen(d, o)
		finished := err == nil
		if err != nil && !d.Crashed() {
			return err
		}
		d.PowerOff()
		d = d.CrashClone(rng)
		o.FS = d
		if err := hasEvidence(d, evidence); err != nil {
			return err
		}
		if !finished {
			continue
		}
		j, err := Open(o)
		if err != nil {
			return err
		}
		r, err := j.Replay(func(Entry) error { return nil })
		if err != nil || len(r.Damaged) > 0 {
			return fmt.Errorf("damage that was set aside is reported again: %+v, %w", r, err)
		}
		return j.Close()
	}
	return nil
}

// killedCase kills the process between the write of a frame and its sync, and cuts the
// power while the next process writes the frame behind: if only that one survives, the
// one before looks like damage.
func killedCase(seed uint64, m *missing) error {
	rng := env.NewRand(seed)
	d := env.NewDisk(seed)
	o := Options{FS: d, Dir: "/", Size: 8 * block, Chunk: block, Salt: 77}
	j, err := Open(o)
	if err == nil {
		err = j.Reset()
	}
	for i := int64(0); err == nil && j.Generation() < 2; i++ {
		err = j.Append([]Entry{{Log: Log{Dir: "a-0"}, Position: i, Data: []byte("x")}})
	}
	if err = errors.Join(err, d.SyncDir("/")); err != nil {
		return err
	}
	d.CrashAt(2) // the sync
	if err := j.Append([]Entry{{Log: Log{Dir: "a-0"}, Data: []byte("y")}}); err == nil {
		return errors.New("the frame was synced")
	}
	d = d.KillClone()
	o.FS = d
	if m != nil {
		d.SkipSync(m.picks)
	}
	wrote := false
	d.OnOp(func(op env.Op) error {
		if wrote {
			return env.ErrPowerOff
		}
		wrote = op.Kind == env.OpWrite
		return nil
	})
	if err := reopen(d, o); !d.Crashed() {
		return fmt.Errorf("the power did not fail: %w", err)
	}
	o.FS = d.CrashClone(rng)
	if j, err = Open(o); err != nil {
		return err
	}
	r, err := j.Replay(func(Entry) error { return nil })
	if err != nil || len(r.Damaged) > 0 {
		return fmt.Errorf("a power cut counts as damage: %+v, %w", r, err)
	}
	return j.Close()
}

func reopen(d *env.Disk, o Options) error {
	o.FS = d
	j, err := Open(o)
	if err != nil {
		return err
	}
	if _, err := j.Replay(func(Entry) error { return nil }); err != nil {
		return err
	}
	if err := j.Reset(); err != nil {
		return err
	}
	return j.Append([]Entry{{Log: Log{Dir: "b-0"}, Data: []byte("new")}})
}

func content(d *env.Disk, name string) ([]byte, error) {
	f, err := d.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	size, err := f.Size()
	b := make([]byte, size)
	if err == nil {
		_, err = f.ReadAt(b, 0)
	}
	if err == io.EOF {
		err = nil
	}
	return b, errors.Join(err, f.Close())
}

func hasEvidence(d *env.Disk, evidence []byte) error {
	entries, err := d.ReadDir("/")
	for _, e := range entries {
		b, err := content(d, e.Name())
		if err != nil {
			return err
		}
		if bytes.Contains(b, evidence) {
			return nil
		}
	}
	return errors.Join(err, errors.New("the damaged bytes are gone"))
}
