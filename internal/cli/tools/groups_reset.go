package tools

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/leat-stream/leat/internal/cli/conn"
	"github.com/leat-stream/leat/internal/cli/out"
)

// resetOffsets is --reset-offsets: it shows the new offsets, and commits them only
// with --execute.
func (x *script) resetOffsets(ctx context.Context, adm *kadm.Client, groups []string) error {
	if !x.opts.has("execute") && !x.opts.has("dry-run") && !x.opts.has("export") {
		fmt.Fprintln(x.e.Err, "WARN: No action will be performed as the --execute option is missing. "+
			"Give --dry-run to say that this is meant.")
	}
	var rows [][]string
	var csv strings.Builder
	for _, g := range groups {
		described, err := adm.DescribeGroups(ctx, g)
		if err != nil {
			return err
		}
		if d := described[g]; d.Err == nil && len(d.Members) > 0 {
			fmt.Fprintf(x.e.W, "\nError: Assignments can only be reset if the group '%s' is inactive, but the current state is %s.\n", g, d.State)
			continue
		}
		offsets, err := x.newOffsets(ctx, adm, g)
		if err != nil {
			return err
		}
		if x.opts.has("execute") {
			if err := adm.CommitAllOffsets(ctx, g, offsets); err != nil {
				return err
			}
		}
		for _, o := range offsets.Sorted() {
			rows = append(rows, []string{g, o.Topic, fmt.Sprint(o.Partition), fmt.Sprint(o.At)})
			if len(groups) > 1 {
				fmt.Fprintf(&csv, "%q,", g)
			}
			fmt.Fprintf(&csv, "%q,%d,%d\n", o.Topic, o.Partition, o.At)
		}
	}
	if x.opts.has("export") {
		return write(x.e.W, csv.String())
	}
	return write(x.e.W, columns(append([][]string{{"GROUP", "TOPIC", "PARTITION", "NEW-OFFSET"}}, rows...), []int{30, 30, 10, 15}))
}

// newOffsets computes where a group is to go on.
func (x *script) newOffsets(ctx context.Context, adm *kadm.Client, group string) (kadm.Offsets, error) {
	if path := x.opts.value("from-file"); path != "" {
		return fromFile(path, group)
	}
	committed, err := adm.FetchOffsets(ctx, group)
	if err != nil {
		committed = kadm.OffsetResponses{} // a group that is not there yet has committed nothing
	}
	want, err := topicArgs(x.opts.given["topic"])
	if err != nil {
		return nil, err
	}
	if x.opts.has("all-topics") {
		for t := range committed {
			want[t] = nil
		}
	}
	if len(want) == 0 {
		return nil, kafkaSays("One of the reset scopes should be defined: --all-topics, --topic.")
	}
	var topics []string
	for t := range want {
		topics = append(topics, t)
	}
	slices.Sort(topics)
	bounds, err := conn.ListBounds(ctx, adm, topics...)
	if err != nil {
		return nil, err
	}
	at, err := x.position()
	if err != nil {
		return nil, err
	}
	offsets, err := at.resolve(ctx, adm, bounds, committed, topics)
	if err != nil {
		return nil, err
	}
	offsets.KeepFunc(func(o kadm.Offset) bool { return want[o.Topic] == nil || slices.Contains(want[o.Topic], o.Partition) })
	return offsets, nil
}

// resetTo is a position, or a distance from what is committed.
type resetTo struct {
	position conn.Position
	shift    *int64
}

func (x *script) position() (resetTo, error) {
	to := func(text string) (resetTo, error) {
		p, err := conn.ParsePosition("to", text, time.Now())
		return resetTo{position: p}, err
	}
	switch {
	case x.opts.has("to-earliest"):
		return to("start")
	case x.opts.has("to-latest"):
		return to("end")
	case x.opts.has("to-current"):
		return to("committed")
	case x.opts.has("to-offset"):
		return to(x.opts.value("to-offset"))
	case x.opts.has("to-datetime"):
		return to("@" + javaTime(x.opts.value("to-datetime")))
	case x.opts.has("by-duration"):
		d, err := isoDuration(x.opts.value("by-duration"))
		if err != nil {
			return resetTo{}, err
		}
		return to("@" + d.String())
	case x.opts.has("shift-by"):
		n, err := strconv.ParseInt(x.opts.value("shift-by"), 10, 64)
		return resetTo{shift: &n}, err
	}
	return resetTo{}, kafkaSays("Option '--reset-offsets' requires one of: --to-offset, --to-datetime, --by-duration, --to-earliest, --to-latest, --shift-by, --from-file, --to-current")
}

