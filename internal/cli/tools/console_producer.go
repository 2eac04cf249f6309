package tools

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/internal/cli/out"
	"github.com/leat-stream/leat/internal/cli/produce"
)

var producerFlags = slices.Concat(common,
	flags(none, "sync"), flags(optional, "compression-codec"),
	flags(required, "topic", "broker-list", "property", "reader-property", "producer-property", "command-property", "producer.config",
		"reader-config", "batch-size", "message-send-max-retries", "retry-backoff-ms", "timeout", "request-required-acks",
		"request-timeout-ms", "metadata-expiry-ms", "max-block-ms", "max-memory-bytes", "max-partition-memory-bytes",
		"socket-buffer-size", "line-reader"))

// consoleProducer is kafka-console-producer.sh.
func consoleProducer(ctx context.Context, x *script) error {
	if x.opts.value("topic") == "" {
		return x.usage(`Missing required argument "[topic]"`)
	}
	if r := x.opts.value("line-reader"); r != "" && !strings.HasSuffix(r, "LineMessageReader") {
		return x.usage("line-reader " + r + ": Leat loads no Java classes; the only one is LineMessageReader")
	}
	lines, err := x.lineReader()
	if err != nil {
		return x.usage(err.Error())
	}
	opts, err := x.producerOptions()
	if err != nil {
		return x.usage(err.Error())
	}
	var cl *kgo.Client
	if err := x.withPatience(ctx, func(ctx context.Context) (err error) {
		cl, err = x.e.Client(ctx, opts...)
		return err
	}); err != nil {
		return err
	}
	defer cl.Close()
	return x.produceLines(ctx, cl, lines)
}

// lineReader reads lines as the reader's properties say.
func (x *script) lineReader() (*produce.Lines, error) {
	props, err := x.opts.file("reader-config")
	if err != nil {
		return nil, err
	}
	given, err := x.opts.properties("property", "reader-property")
	if err != nil {
		return nil, err
	}
	for k, v := range given {
		props[k] = v
	}
	l := produce.NewLines(x.e.In)
	isTrue := func(name string) bool { return strings.EqualFold(strings.TrimSpace(props[name]), "true") }
	if isTrue("parse.key") {
		l.KeySeparator = "\t"
		if s, ok := props["key.separator"]; ok && s != "" {
			l.KeySeparator = s
		}
	}
	l.Headers = isTrue("parse.headers")
	for name, field := range map[string]*string{"headers.delimiter": &l.HeadersDelimiter, "headers.separator": &l.HeadersSeparator,
		"headers.key.separator": &l.HeaderKeySeparator, "null.marker": &l.NullMarker} {
		if s, ok := props[name]; ok {
			*field = s
		}
	}
	l.Lenient = isTrue("ignore.error")
	if l.HeadersDelimiter == l.HeadersSeparator {
		return nil, errors.New("headers.delimiter and headers.separator may not be equal")
	}
	return l, nil
}

func (x *script) producerOptions() ([]kgo.Opt, error) {
	props, err := x.opts.file("producer.config", "command-config")
	if err != nil {
		return nil, err
	}
	given, err := x.opts.properties("producer-property", "command-property")
	if err != nil {
		return nil, err
	}
	for k, v := range given {
		props[k] = v
	}
	codec := props["compression.type"]
	if x.opts.has("compression-codec") {
		if codec = x.opts.value("compression-codec"); codec == "" {
			codec = "gzip"
		}
	}
	if codec == "" {
		codec = "none"
	}
	c, err := produce.Codec(codec)
	if err != nil {
		return nil, err
	}
	acks := props["acks"]
	if s := x.opts.value("request-required-acks"); s != "" {
		acks = s
	}
	if acks == "" {
		acks = "all"
	}
	a, err := produce.Acks(acks)
	if err != nil {
		return nil, err
	}
	return append(a, kgo.ProducerBatchCompression(c), kgo.AllowAutoTopicCreation(), kgo.ProducerLinger(0),
		kgo.DefaultProduceTopic(x.opts.value("topic"))), nil
}

// produceLines sends each line; what cannot be sent is reported, and the rest goes on.
func (x *script) produceLines(ctx context.Context, cl *kgo.Client, lines *produce.Lines) error {
	prompt := out.IsTerminal(x.e.In) && out.IsTerminal(x.e.W)
	type read struct {
		record *kgo.Record
		err    error
	}
	next := make(chan read)
	go func() {
		// Reading a terminal cannot be interrupted: at Ctrl-C this one is left behind.
		for {
			if prompt {
				fmt.Fprint(x.e.W, ">")
			}
			r, err := lines.Next()
			select {
			case next <- read{r, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return cl.Flush(context.WithoutCancel(ctx))
		case n := <-next:
			if errors.Is(n.err, io.EOF) {
				return cl.Flush(ctx)
			}
			if n.err != nil {
				return firstError(cl.Flush(ctx), n.err)
			}
			cl.Produce(ctx, n.record, x.sent)
			if x.opts.has("sync") {
				if err := cl.Flush(ctx); err != nil {
					return err
				}
			}
		}
	}
}

func (x *script) sent(r *kgo.Record, err error) {
	if err != nil && !errors.Is(err, context.Canceled) {
		key := "null"
		if r.Key != nil {
			key = fmt.Sprintf("%d bytes", len(r.Key))
		}
		fmt.Fprintf(x.e.Err, "ERROR Error when sending message to topic %s with key: %s, value: %d bytes with error: %s\n",
			r.Topic, key, len(r.Value), out.Printable(err.Error()))
	}
}
