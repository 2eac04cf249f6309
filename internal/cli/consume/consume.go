// Package consume holds "leat consume": records of topics, as text or JSON.
package consume

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/internal/cli/conn"
	"github.com/leat-stream/leat/internal/cli/out"
)

type flags struct {
	from, until, group, template string
	partitions                   []int32
	count                        int64
	regex, uncommitted           bool
}

// Command is "leat consume".
func Command(e *conn.Env) *cobra.Command {
	var fl flags
	cmd := &cobra.Command{
		Use:   "consume TOPIC...",
		Short: "Read records, from a position until another, or as they come",
		Long: "Read records from --from until --until; without --until, go on as records come, until Ctrl-C. " +
			"Positions: " + conn.PositionHelp + ".\n\nWith --group, the group's committed offsets say where to begin, " +
			"--from only where nothing is committed, and what was written out is committed.",
		Example: `  leat consume orders
  leat consume orders --from end
  leat consume orders --until end --format json
  leat consume orders --from @1h --until @30m --template '%p %o %k %v\n'
  leat consume orders --group billing --count 100
  leat consume '^orders-.*' --regex --from -10 --until end`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: e.Topics(0),
		RunE: func(cmd *cobra.Command, topics []string) error {
			return run(cmd, e, topics, fl)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&fl.from, "from", "o", "start", "where to begin: "+conn.PositionHelp)
	f.StringVarP(&fl.until, "until", "u", "", "where to stop: end (as it is now), an offset, or @TIME (default never)")
	f.StringVarP(&fl.group, "group", "g", "", "read as a member of this consumer group")
	f.Int32SliceVarP(&fl.partitions, "partition", "p", nil, "only these partitions")
	f.Int64VarP(&fl.count, "count", "n", 0, "stop after so many records")
	f.StringVarP(&fl.template, "template", "t", "", `how a record is written, e.g. '%t %p %o %k %v\n' (default '%v\n'; %d timestamp, %h{%k=%v } headers, %v{hex}, %v{base64})`)
	f.BoolVar(&fl.regex, "regex", false, "the topics are regular expressions")
	f.BoolVar(&fl.uncommitted, "read-uncommitted", false, "show records of open and aborted transactions, too")
	conn.CompleteBy(cmd, "group", e.Groups(0))
	conn.CompletePosition(cmd, "from")
	conn.Complete(cmd, "until", "end")
	return cmd
}

func run(cmd *cobra.Command, e *conn.Env, topics []string, fl flags) error {
	if fl.group != "" && len(fl.partitions) > 0 {
		return out.Usagef("--group shares partitions out by itself: leave --partition out")
	}
	from, err := conn.ParsePosition("from", fl.from, time.Now())
	if err != nil {
		return err
	}
	var until *conn.Position
	if fl.until != "" {
		p, err := conn.ParsePosition("until", fl.until, time.Now())
		if err != nil {
			return err
		}
		until = &p
	}
	if from.Committed() || until != nil && until.Committed() {
		return out.Usagef("committed offsets are used with --group, without --from")
	}
	w, err := newWriter(e, cmd.Flags().Changed("format"), fl.template)
	if err != nil {
		return err
	}
	plan, err := makePlan(cmd.Context(), e, topics, from, until, fl)
	if err != nil {
		return err
	}
	if plan.done() {
		return nil
	}
	cl, err := e.Client(cmd.Context(), plan.options(fl)...)
	if err != nil {
		return err
	}
	defer cl.CloseAllowingRebalance()
	return read(cmd.Context(), e, cl, plan, w, fl)
}

// plan says what is read: the topics, where each partition begins, and where it
// ends (nil ends never).
type plan struct {
	topics  []string
	from    kadm.Offsets
	until   map[string]map[int32]int64     // offsets; a partition leaves when it is reached
	reset   kgo.Offset                     // of a group without committed offsets
	broken  map[string]map[int32]time.Time // since when partitions are damaged where the reading is
	next    map[string]map[int32]int64     // behind the last record that came
	refused error                          // came with the last records, and ends the reading after them
}

func makePlan(ctx context.Context, e *conn.Env, topics []string, from conn.Position, until *conn.Position, fl flags) (*plan, error) {
	ctx, cancel := context.WithTimeout(ctx, e.Timeout())
	defer cancel()
	adm, err := e.Admin(ctx)
	if err != nil {
		return nil, err
	}
	defer adm.Close()
	if fl.regex {
		if topics, err = matching(ctx, adm, topics); err != nil {
			return nil, e.Explain(err)
		}
	}
	p := &plan{topics: topics, reset: from.ResetOffset()}
	bounds, err := conn.ListBounds(ctx, adm, topics...)
	if err != nil {
		return nil, e.Explain(err)
	}
	if p.from, err = from.Resolve(ctx, adm, bounds, topics...); err != nil {
		return nil, e.Explain(err)
	}
	if err := p.keepPartitions(fl.partitions); err != nil {
		return nil, err
	}
	if until == nil {
		return p, nil
	}
	if !fl.uncommitted {
		if stable, err := adm.ListCommittedOffsets(ctx, topics...); err == nil && stable.Error() == nil {
			bounds.End = stable // an open transaction has no end yet
		}
	}
	ends, err := until.Resolve(ctx, adm, bounds, topics...)
	if err != nil {
		return nil, e.Explain(err)
	}
	if fl.group != "" {
		if err := p.resume(ctx, adm, fl.group, bounds); err != nil {
			return nil, e.Explain(err)
		}
	}
	p.until = map[string]map[int32]int64{}
	p.from.Each(func(o kadm.Offset) {
		if end, ok := ends.Lookup(o.Topic, o.Partition); ok && end.At > o.At {
			if p.until[o.Topic] == nil {
				p.until[o.Topic] = map[int32]int64{}
			}
			p.until[o.Topic][o.Partition] = end.At
		} else {
			p.from.Delete(o.Topic, o.Partition)
		}
	})
	return p, nil
}

// resume moves the beginnings to what the group has committed: who is at the end
// need not wait for records that do not come.
func (p *plan) resume(ctx context.Context, adm *kadm.Client, group string, b conn.Bounds) error {
	committed, err := adm.FetchOffsets(ctx, group)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return err
	}
	committed.Each(func(c kadm.OffsetResponse) {
		start, _ := b.Start.Lookup(c.Topic, c.Partition)
		if _, ok := p.from.Lookup(c.Topic, c.Partition); ok && c.Err == nil && c.At >= start.Offset {
			p.from.Delete(c.Topic, c.Partition) // Add keeps the later one
			p.from.AddOffset(c.Topic, c.Partition, c.At, -1)
		}
	})
	return nil
}

