package produce

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Lines reads records from lines of text: [headers TAB] [key SEPARATOR] value.
type Lines struct {
	// KeySeparator stands between key and value; without one a line is a value.
	KeySeparator string
	// Headers: a line begins with headers. HeadersDelimiter stands behind them,
	// HeadersSeparator between two, HeaderKeySeparator between name and value.
	Headers                                                bool
	HeadersDelimiter, HeadersSeparator, HeaderKeySeparator string
	// NullMarker is the text that stands for no key, no value or no header value;
	// "" is none.
	NullMarker string
	// Lenient takes a line without separator for a value rather than an error.
	Lenient bool

	in   *bufio.Reader
	line int
}

// NewLines reads from r with Kafka's usual separators for headers.
func NewLines(r io.Reader) *Lines {
	return &Lines{HeadersDelimiter: "\t", HeadersSeparator: ",", HeaderKeySeparator: ":", in: bufio.NewReaderSize(r, 64<<10)}
}

// maxLine bounds one line, in bytes.
const maxLine = 256 << 20

// Next is the next record; io.EOF after the last one.
func (l *Lines) Next() (*kgo.Record, error) {
	text, err := l.read()
	if err != nil {
		return nil, err
	}
	l.line++
	r := &kgo.Record{}
	if l.Headers {
		head, rest, ok := bytes.Cut(text, []byte(l.HeadersDelimiter))
		if !ok {
			return nil, fmt.Errorf("line %d: nothing separates the headers from the rest; it is %q", l.line, l.HeadersDelimiter)
		}
		if r.Headers, err = l.headers(string(head)); err != nil {
			return nil, err
		}
		text = rest
	}
	if l.KeySeparator != "" {
		key, value, ok := bytes.Cut(text, []byte(l.KeySeparator))
		switch {
		case ok:
			r.Key, text = l.null(key), value
		case !l.Lenient:
			return nil, fmt.Errorf("line %d: nothing separates key and value; it is %q", l.line, l.KeySeparator)
		}
	}
	r.Value = l.null(text)
	return r, nil
}

// null is nil for the marker of nothing, and never nil for anything else.
func (l *Lines) null(b []byte) []byte {
	if l.NullMarker != "" && string(b) == l.NullMarker {
		return nil
	}
	return append([]byte{}, b...)
}

func (l *Lines) headers(s string) ([]kgo.RecordHeader, error) {
	if s == "" || l.NullMarker != "" && s == l.NullMarker {
		return nil, nil
	}
	var hs []kgo.RecordHeader
	for _, part := range strings.Split(s, l.HeadersSeparator) {
		name, text, ok := strings.Cut(part, l.HeaderKeySeparator)
		if !ok {
			return nil, fmt.Errorf("line %d: header %q has no %q between name and value", l.line, part, l.HeaderKeySeparator)
		}
		hs = append(hs, kgo.RecordHeader{Key: name, Value: l.null([]byte(text))})
	}
	return hs, nil
}

// read is the next line without its end. What follows the last newline is a line,
// unless it is empty.
func (l *Lines) read() ([]byte, error) {
	var line []byte
	for {
		part, err := l.in.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > maxLine {
			return nil, fmt.Errorf("line %d is longer than %d bytes", l.line+1, maxLine)
		}
		switch {
		case err == bufio.ErrBufferFull:
			continue
		case err == io.EOF && len(line) > 0, err == nil:
			line = bytes.TrimSuffix(line, []byte("\n"))
			return bytes.TrimSuffix(line, []byte("\r")), nil
		}
		return nil, err
	}
}