func (r resetTo) resolve(ctx context.Context, adm *kadm.Client, b conn.Bounds, committed kadm.OffsetResponses, topics []string) (kadm.Offsets, error) {
	if r.shift == nil && !r.position.Committed() {
		return r.position.Resolve(ctx, adm, b, topics...)
	}
	offsets := kadm.Offsets{}
	var missing []string
	b.End.Each(func(end kadm.ListedOffset) {
		c, ok := committed.Lookup(end.Topic, end.Partition)
		start, _ := b.Start.Lookup(end.Topic, end.Partition)
		switch {
		case ok && r.shift != nil:
			offsets.AddOffset(end.Topic, end.Partition, min(max(c.At+*r.shift, start.Offset), end.Offset), -1)
		case ok:
			offsets.AddOffset(end.Topic, end.Partition, c.At, -1)
		case r.shift != nil:
			missing = append(missing, fmt.Sprintf("%s-%d", end.Topic, end.Partition))
		default:
			offsets.AddOffset(end.Topic, end.Partition, end.Offset, -1)
		}
	})
	if len(missing) > 0 {
		return nil, kafkaSays("Cannot shift offset for partition %s since there is no current committed offset", missing[0])
	}
	return offsets, nil
}

// javaTime turns Kafka's yyyy-MM-ddTHH:mm:sss.xxx with its zones into a time that
// positions understand; Kafka takes times without a zone as UTC.
func javaTime(s string) string {
	for _, layout := range []string{"2006-01-02T15:04:05.999Z07:00", "2006-01-02T15:04:05.999-0700", "2006-01-02T15:04:05.999Z07", "2006-01-02T15:04:05.999"} {
		if t, err := time.ParseInLocation(layout, s, time.UTC); err == nil {
			return strconv.FormatInt(t.UnixMilli(), 10)
		}
	}
	return s
}

var durationForm = regexp.MustCompile(`^P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:\.\d+)?S)?)?$`)

// isoDuration reads PnDTnHnMnS.
func isoDuration(s string) (time.Duration, error) {
	m := durationForm.FindStringSubmatch(s)
	if m == nil || s == "P" || strings.HasSuffix(s, "T") {
		return 0, fmt.Errorf("%q is no duration of the form PnDTnHnMnS", s)
	}
	var d time.Duration
	for i, unit := range []time.Duration{24 * time.Hour, time.Hour, time.Minute, time.Second} {
		if m[i+1] != "" {
			n, err := strconv.ParseInt(m[i+1], 10, 32)
			if err != nil {
				return 0, err
			}
			d += time.Duration(n) * unit
		}
	}
	return d, nil
}

// fromFile reads lines of [group,]topic,partition,offset.
func fromFile(path, group string) (kadm.Offsets, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	offsets := kadm.Offsets{}
	for i, line := range strings.Split(strings.TrimSpace(string(data)), "\n") {
		f := strings.Split(strings.TrimSpace(strings.ReplaceAll(line, `"`, "")), ",")
		if len(f) == 4 {
			if f[0] != group {
				continue
			}
			f = f[1:]
		}
		if len(f) != 3 {
			return nil, out.Usagef("%s line %d: this is not topic,partition,offset", path, i+1)
		}
		p, errP := strconv.ParseInt(f[1], 10, 32)
		o, errO := strconv.ParseInt(f[2], 10, 64)
		if errP != nil || errO != nil {
			return nil, out.Usagef("%s line %d: this is not topic,partition,offset", path, i+1)
		}
		offsets.AddOffset(f[0], int32(p), o, -1)
	}
	return offsets, nil
}