func matching(ctx context.Context, adm *kadm.Client, patterns []string) ([]string, error) {
	all, err := adm.ListTopics(ctx)
	if err != nil {
		return nil, err
	}
	var topics []string
	for _, p := range patterns {
		re, err := regexp.Compile(p)
		if err != nil {
			return nil, out.Usagef("%s: this is no regular expression: %v", p, err)
		}
		for _, name := range all.Names() {
			if re.MatchString(name) && !slices.Contains(topics, name) {
				topics = append(topics, name)
			}
		}
	}
	if len(topics) == 0 {
		return nil, out.Hint(errors.New("no topic matches"), "'leat topic list' shows what there is")
	}
	return topics, nil
}

func (p *plan) keepPartitions(only []int32) error {
	for _, n := range only {
		for _, t := range p.topics {
			if _, ok := p.from.Lookup(t, n); !ok {
				return out.Usagef("--partition=%d: topic %s has no such partition", n, t)
			}
		}
	}
	p.from.KeepFunc(func(o kadm.Offset) bool { return len(only) == 0 || slices.Contains(only, o.Partition) })
	return nil
}

// done tells that every partition is at its end.
func (p *plan) done() bool {
	if p.until == nil {
		return false
	}
	for _, ps := range p.until {
		if len(ps) > 0 {
			return false
		}
	}
	return true
}

// total is how many records there are to read, about; -1 when there is no end.
func (p *plan) total() int64 {
	if p.until == nil {
		return -1
	}
	n := int64(0)
	p.from.Each(func(o kadm.Offset) { n += max(0, p.until[o.Topic][o.Partition]-o.At) })
	return n
}

// admit tells whether a record is before its partition's end, and notes when the
// end is reached.
func (p *plan) admit(r *kgo.Record) bool {
	if p.until == nil {
		return true
	}
	end, ok := p.until[r.Topic][r.Partition]
	if !ok {
		return false
	}
	if r.Offset+1 >= end {
		delete(p.until[r.Topic], r.Partition)
	}
	return r.Offset < end
}

