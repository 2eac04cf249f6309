package tools

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/internal/cli/out"
)

var groupsFlags = slices.Concat(common,
	flags(none, "list", "describe", "delete", "reset-offsets", "delete-offsets", "all-groups", "all-topics", "members", "offsets",
		"verbose", "to-earliest", "to-latest", "to-current", "execute", "dry-run", "export", "new-consumer"),
	flags(optional, "state", "type"),
	flags(required, "group", "topic", "to-offset", "to-datetime", "by-duration", "shift-by", "from-file", "timeout", "validate-regex"))

// consumerGroups is kafka-consumer-groups.sh.
func consumerGroups(ctx context.Context, x *script) error {
	var actions []string
	for _, a := range []string{"list", "describe", "delete", "reset-offsets", "delete-offsets"} {
		if x.opts.has(a) {
			actions = append(actions, a)
		}
	}
	if len(actions) != 1 {
		return x.usage("Command must include exactly one action: --list, --describe, --delete, --reset-offsets, --delete-offsets")
	}
	if actions[0] != "list" && !x.opts.has("group") && !x.opts.has("all-groups") {
		return x.usage(fmt.Sprintf("Option [%s] takes one of these options: [all-groups], [group]", actions[0]))
	}
	err := x.withCluster(ctx, func(ctx context.Context, _ *kgo.Client, adm *kadm.Client) error {
		groups := x.opts.given["group"]
		if x.opts.has("all-groups") {
			all, err := adm.ListGroups(ctx)
			if err != nil {
				return err
			}
			groups = all.Groups()
		}
		switch actions[0] {
		case "list":
			return x.listGroups(ctx, adm)
		case "describe":
			return x.describeGroups(ctx, adm, groups)
		case "delete":
			return x.deleteGroups(ctx, adm, groups)
		case "delete-offsets":
			return x.deleteOffsets(ctx, adm, groups)
		}
		return x.resetOffsets(ctx, adm, groups)
	})
	if err != nil && !errors.Is(err, out.ErrSilent) {
		fmt.Fprintln(x.e.W, "\nError: Executing consumer group command failed due to "+plain(err))
		return out.ErrSilent
	}
	return err
}

func (x *script) listGroups(ctx context.Context, adm *kadm.Client) error {
	all, err := adm.ListGroups(ctx)
	if err != nil {
		return err
	}
	var b strings.Builder
	rows := all.Sorted()
	if !x.opts.has("state") && !x.opts.has("type") {
		for _, g := range rows {
			fmt.Fprintln(&b, g.Group)
		}
		return write(x.e.W, b.String())
	}
	width := 15
	for _, g := range rows {
		width = max(width, len(g.Group))
	}
	line := func(group, kind, state string) {
		fmt.Fprintf(&b, "%-*s", width+10, group)
		if x.opts.has("type") {
			fmt.Fprintf(&b, " %-20s", kind)
		}
		if x.opts.has("state") {
			fmt.Fprintf(&b, " %-20s", state)
		}
		b.WriteByte('\n')
	}
	line("GROUP", "TYPE", "STATE")
	for _, g := range rows {
		if want := x.opts.value("state"); want == "" || containsFold(strings.Split(want, ","), g.State) {
			line(g.Group, "Classic", g.State)
		}
	}
	return write(x.e.W, b.String())
}

func containsFold(words []string, s string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return strings.EqualFold(strings.TrimSpace(w), s) })
}

