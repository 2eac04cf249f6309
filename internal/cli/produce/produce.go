// Package produce holds "leat produce": records from lines of text.
package produce

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/internal/cli/conn"
	"github.com/leat-stream/leat/internal/cli/out"
)

type flags struct {
	file, key, keySeparator, layout string
	compression, acks               string
	headers                         []string
	lineHeaders, tombstone, quiet   bool
	partition                       int32
	rate                            float64
}

// Command is "leat produce".
func Command(e *conn.Env) *cobra.Command {
	var fl flags
	cmd := &cobra.Command{
		Use:   "produce TOPIC",
		Short: "Write records, one per line of standard input or of a file",
		Long: "Write records, one per line of standard input or of a file. A topic that does not exist is created " +
			"when the brokers allow it.",
		Example: `  echo hello | leat produce greetings
  leat produce orders --key-separator : < orders.txt
  leat produce orders --file orders.txt --rate 1000 --header source=import
  leat produce prices --key EUR --tombstone
  leat produce orders --layout '%k %v{json}\n' < orders.ndjson`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: e.Topics(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return run(cmd, e, args[0], fl)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&fl.file, "file", "f", "", "read this file instead of standard input")
	f.StringVarP(&fl.key, "key", "k", "", "the key of every record")
	f.StringVarP(&fl.keySeparator, "key-separator", "K", "", `what stands between key and value in a line (\t for a tab)`)
	f.StringArrayVarP(&fl.headers, "header", "H", nil, "a header of every record, NAME=VALUE (repeatable)")
	f.BoolVar(&fl.lineHeaders, "line-headers", false, "a line begins with its headers, NAME:VALUE,NAME:VALUE and a tab")
	f.Int32VarP(&fl.partition, "partition", "p", -1, "write to this partition (default by key)")
	f.StringVarP(&fl.compression, "compression", "z", "none", "none, gzip, snappy, lz4 or zstd")
	f.StringVar(&fl.acks, "acks", "all", "what a record waits for: all (in-sync replicas), leader, none")
	f.Float64VarP(&fl.rate, "rate", "r", 0, "records per second (default as fast as possible)")
	f.BoolVar(&fl.tombstone, "tombstone", false, "write one record without a value, which deletes --key from a compacted topic")
	f.StringVar(&fl.layout, "layout", "", `how the input is laid out, e.g. '%k %v\n' or '%k{hex} %v{base64}\n' (%k key, %v value, %t topic, %p partition, %h{...} headers, %d timestamp)`)
	f.BoolVarP(&fl.quiet, "quiet", "q", false, "do not say what was written")
	_ = cmd.MarkFlagFilename("file") // the only error is a flag that does not exist
	conn.Complete(cmd, "compression", "none", "gzip", "snappy", "lz4", "zstd")
	conn.Complete(cmd, "acks", "all", "leader", "none")
	return cmd
}

func run(cmd *cobra.Command, e *conn.Env, topic string, fl flags) error {
	reading, stop := context.WithCancel(cmd.Context())
	defer stop()
	next, size, done, err := fl.source(reading, e)
	if err != nil {
		return err
	}
	defer done()
	opts, err := fl.options(e)
	if err != nil {
		return err
	}
	cl, err := e.Client(cmd.Context(), opts...)
	if err != nil {
		return err
	}
	defer cl.Close()
	progress := &out.Progress{}
	if fl.long(size) {
		progress = e.Progress(size, "producing", true)
	}
	if fl.typed(e) {
		e.Note("a record per line; Ctrl-D ends")
	}
	s := &sender{cl: cl, topic: topic, fl: fl, progress: progress, stop: stop, patience: flushTimeout, tally: map[int32]*span{}}
	err = s.send(cmd.Context(), next)
	progress.Done()
	return s.report(e, err)
}

// longFile is the size, in bytes, from which a progress bar is worth it.
const longFile = 1 << 20

// long tells whether an input of known size takes long enough for a bar.
func (fl flags) long(size int64) bool { return size > longFile || size > 0 && fl.rate > 0 }

// typed tells whether somebody types the records.
func (fl flags) typed(e *conn.Env) bool {
	return fl.file == "" && !fl.tombstone && !fl.quiet && out.IsTerminal(e.In)
}

// source opens where records come from. size is that of a regular file, or -1.
func (fl flags) source(ctx context.Context, e *conn.Env) (next func() (*kgo.Record, error), size int64, done func(), err error) {
	in, size, done := e.In, int64(-1), func() {}
	if fl.file != "" {
		f, err := os.Open(fl.file)
		if err != nil {
			return nil, 0, nil, err
		}
		in, done = f, func() { _ = f.Close() } // it was only read
	}
	if f, ok := in.(*os.File); ok {
		if st, err := f.Stat(); err == nil && st.Mode().IsRegular() {
			size = st.Size()
		}
	}
	in = conn.Input(ctx, in)
	switch {
	case fl.tombstone:
		if fl.key == "" {
			done()
			return nil, 0, nil, out.Usagef("--tombstone deletes a key: name it with --key")
		}
		once := false
		return func() (*kgo.Record, error) {
			if once {
				return nil, io.EOF
			}
			once = true
			return &kgo.Record{}, nil
		}, -1, done, nil
	case fl.layout != "":
		if fl.keySeparator != "" || fl.lineHeaders {
			done()
			return nil, 0, nil, out.Usagef("--layout says it all: leave --key-separator and --line-headers out")
		}
		r, err := kgo.NewRecordReader(in, fl.layout)
		if err != nil {
			done()
			return nil, 0, nil, out.Usagef("--layout=%s: %v", fl.layout, err)
		}
		return r.ReadRecord, size, done, nil
	}
	lines := NewLines(in)
	lines.KeySeparator = unescape(fl.keySeparator)
	lines.Headers = fl.lineHeaders
	return lines.Next, size, done, nil
}

func unescape(s string) string {
	return strings.NewReplacer(`\t`, "\t", `\n`, "\n", `\0`, "\x00", `\\`, `\`).Replace(s)
}

const (
	// produceTimeout is how long a broker may take to have a batch in sync; then it is asked again.
	produceTimeout = 5 * time.Second
	// overhead is how much longer an answer may be under way.
	overhead = 3 * time.Second
)

func (fl flags) options(e *conn.Env) ([]kgo.Opt, error) {
	opts := []kgo.Opt{kgo.AllowAutoTopicCreation(), kgo.ProducerLinger(0),
		// A leader that freezes is asked no longer than eight seconds: by then another one leads.
		kgo.ProduceRequestTimeout(produceTimeout), kgo.RequestTimeoutOverhead(overhead),
		kgo.RetryTimeout(e.Timeout())} // of the producer's id
	if !strings.Contains(fl.layout, "%d") { // the client counts from a record's own time, which may be long ago
		// --timeout counts for a record of which nobody knows whether it is written, too.
		opts = append(opts, kgo.RecordDeliveryTimeout(e.Timeout()), kgo.AllowIdempotentProduceCancellation())
	}
	codec, err := Codec(fl.compression)
	if err != nil {
		return nil, err
	}
	opts = append(opts, kgo.ProducerBatchCompression(codec))
	acks, err := Acks(fl.acks)
	if err != nil {
		return nil, err
	}
	opts = append(opts, acks...)
	if fl.partition >= 0 {
		opts = append(opts, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	}
	if fl.rate < 0 {
		return nil, out.Usagef("--rate=%v: a rate is above 0", fl.rate)
	}
	for _, h := range fl.headers {
		if name, _, ok := strings.Cut(h, "="); !ok || name == "" {
			return nil, out.Usagef("--header=%s: this is no header; use NAME=VALUE", h)
		}
	}
	return opts, nil
}

// Codec reads the name of a compression codec.
func Codec(name string) (kgo.CompressionCodec, error) {
	switch name {
	case "none", "uncompressed":
		return kgo.NoCompression(), nil
	case "gzip":
		return kgo.GzipCompression(), nil
	case "snappy":
		return kgo.SnappyCompression(), nil
	case "lz4":
		return kgo.Lz4Compression(), nil
	case "zstd":
		return kgo.ZstdCompression(), nil
	}
	return kgo.CompressionCodec{}, out.Usagef("--compression=%s: use none, gzip, snappy, lz4 or zstd", name)
}

// Acks reads what a record waits for, in words or in Kafka's numbers.
func Acks(name string) ([]kgo.Opt, error) {
	switch name {
	case "all", "-1":
		return []kgo.Opt{kgo.RequiredAcks(kgo.AllISRAcks())}, nil
	case "leader", "1":
		return []kgo.Opt{kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite()}, nil
	case "none", "0":
		return []kgo.Opt{kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite()}, nil
	}
	return nil, out.Usagef("--acks=%s: use all, leader or none", name)
}

// span is what was written to one partition.
type span struct {
	Partition int32 `json:"partition"`
	Records   int64 `json:"records"`
	First     int64 `json:"first_offset"`
	Last      int64 `json:"last_offset"`
}

// sender writes records and counts them. Its counts are guarded by mu, since
// promises run on the client's goroutines.
type sender struct {
	cl       *kgo.Client
	topic    string
	fl       flags
	progress *out.Progress
	stop     context.CancelFunc // ends the reading of the input
	patience time.Duration      // how long it still waits for answers, once interrupted

	mu     sync.Mutex
	tally  map[int32]*span
	bytes  int64
	open   int64 // sent, and without an outcome
	failed int64
	first  error // of the failures
	doubt  bool  // a record that failed may be written for all that
}

// flushTimeout bounds how long an interrupted command still waits for answers.
const flushTimeout = 5 * time.Second

// send writes records until the input ends, a record fails or ctx ends.
func (s *sender) send(ctx context.Context, next func() (*kgo.Record, error)) error {
	started := time.Now()
	// An interrupted command still waits for what it has sent.
	answers, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(s.patience, cancel) })()
	var err error
	for n := 0; ctx.Err() == nil && s.failure() == nil; n++ {
		var r *kgo.Record
		if r, err = next(); err != nil {
			break
		}
		s.complete(r)
		if s.fl.rate > 0 {
			due := started.Add(time.Duration(float64(n) / s.fl.rate * float64(time.Second)))
			if err = sleepUntil(ctx, due); err != nil {
				break
			}
		}
		s.mu.Lock()
		s.open++
		s.mu.Unlock()
		s.cl.Produce(answers, r, s.delivered)
	}
	if ferr := s.cl.Flush(answers); ferr != nil && s.failure() == nil {
		return ferr
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil && !errors.Is(err, io.EOF):
		return err
	}
	return nil
}

func sleepUntil(ctx context.Context, due time.Time) error {
	wait := time.Until(due)
	if wait <= 0 {
		return nil
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// complete adds what the flags say to a record of the input.
func (s *sender) complete(r *kgo.Record) {
	if r.Topic == "" {
		r.Topic = s.topic
	}
	if s.fl.key != "" && r.Key == nil {
		r.Key = []byte(s.fl.key)
	}
	if s.fl.partition >= 0 {
		r.Partition = s.fl.partition
	}
	for _, h := range s.fl.headers {
		name, text, _ := strings.Cut(h, "=")
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: name, Value: []byte(text)})
	}
}

func (s *sender) delivered(r *kgo.Record, err error) {
	size := int64(len(r.Key) + len(r.Value))
	s.progress.Add(size + 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
	if err != nil {
		s.doubt = s.doubt || inDoubt(err)
		if s.failed++; s.first == nil {
			s.first = err
			s.stop()
		}
		return
	}
	s.bytes += size
	p := s.tally[r.Partition]
	if p == nil {
		p = &span{Partition: r.Partition, First: r.Offset}
		s.tally[r.Partition] = p
	}
	p.Records++
	p.First, p.Last = min(p.First, r.Offset), max(p.Last, r.Offset)
}

func (s *sender) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.first
}

type result struct {
	Topic      string  `json:"topic"`
	Records    int64   `json:"records"`
	Bytes      int64   `json:"bytes"`
	Failed     int64   `json:"failed"`
	Partitions []*span `json:"partitions"`
}

func (s *sender) report(e *conn.Env, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open > 0 { // given up when patience was over; the client says so a little later
		s.failed, s.open, s.doubt, s.first = s.failed+s.open, 0, true, cmp.Or(s.first, err)
	}
	r := result{Topic: s.topic, Bytes: s.bytes, Failed: s.failed, Partitions: []*span{}}
	for p := int32(0); len(r.Partitions) < len(s.tally); p++ {
		if t := s.tally[p]; t != nil {
			r.Partitions = append(r.Partitions, t)
			r.Records += t.Records
		}
	}
	if e.JSON() {
		if err := e.WriteJSON(r); err != nil {
			return err
		}
	} else if !s.fl.quiet && r.Records > 0 {
		e.Note("%s to %s", plural(r.Records, "record"), s.topic)
	}
	if s.first != nil {
		what := "not written"
		if s.doubt {
			what = "not known to be written"
		}
		if errors.Is(s.first, context.Canceled) { // of which nothing else is said
			e.Note("%s %s: interrupted, and no answer within %v", plural(s.failed, "record"), what, s.patience)
			return s.first
		}
		return fmt.Errorf("%s %s: %w", plural(s.failed, "record"), what, e.Explain(s.first))
	}
	return e.Explain(err)
}

// inDoubt tells of an error by which the client gave up a record that it may have sent: the
// record may be written for all that, or may be yet.
func inDoubt(err error) bool {
	for _, gaveUp := range []error{kgo.ErrRecordTimeout, kgo.ErrRecordRetries, kgo.ErrAborting, kgo.ErrClientClosed, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, gaveUp) {
			return true
		}
	}
	return false
}

func plural(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