func (p *plan) options(fl flags) []kgo.Opt {
	// Control records are kept, so that the end is seen when a marker is the last.
	// So are errors that the client would try again for ever, without a word.
	opts := []kgo.Opt{kgo.KeepControlRecords(), kgo.KeepRetryableFetchErrors(), kgo.FetchMaxWait(500 * time.Millisecond)}
	if !fl.uncommitted {
		opts = append(opts, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	}
	if fl.group != "" {
		return append(opts, kgo.ConsumerGroup(fl.group), kgo.ConsumeTopics(p.topics...), kgo.ConsumeResetOffset(p.reset),
			kgo.AutoCommitMarks(), kgo.BlockRebalanceOnPoll())
	}
	start := map[string]map[int32]kgo.Offset{}
	p.from.Each(func(o kadm.Offset) {
		if start[o.Topic] == nil {
			start[o.Topic] = map[int32]kgo.Offset{}
		}
		start[o.Topic][o.Partition] = kgo.NewOffset().At(o.At)
	})
	return append(opts, kgo.ConsumePartitions(start))
}

// idleEnd ends a reading with --until when nothing has come for so long: the last
// records before the end may be read by another member of the group. Whether there are
// any is asked when nothing has come for idleProbe.
var (
	idleEnd   = 5 * time.Second // a test waits for ever
	idleProbe = 700 * time.Millisecond
)

// retryPause is how long a reading waits after an error that may pass.
const retryPause = 100 * time.Millisecond

// records are the next ones that come; none when the reading has an end and nothing
// comes, or the error that kept them away. Those that came with an error come first.
func records(ctx context.Context, cl *kgo.Client, p *plan, committed bool) (kgo.Fetches, error) {
	poll, cancel := ctx, context.CancelFunc(func() {})
	if p.until != nil {
		poll, cancel = context.WithTimeout(ctx, idleEnd)
	}
	defer cancel()
	if p.refused != nil {
		return nil, p.refused
	}
	var last error
	for unknown := 0; ; {
		fetches, idle := pollOnce(poll, cl, p.until != nil)
		if idle {
			if p.dropGone(poll, cl, committed); p.done() {
				return nil, last
			}
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		lasting, passing := fetchErrors(fetches)
		damage, spent := p.damage(cl, fetches, time.Now())
		switch {
		case fetches.NumRecords() > 0:
			p.refused = lasting
			return fetches, nil
		case lasting != nil:
			return nil, lasting
		case spent:
			return nil, damage
		case poll.Err() != nil:
			return nil, last
		case errors.Is(passing, kerr.UnknownTopicID): // new to the broker, or deleted
			if unknown++; unknown > 5 {
				return nil, passing
			}
		}
		last = cmp.Or(damage, passing)
		cl.AllowRebalance()
		select {
		case <-time.After(retryPause):
		case <-poll.Done():
		}
	}
}

// pollOnce waits for records; when they have an end, idle tells that none came for idleProbe.
func pollOnce(ctx context.Context, cl *kgo.Client, ends bool) (f kgo.Fetches, idle bool) {
	if !ends {
		return cl.PollFetches(ctx), false
	}
	probe, cancel := context.WithTimeout(ctx, idleProbe)
	defer cancel()
	f = cl.PollFetches(probe)
	return f, f.NumRecords() == 0 && probe.Err() != nil && ctx.Err() == nil
}

// fetchErrors is the error that ends a reading, if there is one, and passing one that may
// pass, as those of a leader that moves. Of damage tells plan.damage.
func fetchErrors(fetches kgo.Fetches) (lasting, passing error) {
	for _, fe := range fetches.Errors() {
		switch {
		case errors.Is(fe.Err, context.DeadlineExceeded), damaged(fe.Topic, fe.Err):
		case kerr.IsRetriable(fe.Err):
			passing = fmt.Errorf("%s-%d: %w", fe.Topic, fe.Partition, fe.Err)
		default:
			return fe.Err, nil
		}
	}
	return nil, passing
}

func read(ctx context.Context, e *conn.Env, cl *kgo.Client, p *plan, w *writer, fl flags) (err error) {
	defer func() {
		if failed := commit(cl, fl); failed != nil {
			if errors.Is(err, context.Canceled) {
				err = nil // being interrupted is no longer all there is to say
			}
			err = errors.Join(err, failed)
		}
	}()
	bar := &out.Progress{}
	if !e.Color { // records on a terminal would run over the bar
		bar = e.Progress(p.total(), "consuming", false)
	}
	defer bar.Done()
	var n int64
	for {
		fetches, err := records(ctx, cl, p, !fl.uncommitted)
		if err != nil {
			return errors.Join(w.flush(), e.Explain(err))
		}
		if fetches.NumRecords() == 0 {
			return w.flush()
		}
		for it := fetches.RecordIter(); !it.Done(); {
			r := it.Next()
			admitted := p.admit(r)
			if admitted && !r.Attrs.IsControl() {
				if err := w.write(r); err != nil {
					return err
				}
				n++
			}
			if fl.group != "" && admitted {
				cl.MarkCommitRecords(r)
			}
			if fl.count > 0 && n == fl.count {
				return w.flush()
			}
		}
		fetches.EachPartition(func(fp kgo.FetchTopicPartition) {
			if n := len(fp.Records); n > 0 {
				p.from.Delete(fp.Topic, fp.Partition) // Add keeps the later one
				p.from.AddOffset(fp.Topic, fp.Partition, fp.Records[n-1].Offset+1, -1)
			}
		})
		bar.Add(int64(fetches.NumRecords()))
		if err := w.flush(); err != nil {
			return err
		}
		if p.done() {
			return nil
		}
		cl.AllowRebalance()
	}
}

// commitTimeout bounds the last commit of a group's member.
const commitTimeout = 5 * time.Second

// commit commits what was written out and is not yet committed.
func commit(cl *kgo.Client, fl flags) error {
	if fl.group == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	err := cl.CommitMarkedOffsets(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("no answer within %s", commitTimeout)
	}
	if err != nil {
		return out.Hint(fmt.Errorf("the last offsets of group %s are not committed: %w", fl.group, err), "the last records will be read again")
	}
	return nil
}

// buffered is how much output is gathered before it is written, in bytes.
const buffered = 64 << 10

func newBuffer(o *out.Out) *bufio.Writer { return bufio.NewWriterSize(o.W, buffered) }
