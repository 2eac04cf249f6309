package consume

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/internal/cli/conn"
	"github.com/leat-stream/leat/internal/cli/out"
)

// writer writes records: by a template, as JSON lines, or in columns.
type writer struct {
	buf   *bufio.Writer
	write func(*kgo.Record) error
}

func (w *writer) flush() error { return w.buf.Flush() }

// newWriter chooses the form: --template, else --format when it was given, else
// values alone.
func newWriter(e *conn.Env, formatGiven bool, template string) (*writer, error) {
	w := &writer{buf: newBuffer(e.Out)}
	switch {
	case template != "":
		f, err := kgo.NewRecordFormatter(template)
		if err != nil {
			return nil, out.Usagef("--template=%s: %v", template, err)
		}
		var line []byte
		w.write = func(r *kgo.Record) error {
			line = f.AppendRecord(line[:0], r)
			_, err := w.buf.Write(line)
			return err
		}
	case e.JSON():
		enc := json.NewEncoder(w.buf)
		enc.SetEscapeHTML(false)
		w.write = func(r *kgo.Record) error { return enc.Encode(asJSON(r)) }
	case formatGiven:
		header := false
		w.write = func(r *kgo.Record) error {
			if !header {
				header = true
				fmt.Fprintf(w.buf, columns, "PARTITION", "OFFSET", "TIMESTAMP", "KEY", "VALUE")
			}
			_, err := fmt.Fprintf(w.buf, columns, fmt.Sprint(r.Partition), fmt.Sprint(r.Offset),
				r.Timestamp.UTC().Format(timestampLayout), cell(r.Key), cell(r.Value))
			return err
		}
	default:
		w.write = func(r *kgo.Record) error {
			if _, err := w.buf.Write(r.Value); err != nil {
				return err
			}
			return w.buf.WriteByte('\n')
		}
	}
	return w, nil
}

const (
	columns         = "%9s  %10s  %-24s  %-20s  %s\n"
	timestampLayout = "2006-01-02T15:04:05.000Z"
)

func cell(b []byte) string {
	switch {
	case b == nil:
		return "-"
	case !utf8.Valid(b):
		return "base64:" + base64.StdEncoding.EncodeToString(b)
	}
	return out.Printable(string(b))
}

// record is a record as JSON. Text that is not UTF-8 is in the *_base64 field
// instead.
type record struct {
	Topic       string    `json:"topic"`
	Partition   int32     `json:"partition"`
	Offset      int64     `json:"offset"`
	Timestamp   time.Time `json:"timestamp"`
	Key         *string   `json:"key"`
	KeyBase64   []byte    `json:"key_base64,omitempty"`
	Value       *string   `json:"value"`
	ValueBase64 []byte    `json:"value_base64,omitempty"`
	Headers     []header  `json:"headers,omitempty"`
}

type header struct {
	Name        string  `json:"name"`
	Value       *string `json:"value"`
	ValueBase64 []byte  `json:"value_base64,omitempty"`
}

func asJSON(r *kgo.Record) record {
	j := record{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Timestamp: r.Timestamp.UTC()}
	j.Key, j.KeyBase64 = text(r.Key)
	j.Value, j.ValueBase64 = text(r.Value)
	for _, h := range r.Headers {
		jh := header{Name: h.Key}
		jh.Value, jh.ValueBase64 = text(h.Value)
		j.Headers = append(j.Headers, jh)
	}
	return j
}

func text(b []byte) (*string, []byte) {
	switch {
	case b == nil:
		return nil, nil
	case !utf8.Valid(b):
		return nil, b
	}
	s := string(b)
	return &s, nil
}