// describeGroups is --describe with --offsets (the default), --members or --state.
func (x *script) describeGroups(ctx context.Context, adm *kadm.Client, groups []string) error {
	lags, err := adm.Lag(ctx, groups...)
	if err != nil {
		return err
	}
	slices.Sort(groups)
	for _, name := range groups {
		g, ok := lags[name]
		if !ok || errors.Is(g.DescribeErr, kerr.GroupIDNotFound) || errors.Is(g.FetchErr, kerr.GroupIDNotFound) ||
			g.DescribeErr == nil && g.State == "Dead" && len(g.Lag) == 0 {
			fmt.Fprintf(x.e.W, "\nError: Consumer group '%s' does not exist.\n", name)
			continue
		}
		if err := g.Error(); err != nil {
			return err
		}
		switch g.State {
		case "Empty":
			fmt.Fprintf(x.e.Err, "\nConsumer group '%s' has no active members.\n", name)
		case "Stable", "Dead":
		default:
			fmt.Fprintf(x.e.Err, "\nWarning: Consumer group '%s' is rebalancing.\n", name)
		}
		switch {
		case x.opts.has("members"):
			err = x.groupMembers(g)
		case x.opts.has("state"):
			err = x.groupState(g)
		default:
			err = x.groupOffsets(g)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func (x *script) groupOffsets(g kadm.DescribedGroupLag) error {
	rows := [][]string{{"GROUP", "TOPIC", "PARTITION", "CURRENT-OFFSET", "LOG-END-OFFSET", "LAG", "CONSUMER-ID", "HOST", "CLIENT-ID"}}
	busy := map[string]bool{}
	for _, l := range g.Lag.Sorted() {
		current, lag, end := "-", "-", fmt.Sprint(l.End.Offset)
		if l.Commit.At >= 0 {
			current, lag = fmt.Sprint(l.Commit.At), fmt.Sprint(l.End.Offset-l.Commit.At)
		}
		if l.End.Err != nil {
			end, lag = "-", "-"
		}
		row := []string{g.Group, l.Topic, fmt.Sprint(l.Partition), current, end, lag, "-", "-", "-"}
		if m := l.Member; m != nil {
			busy[m.MemberID] = true
			row[6], row[7], row[8] = dash(m.MemberID), dash(m.ClientHost), dash(m.ClientID)
		}
		rows = append(rows, row)
	}
	for _, m := range g.Members {
		if !busy[m.MemberID] {
			rows = append(rows, []string{g.Group, "-", "-", "-", "-", "-", m.MemberID, m.ClientHost, m.ClientID})
		}
	}
	if len(rows) == 1 {
		return nil
	}
	return write(x.e.W, columns(rows, []int{15, 15, 10, 15, 15, 15, 15, 15, 0}))
}

// columns writes rows in Kafka's way: each begins with a newline, and columns are
// at least so wide; 0 is as wide as its text.
func columns(rows [][]string, widths []int) string {
	for _, r := range rows {
		for i := range r {
			if widths[i] > 0 {
				widths[i] = max(widths[i], len(r[i]))
			}
		}
	}
	var b strings.Builder
	for _, r := range rows {
		b.WriteByte('\n')
		for i, c := range r {
			if i > 0 {
				b.WriteByte(' ')
			}
			fmt.Fprintf(&b, "%-*s", widths[i], c)
		}
	}
	b.WriteByte('\n')
	return b.String()
}

func (x *script) groupMembers(g kadm.DescribedGroupLag) error {
	if len(g.Members) == 0 {
		return nil
	}
	rows := [][]string{{"GROUP", "CONSUMER-ID", "HOST", "CLIENT-ID", "#PARTITIONS"}}
	widths := []int{15, 15, 15, 15, 15}
	if x.opts.has("verbose") {
		rows[0] = append(rows[0], "ASSIGNMENT")
		widths = append(widths, 0)
	}
	for _, m := range g.Members {
		n, assigned := 0, []string{}
		if a, ok := m.Assigned.AsConsumer(); ok {
			for _, t := range a.Topics {
				n += len(t.Partitions)
				slices.Sort(t.Partitions)
				assigned = append(assigned, t.Topic+":"+join(t.Partitions))
			}
		}
		row := []string{g.Group, m.MemberID, m.ClientHost, m.ClientID, fmt.Sprint(n)}
		if x.opts.has("verbose") {
			slices.Sort(assigned)
			row = append(row, dash(strings.Join(assigned, ";")))
		}
		rows = append(rows, row)
	}
	return write(x.e.W, columns(rows, widths))
}

func (x *script) groupState(g kadm.DescribedGroupLag) error {
	coordinator := fmt.Sprintf("%s:%d  (%d)", g.Coordinator.Host, g.Coordinator.Port, g.Coordinator.NodeID)
	return write(x.e.W, columns([][]string{
		{"GROUP", "COORDINATOR (ID)", "ASSIGNMENT-STRATEGY", "STATE", "#MEMBERS"},
		{g.Group, coordinator, dash(g.Protocol), g.State, fmt.Sprint(len(g.Members))},
	}, []int{15, 25, 20, 20, 0}))
}

func (x *script) deleteGroups(ctx context.Context, adm *kadm.Client, groups []string) error {
	rs, err := adm.DeleteGroups(ctx, groups...)
	if err != nil {
		return err
	}
	var done []string
	var failed strings.Builder
	for _, r := range rs.Sorted() {
		if r.Err != nil {
			fmt.Fprintf(&failed, "\n* Group '%s' could not be deleted due to: %s", r.Group, plain(r.Err))
			continue
		}
		done = append(done, "'"+r.Group+"'")
	}
	if failed.Len() == 0 {
		fmt.Fprintf(x.e.W, "Deletion of requested consumer groups (%s) was successful.\n", strings.Join(done, ", "))
		return nil
	}
	fmt.Fprintf(x.e.W, "\nError: Deletion of some consumer groups failed:%s\n", failed.String())
	if len(done) > 0 {
		fmt.Fprintf(x.e.W, "\nThese consumer groups were deleted successfully: %s\n", strings.Join(done, ", "))
	}
	return out.ErrSilent
}

func (x *script) deleteOffsets(ctx context.Context, adm *kadm.Client, groups []string) error {
	want, err := topicArgs(x.opts.given["topic"])
	if err != nil {
		return err
	}
	for _, g := range groups {
		set := kadm.TopicsSet{}
		for t, ps := range want {
			if ps == nil {
				d, err := adm.ListTopics(ctx, t)
				if err != nil {
					return err
				}
				ps = d[t].Partitions.Numbers()
			}
			set.Add(t, ps...)
		}
		rs, err := adm.DeleteOffsets(ctx, g, set)
		if err != nil {
			return err
		}
		rows := [][]string{{"TOPIC", "PARTITION", "STATUS"}}
		for _, t := range set.Sorted() {
			for _, p := range t.Partitions {
				status := "Successful"
				if err, ok := rs.Lookup(t.Topic, p); ok && err != nil {
					status = "Error: " + plain(err)
				}
				rows = append(rows, []string{t.Topic, fmt.Sprint(p), status})
			}
		}
		if err := write(x.e.W, columns(rows, []int{30, 15, 15})); err != nil {
			return err
		}
	}
	return nil
}

// topicArgs reads --topic TOPIC or TOPIC:0,1,2; nil partitions mean all.
func topicArgs(args []string) (map[string][]int32, error) {
	want := map[string][]int32{}
	for _, a := range args {
		topic, list, some := strings.Cut(a, ":")
		if !some {
			want[topic] = nil
			continue
		}
		for _, s := range strings.Split(list, ",") {
			var p int32
			if _, err := fmt.Sscan(s, &p); err != nil {
				return nil, fmt.Errorf("%q is no partition", s)
			}
			want[topic] = append(want[topic], p)
		}
	}
	return want, nil
}
