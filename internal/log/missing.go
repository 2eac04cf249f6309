package log

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// unknown stands among the missing logs for those of which nothing is known, as the state
// file was not there: a start that dies before somebody has taken note must not make
// that forgotten by the state file that it writes. It is no name of a log.
var unknown LogID

// findMissing notes the logs of which the state file speaks and that have no directory. The
// state file keeps speaking of them until ForgetMissing: a crash before somebody has taken
// note must not make them forgotten. Directories under the same names are other logs. A log
// of which nothing was recorded as synced is missed while the page cache of the last time is
// there: a power cut may have taken the name of its directory.
func (d *Dir) findMissing(marks *checkpoints) {
	all := maps.Clone(marks.missing)
	if all == nil {
		all = map[LogID]int64{}
	}
	for _, gone := range marks.state {
		if gone.point > 0 || marks.clean || d.sameBoot {
			all[gone.id] = max(all[gone.id], gone.point)
		}
	}
	if marks.state == nil && !d.isNew {
		all[unknown] = 0
	}
	_, some := all[unknown]
	d.knew = marks.state != nil && !some
	for id, point := range all {
		d.missing = append(d.missing, LogMissing{Log: id, Point: point})
	}
	slices.SortFunc(d.missing, func(a, b LogMissing) int { return compareIDs(a.Log, b.Log) })
	for _, m := range d.missing {
		if m.Log != unknown {
			d.event(m)
		}
	}
}

func compareIDs(a, b LogID) int {
	return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition), slices.Compare(a.TopicID[:], b.TopicID[:]))
}

// Missing lists the logs that had vanished when the directory was opened, then or at an
// earlier start, and that ForgetMissing has not been told of. The zero LogID stands for
// those of which the directory does not know (HasState).
func (d *Dir) Missing() []LogMissing {
	d.ckptMu.Lock()
	defer d.ckptMu.Unlock()
	return slices.Clone(d.missing)
}

// ForgetMissing ends that logs are reported as missing at each start, durably. It is called
// once what follows from their loss is committed: the registration that takes them out of
// in-sync sets, or the deletion of their topics.
func (d *Dir) ForgetMissing(ids ...LogID) error {
	d.ckptMu.Lock()
	defer d.ckptMu.Unlock()
	before := d.missing
	d.missing = slices.DeleteFunc(slices.Clone(before), func(m LogMissing) bool { return slices.Contains(ids, m.Log) })
	if len(d.missing) == len(before) {
		return nil
	}
	err := d.Failed()
	if err == nil {
		err = d.fatal(d.rewriteState())
	}
	if err != nil {
		d.missing = before
		return storageError("forget missing logs", err)
	}
	return nil
}

// Damaged lists the logs that refuse offsets for damage, by name; whether or not they were
// used since a clean stop. Such a replica must not lead.
func (d *Dir) Damaged() []LogID {
	var ids []LogID
	for _, l := range d.all() {
		if l.hasDamage.Load() {
			ids = append(ids, l.ID())
		}
	}
	return ids
}
