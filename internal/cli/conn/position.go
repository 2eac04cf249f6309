package conn

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/internal/cli/out"
)

// Position is a place in a partition as a person writes it.
type Position struct {
	kind positionKind
	n    int64 // an offset, a distance, or milliseconds since the epoch
}

type positionKind int8

const (
	atStart positionKind = iota
	atEnd
	atOffset
	fromStart // n records after the start
	fromEnd   // n records before the end
	atTime
	atCommitted
)

// PositionHelp says how a position is written.
const PositionHelp = `start, end, an offset, +N (N after the start), -N (N before the end), or @TIME, ` +
	`where TIME is 2006-01-02T15:04:05Z, a date, milliseconds since 1970, or an age such as 15m`

// ParsePosition reads a position of --flag.
func ParsePosition(flag, s string, now time.Time) (Position, error) {
	switch s {
	case "start", "beginning", "earliest":
		return Position{kind: atStart}, nil
	case "end", "latest":
		return Position{kind: atEnd}, nil
	case "committed", "current":
		return Position{kind: atCommitted}, nil
	}
	bad := out.Usagef("--%s=%s: this is no position; use %s", flag, s, PositionHelp)
	if t, ok := strings.CutPrefix(s, "@"); ok {
		ms, ok := parseTime(t, now)
		if !ok {
			return Position{}, bad
		}
		return Position{kind: atTime, n: ms}, nil
	}
	kind := atOffset
	digits := s
	if d, ok := strings.CutPrefix(s, "+"); ok {
		kind, digits = fromStart, d
	} else if d, ok := strings.CutPrefix(s, "-"); ok {
		kind, digits = fromEnd, d
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil {
		return Position{}, bad
	}
	return Position{kind: kind, n: int64(n)}, nil
}

// parseTime gives milliseconds since the epoch.
func parseTime(s string, now time.Time) (int64, bool) {
	if ms, err := strconv.ParseInt(s, 10, 64); err == nil {
		return ms, ms >= 0
	}
	if ago, err := time.ParseDuration(strings.TrimPrefix(s, "-")); err == nil {
		return now.Add(-ago).UnixMilli(), true
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return t.UnixMilli(), true
		}
	}
	return 0, false
}

// Committed tells of the position that a group has committed.
func (p Position) Committed() bool { return p.kind == atCommitted }

// IsEnd tells of the end of the partition.
func (p Position) IsEnd() bool { return p.kind == atEnd }

// Bounds are the first and the next offset of partitions.
type Bounds struct{ Start, End kadm.ListedOffsets }

// ListBounds asks for the bounds of all partitions of the topics.
func ListBounds(ctx context.Context, adm *kadm.Client, topics ...string) (Bounds, error) {
	start, err := adm.ListStartOffsets(ctx, topics...)
	if err != nil {
		return Bounds{}, err
	}
	if err := firstError(start); err != nil {
		return Bounds{}, err
	}
	end, err := adm.ListEndOffsets(ctx, topics...)
	if err != nil {
		return Bounds{}, err
	}
	return Bounds{start, end}, firstError(end)
}

// firstError is the first error of a partition, in the order of topics, and names
// the topic.
func firstError(l kadm.ListedOffsets) error {
	for _, topic := range slices.Sorted(maps.Keys(l)) {
		for _, o := range l[topic] {
			if o.Err != nil {
				return fmt.Errorf("topic %s: %w", topic, o.Err)
			}
		}
	}
	return nil
}

// Resolve turns a position into offsets of all partitions of the topics. Offsets
// are held within the partition; a time after the last record is the end.
func (p Position) Resolve(ctx context.Context, adm *kadm.Client, b Bounds, topics ...string) (kadm.Offsets, error) {
	var later kadm.ListedOffsets
	if p.kind == atTime {
		var err error
		if later, err = adm.ListOffsetsAfterMilli(ctx, p.n, topics...); err != nil {
			return nil, err
		}
		if err := firstError(later); err != nil {
			return nil, err
		}
	}
	offsets := kadm.Offsets{}
	b.End.Each(func(end kadm.ListedOffset) {
		start, _ := b.Start.Lookup(end.Topic, end.Partition)
		at := p.n
		switch p.kind {
		case atStart:
			at = start.Offset
		case atEnd:
			at = end.Offset
		case fromStart:
			at = start.Offset + p.n
		case fromEnd:
			at = end.Offset - p.n
		case atTime:
			at = end.Offset
			if l, ok := later.Lookup(end.Topic, end.Partition); ok && l.Offset >= 0 {
				at = l.Offset
			}
		}
		offsets.AddOffset(end.Topic, end.Partition, min(max(at, start.Offset), end.Offset), -1)
	})
	return offsets, nil
}

// ResetOffset is where a group begins that has committed nothing.
func (p Position) ResetOffset() kgo.Offset {
	switch p.kind {
	case atEnd:
		return kgo.NewOffset().AtEnd()
	case fromEnd:
		return kgo.NewOffset().AtEnd().Relative(-p.n)
	case fromStart:
		return kgo.NewOffset().AtStart().Relative(p.n)
	case atTime:
		return kgo.NewOffset().AfterMilli(p.n)
	case atOffset:
		return kgo.NewOffset().At(p.n)
	}
	return kgo.NewOffset().AtStart()
}
