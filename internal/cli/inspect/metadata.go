package inspect

import (
	"fmt"
	"os"
	"reflect"
	"strings"

	"github.com/leat-stream/leat/internal/cli/out"
	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/machine"
	"github.com/leat-stream/leat/internal/quorum"
	"github.com/leat-stream/leat/internal/schema"
)

// metadata reads a file of the metadata log: a segment, a snapshot, or the note of
// what is synced. Records are decoded.
func (d *dumper) metadata(f *os.File, size int64) error {
	d.bar.Add(size)
	return quorum.InspectFile(env.OS, f.Name(), func(i quorum.Item) error {
		switch {
		case i.Damage != nil:
			return d.damage(i.Pos, i.Skipped, i.Damage.Error())
		case i.Record != nil:
			data, text := metadataRecord(*i.Record)
			return d.emit(item{Position: i.Pos, Kind: "record", Data: data}, fmt.Sprintf("%d %s", i.Pos, text))
		case i.Batch != nil:
			return d.metadataBatch(i)
		}
		text := out.Printable(i.String())
		_, rest, _ := strings.Cut(text, " ")
		kind, _, _ := strings.Cut(rest, " ")
		return d.emit(item{Position: i.Pos, Kind: kind, Data: rest}, text)
	})
}

func (d *dumper) metadataBatch(i quorum.Item) error {
	if i.Batch.End() <= d.opt.from || d.opt.until >= 0 && i.Batch.Base >= d.opt.until {
		return nil
	}
	type entry struct {
		Index     uint64 `json:"index"`
		Term      uint64 `json:"term"`
		Base      int64  `json:"base_offset"`
		Timestamp int64  `json:"timestamp"`
		Records   []any  `json:"records"`
	}
	e := entry{Index: i.Entry.Index, Term: i.Entry.Term, Base: i.Batch.Base, Timestamp: i.Batch.Timestamp}
	lines := []string{i.String()}
	for n, r := range i.Batch.Records {
		data, text := metadataRecord(r)
		e.Records = append(e.Records, data)
		lines = append(lines, fmt.Sprintf("  %d %s", i.Batch.Base+int64(n), text))
	}
	return d.emit(item{Position: i.Pos, Kind: "entry", Data: e}, strings.Join(lines, "\n"))
}

// metadataRecord decodes a record of the metadata log.
func metadataRecord(r machine.Record) (any, string) {
	rec, err := schema.Decode(r.Value)
	if err != nil {
		return map[string]any{"bytes": r.Value, "error": err.Error()}, fmt.Sprintf("%s: %x", err, r.Value)
	}
	v := reflect.ValueOf(rec)
	name := v.Type().Elem().Name()
	return map[string]any{"type": name, "fields": readable(v)}, name + " " + out.Printable(line(v))
}
